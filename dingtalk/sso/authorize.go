package sso

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"dinggate/internal/web"
)

// Authorize is step 1: a third party redirects a browser to this service.
//
//	GET ─► client ─► redirect_url exact ─┬─ signed in here ─► code, back
//	          └── 400 page, no redirect ◄┴─ not signed in ─► SignIn ─► DingTalk
//
// A mistake of the third party is shown on a page, never sent by a redirect
// (threats R14, R15, T1). The server stores nothing here (T25).
func (s *Server) Authorize(w http.ResponseWriter, r *http.Request) error {
	if err := getOnly(r); err != nil {
		return err
	}
	o, err := s.parseAuthRequest(r)
	if err != nil {
		return err
	}
	p, err := s.WhoIs(r)
	switch {
	case err == nil:
		return s.sendBack(w, r, o, p)
	case errors.Is(err, ErrNobody):
		return s.SignIn(w, r, s.redirectURI(o), o.target())
	}
	return err
}

// getOnly refuses other methods and prefetches.
func getOnly(r *http.Request) error {
	if r.Method != http.MethodGet {
		return &web.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Allow: "GET"}
	}
	if web.IsPrefetch(r) {
		return &web.Error{Status: http.StatusBadRequest, Code: "prefetch", Err: errors.New("sso: a prefetch")}
	}
	return nil
}

// parseAuthRequest parses a third party's request. The state is optional (threats T2).
func (s *Server) parseAuthRequest(r *http.Request) (authRequest, error) {
	q, err := query(r.URL.RawQuery, "client_id", "redirect_url", "state")
	if err != nil {
		return authRequest{}, &web.Error{Status: http.StatusBadRequest, Code: "sso_request", Err: err}
	}
	app := s.apps.byID[q["client_id"]]
	if app == nil {
		return authRequest{},
			&web.Error{
				Status: http.StatusBadRequest,
				Code:   "sso_client",
				Err:    errors.New("sso: client_id is none of sso_server.clients"),
			}
	}
	o := authRequest{app.ClientID, q["redirect_url"], q["state"]}
	if !app.accepts(o.redirect) {
		return authRequest{},
			&web.Error{
				Status: http.StatusBadRequest,
				Code:   "sso_redirect",
				Err:    errors.New("sso: redirect_url is none of those registered for " + app.ClientID),
			}
	}
	if len(o.state) > maxState || len(o.target()) > maxAuthRequest || !utf8.ValidString(o.state) ||
		strings.ContainsFunc(o.state, control) {
		return authRequest{},
			&web.Error{
				Status: http.StatusBadRequest,
				Code:   "sso_request",
				Err:    errors.New("sso: state is too long or unprintable"),
			}
	}
	return o, nil
}

// redirectURI is where DingTalk sends the browser back. forward_url is part of the
// documented contract; no decision depends on it.
func (s *Server) redirectURI(o authRequest) string {
	if s.Config.PlainCallback {
		return s.PublicURL + PathCallback
	}
	return s.PublicURL + PathCallback + "?forward_url=" + url.QueryEscape(o.redirect)
}

// Callback is step 2: the browser returns from DingTalk. The request sealed at
// authorize counts. A different forward_url is refused before anything is used up
// and before any call to DingTalk (threats R16, CVE-2021-29651), and so is a
// browser that did not start the sign-in (T23, R17).
func (s *Server) Callback(w http.ResponseWriter, r *http.Request) error {
	if err := getOnly(r); err != nil {
		return err
	}
	q, unreadable := query(r.URL.RawQuery, "forward_url")
	forward, there := q["forward_url"]
	var o authRequest
	p, _, err := s.Finish(w, r, func(target string) error {
		if unreadable != nil {
			return &web.Error{Status: http.StatusBadRequest, Code: "sso_request", Err: unreadable}
		}
		var ok bool
		if o, ok = parseTarget(target); !ok {
			return &web.Error{
				Status: http.StatusBadRequest,
				Code:   "sso_request",
				Err:    errors.New("sso: what was sealed is no authorization request"),
			}
		}
		if there && forward != o.redirect || !there && !s.Config.PlainCallback {
			return &web.Error{
				Status: http.StatusBadRequest,
				Code:   "sso_redirect",
				Err:    errors.New("sso: forward_url is not the one that this sign-in began with"),
			}
		}
		if app := s.apps.byID[o.client]; app == nil || !app.accepts(o.redirect) { // the configuration changed meanwhile
			return &web.Error{
				Status: http.StatusBadRequest,
				Code:   "sso_client",
				Err:    errors.New("sso: the client or its address is not registered any more"),
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.sendBack(w, r, o, p)
}

// sendBack sends the browser back to the third party with a code for p.
func (s *Server) sendBack(w http.ResponseWriter, r *http.Request, o authRequest, p Person) error {
	x := web.From(w)
	x.User = p.User.Username
	// a page in a redirect loop must not fill the store (threats D5)
	if wait, ok := s.counts().codes.Allow(codesLimit, p.Ref, s.now()); !ok {
		return &web.Error{Status: http.StatusTooManyRequests, Code: "too_many_attempts", RetryAfter: wait}
	}
	what := record{Client: o.client, State: o.state, Ref: p.Ref}
	if what.State == "" { // the contract requires a state: generate one if the client sent none
		what.State, what.Made = rand.Text(), true
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	code, _, err := s.grants.Issue(ctx, what, codeLife)
	if err != nil {
		return &web.Error{
			Status:     http.StatusServiceUnavailable,
			Code:       "store_unavailable",
			RetryAfter: retryAfter,
			Err:        err,
		}
	}
	if err := s.audit(x, Event{What: "code", App: o.client, User: p.User.Username}); err != nil {
		return &web.Error{
			Status:     http.StatusServiceUnavailable,
			Code:       "audit_unavailable",
			RetryAfter: retryAfter,
			Err:        err,
		}
	}
	web.SecurityHeaders(w, "")
	w.Header()["Location"] = []string{withAnswer(o.redirect, code, what.State)}
	w.WriteHeader(http.StatusFound)
	return nil
}
