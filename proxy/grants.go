package proxy

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy/access"
)

// decide asks the policy, and where its lists refuse a person, once more with the
// grants that the person has. Those whom a rule lets in cost no question.
func (h *Handler) decide(ctx context.Context, t access.Target, u *identity.User) (d access.Decision, grant string,
	unknown error) {
	d = h.Routes.policy.Decide(t, u)
	if u == nil || d.Verdict != access.Deny || d.Reason != access.NotAllowed || !h.Routes.grants {
		return d, "", nil
	}
	t.Granted = func(route int) bool {
		if route < 0 || route >= len(h.Routes.list) || h.Routes.list[route].Granted == nil {
			return false
		}
		id, _, err := h.Routes.list[route].Granted(ctx, u)
		if err != nil {
			unknown = err
		}
		if err != nil || id == "" {
			return false
		}
		grant = id
		return true
	}
	d = h.Routes.policy.Decide(t, u)
	if d.Verdict == access.Deny {
		grant = ""
	} else {
		unknown = nil
	}
	return d, grant, unknown
}

// grantRecheckEvery is how often it is asked whether the grant under an open stream
// still holds: it ends at its time and when it is taken back.
const grantRecheckEvery = time.Second

// askURL is where a person can ask for access to what refused them; "" where nobody can.
func (h *Handler) askURL(d *Decision, wanted string) string {
	route := h.Routes.of(d.Decision)
	if h.AskURL == nil || d.Reason != access.NotAllowed || route == nil || route.Granted == nil || wanted == "" {
		return ""
	}
	return h.AskURL(wanted)
}

// Refused finds the route that keeps a person out of a page: target is a path, or one
// of our absolute addresses. ok is false where there is none that they could ask for.
func (h *Handler) Refused(ctx context.Context, target string, client netip.Addr, u *identity.User) (route int, ok bool,
	err error) {
	h.init()
	at, err := url.Parse(target)
	if err != nil {
		return -1, false, nil
	}
	host := at.Host
	if host == "" {
		host = h.Origins.PublicHost()
	}
	path, err := web.CleanPath(at.EscapedPath())
	if err != nil {
		return -1, false, nil
	}
	d, _, err := h.decide(ctx, access.Target{
		Method:   http.MethodGet,
		Host:     host,
		Path:     path.Plain,
		Readings: path.Readings,
		Variants: path.Variants,
		Odd:      path.Odd,
		Client:   client,
	}, u)
	if err != nil {
		return -1, false, err
	}
	found := h.Routes.of(d)
	if found == nil || d.Verdict != access.Deny || d.Reason != access.NotAllowed || found.Granted == nil {
		return -1, false, nil
	}
	return d.Route, true, nil
}
