package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy"
	"dinggate/proxy/accessrequest"
	"dinggate/proxy/login"
	"dinggate/session"
)

// accessRecords bounds the number of requests, grants and counters.
const accessRecords = 200_000

// requestableRoutes are all routes in the form of a request, by their index in the policy.
func requestableRoutes(c *config.Config) []accessrequest.RequestableRoute {
	var list []accessrequest.RequestableRoute
	for _, r := range c.AllRoutes() {
		route := accessrequest.RequestableRoute{Route: accessrequest.Route{Name: r.Path, Host: r.Host}, Request: r.Request}
		if !c.AccessRequests.On() {
			route.Request = nil
		}
		if route.Request != nil {
			route.Fingerprint = fingerprint(c, r)
		}
		list = append(list, route)
	}
	return list
}

// fingerprint covers everything that determines who may use a route and who approves:
// a change of any of it ends the grants (threats G4).
func fingerprint(c *config.Config, r config.Route) string {
	text, err := json.Marshal([]any{"1", r.Host, r.Path, r.Methods, r.Access, r.Request, c.PathCase, c.Realm()})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// grantOf returns the lookup of a route's grants; nil if it supports no requests.
func grantOf(book *accessrequest.Book, r accessrequest.RequestableRoute) func(context.Context, *identity.User) (string, time.Time, error) {
	if r.Request == nil || r.Fingerprint == "" {
		return nil
	}
	return func(ctx context.Context, u *identity.User) (string, time.Time, error) {
		return book.Granted(ctx, u, r.Fingerprint)
	}
}

// newAccessRequests wires requests for access; nil if they are off.
func newAccessRequests(c settings, st *State, flow *login.Flow, handler *proxy.Handler,
	client *dingtalk.Client, moves *migrations) *accessrequest.Handler {
	if !c.AccessRequests.On() {
		return nil
	}
	directory := &dingtalk.Directory{Client: client}
	notices := notifier{client, st.book, int64(c.AccessRequests.AgentID), c.origins.Public() + c.Prefix + "/requests/"}
	return &accessrequest.Handler{
		Config: c.AccessRequests,
		Prefix: c.Prefix,
		Book:   st.book,
		Pages:  c.pages,
		Routes: requestableRoutes(c.Config),
		Ours:   func(origin string) bool { return origin == c.origins.Public() },
		Public: c.origins.OnPublic,
		Target: func(_ *web.Exchange, raw string) (string, bool) { return askedTarget(c.origins, raw) },
		Current: func(r *http.Request) (*identity.User, error) {
			s, err := flow.CurrentSession(r)
			if err != nil {
				return nil, err
			}
			return &s.User, nil
		},
		Absent:  session.Absent,
		SignIn:  flow.RequireSignIn,
		Refused: handler.Refused,
		Approvers: func(ctx context.Context, u *identity.User, r *accessrequest.RouteConfig) ([]accessrequest.Person, string, error) {
			found, path, err := directory.Superiors(ctx, u.UserID, dingtalk.Superiors(r.Approvers))
			var list []accessrequest.Person
			for i := range found {
				list = append(list, accessrequest.PersonOf(&found[i]))
			}
			return list, path, err
		},
		Migrated: moves.confirms,
		Notify: func(ctx context.Context, q accessrequest.Request) error {
			err := notices.send(ctx, q)
			st.Metrics.AccessNotice(err == nil)
			if err != nil {
				st.Log.Warn("access request: not all notifications were sent", "request", q.ID, "user", q.Person.Username,
					"err", err.Error())
			}
			return err
		},
		Report: func(error) {}, // Notify logs its errors
	}
}

// askURL returns proxy.Handler.AskURL; nil if requests for access are off.
func askURL(c settings) func(wanted string) string {
	if !c.AccessRequests.On() {
		return nil
	}
	return func(wanted string) string { return accessrequest.FormURL(c.Prefix, wanted) }
}

// askedTarget is the page for which a request asks: on public_url or on a host of a route:
// no grant opens an origin of allowed_redirects.
func askedTarget(origins *web.Origins, raw string) (string, bool) {
	target, ok := origins.Return(raw)
	if scheme, rest, absolute := strings.Cut(target, "://"); ok && absolute && target[0] != '/' {
		host, _, _ := strings.Cut(rest, "/")
		ok = origins.Ours(scheme + "://" + host)
	}
	return target, ok
}

// Grants returns the requests and grants, for the control socket.
func (s *State) Grants() *admin.GrantStore { return &admin.GrantStore{Book: s.book} }

func accessEndpoints(prefix string, h *accessrequest.Handler) family {
	if h == nil {
		return family{}
	}
	return family{root: prefix, paths: map[string]web.HandlerFunc{
		prefix + "/requests":  h.Form,
		prefix + "/requests/": h.One,
	}}
}

// auditAccess records each step of a request.
func (t Observability) auditAccess(e accessrequest.Event) error {
	q := e.Request
	until, approvers := "", ""
	if q.State == accessrequest.Waiting {
		for i, a := range q.Approvers {
			approvers += strings.Repeat(", ", min(i, 1)) + a.Full()
		}
	}
	if q.State == accessrequest.Granted {
		until = q.Until.Format(time.RFC3339)
	}
	err := t.Note(slog.LevelInfo, "access request", e.What,
		pairs([2]string{"request", q.ID}, [2]string{"user", q.Person.Username}, [2]string{"userid", q.Person.UserID},
			[2]string{"name", q.Person.Name}, [2]string{"route", q.Route.Host + q.Route.Name}, [2]string{"by", e.By}, [2]string{"approvers", approvers},
			[2]string{"for", q.For.String()}, [2]string{"until", until}, [2]string{"why", q.Why}, [2]string{"word", q.Word},
			[2]string{"reason", q.End})...)
	if err != nil && e.What == "access_granted" || q.End == accessrequest.EndVoid {
		return err // it was not issued
	}
	answered := time.Duration(0)
	if q.State == accessrequest.Granted || q.State == accessrequest.Denied {
		answered = q.Answered.Sub(q.Requested)
	}
	t.Metrics.AccessRequest(string(q.State), answered)
	return err
}
