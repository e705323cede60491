package proxy

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"

	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy/access"
)

// decide applies the policy, and if its lists refuse a user, once more with the grants
// of that user. A user whom a rule allows causes no lookup of grants.
func (h *Handler) decide(ctx context.Context, t access.Target, u *identity.User) (access.Decision, string, error) {
	d := h.Routes.policy.Decide(t, u)
	if u == nil || d.Verdict != access.Deny || d.Reason != access.NotAllowed || !h.Routes.grants {
		return d, "", nil
	}
	return h.decideGranted(ctx, t, u) // a separate func, since its closure would move t to the heap on every call
}

// decideGranted is decide with the grants. unknown: it could not be determined whether
// a grant applies.
func (h *Handler) decideGranted(ctx context.Context, t access.Target, u *identity.User) (d access.Decision,
	grant string, unknown error) {
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

// askURL is where a user can request access after a refusal; "" if they cannot.
func (h *Handler) askURL(d *Decision, wanted string) string {
	route := h.Routes.of(d.Decision)
	if h.AskURL == nil || d.Reason != access.NotAllowed || route == nil || route.Granted == nil || wanted == "" {
		return ""
	}
	return h.AskURL(wanted)
}

// Refused returns the route, by its index in Routes, that refuses a user a GET of target: a
// path on public_url, or one of our absolute URLs. ok is false if access cannot be requested
// there: the target is not well formed, a rule allows it, or its route accepts no requests. An
// error means that it is unknown whether a grant applies.
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
