package oidc

import (
	"context"
	"errors"
	"net/http"

	"dinggate/internal/page"
	"dinggate/internal/web"
)

// EndSession is the end session endpoint (OpenID Connect RP-Initiated Logout).
//
//	id_token_hint of the person who is signed in ─► signed out, back
//	anything else ─► confirmation page ─► signed out, page
//
// A browser is redirected back only with a valid hint, and only to a registered URI: nothing else
// proves which application sent the request.
func (p *Provider) EndSession(w http.ResponseWriter, r *http.Request) error {
	web.From(w).Endpoint = "oidc_end_session"
	raw := r.URL.RawQuery
	switch r.Method {
	case http.MethodGet:
	case http.MethodPost:
		var err error
		if raw, err = formBody(r, maxAnswer); err != nil {
			return bodyError(err)
		}
	default:
		return methodNotAllowed("GET, POST")
	}
	form, err := parseForm(raw, maxAnswer)
	if err != nil || form.once("id_token_hint", "client_id", "post_logout_redirect_uri", "state", logoutField) != "" {
		return pageError(http.StatusBadRequest, "oidc_request", "the logout request does not read, or has a parameter twice")
	}
	in, err := p.Browser.Current(r)
	if err != nil && !errors.Is(err, ErrSignedOut) {
		return err
	}
	if r.Method == http.MethodPost && form.get(logoutField) != "" {
		return p.logoutPage().logoutConfirmed(w, r, form, in)
	}
	if len(raw) > maxRequest {
		return bodyError(errTooLarge)
	}
	ctx, cancel := context.WithTimeout(r.Context(), memberTimeout)
	defer cancel()
	back, hint, err := p.logoutPage().logoutTarget(ctx, form)
	if err != nil {
		return err
	}
	if in.Session == "" && r.Method == http.MethodPost && fromBrowser(r) {
		// A form of another site is sent without the cookie (SameSite), a navigation with it: a
		// user who is signed in must not be redirected back as if signed out. A client's own
		// server gets its answer at once.
		sendTo(w, http.StatusSeeOther, PathEndSession+"?"+raw)
		return nil
	}
	if in.Session == "" { // there is no session to end
		return p.logoutPage().afterLogout(w, r, back)
	}
	if hint.Subject != "" {
		sub, err := p.subjects().of(ctx, &in.User)
		if err != nil && !errors.Is(err, errNoSubject) && !errors.Is(err, errUnsettled) {
			return asPage(unavailable(err))
		}
		if err == nil && sub == hint.Subject {
			if err := p.Browser.SignOut(w, r); err != nil {
				return err
			}
			return p.logoutPage().afterLogout(w, r, back)
		}
	}
	return p.logoutPage().askLogout(w, r, in, back)
}

const logoutField = "logout"

// logoutTarget checks the request: back is the URL that the browser goes to afterwards, "" for our
// own page; hint names the person.
func (p logoutPage) logoutTarget(ctx context.Context, form params) (back string, hint hintClaims, err error) {
	if text := form.get("id_token_hint"); text != "" {
		hint, err = p.readHint(ctx, text)
		if err != nil && !errors.Is(err, errHint) {
			return "", hint, asPage(unavailable(err))
		}
		if id := form.get("client_id"); id != "" && err == nil && id != hint.Client {
			return "", hint, pageError(http.StatusBadRequest, "oidc_request", "client_id %.60q is not that of id_token_hint", id)
		}
	}
	uri := form.get("post_logout_redirect_uri")
	if uri == "" {
		return "", hint, nil
	}
	id := hint.Client
	if id == "" {
		id = form.get("client_id")
	}
	c := p.clients.all[id]
	if c == nil && id == "" { // no client to compare with: the URI is ignored
		return "", hint, nil
	}
	if c == nil || !registered(c.PostLogoutRedirectURIs, uri) {
		return "", hint, pageError(
			http.StatusBadRequest,
			"oidc_redirect",
			"post_logout_redirect_uri %.200q is none of client %.60q; add exactly this to its post_logout_redirect_uris "+
				"where it is the application's",
			uri,
			id,
		)
	}
	if hint.Client == "" {
		return "", hint, nil
	}
	if state := form.get("state"); state != "" {
		return withParameters(uri, [][2]string{{"state", state}}), hint, nil
	}
	return uri, hint, nil
}

func (p logoutPage) askLogout(w http.ResponseWriter, r *http.Request, in Login, back string) error {
	field, err := p.sealForm(formState{Query: back, Session: in.Session, Kind: askLogout})
	if err != nil {
		return err
	}
	p.Pages.Ask(
		w,
		r,
		page.AskData{
			Kind:   page.AskLogout,
			Who:    in.User.FullName(),
			Action: PathEndSession,
			Fields: [][2]string{{logoutField, field}},
			Next:   back,
		},
	)
	return nil
}

func (p logoutPage) logoutConfirmed(w http.ResponseWriter, r *http.Request, form params, in Login) error {
	if !web.SameOrigin(r, p.Ours) {
		return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
	}
	if in.Session == "" {
		return p.afterLogout(w, r, "")
	}
	state, err := p.openForm(askLogout, form.get(logoutField), in.Session)
	if err != nil {
		return pageError(http.StatusBadRequest, "oidc_expired", "%w", err)
	}
	if form.get(decision) != allow {
		sendTo(w, http.StatusSeeOther, "/")
		return nil
	}
	if err := p.Browser.SignOut(w, r); err != nil {
		return err
	}
	return p.afterLogout(w, r, state.Query)
}

func (p logoutPage) afterLogout(w http.ResponseWriter, r *http.Request, back string) error {
	if back == "" {
		p.Pages.SignedOut(w, r, p.Issuer+"/")
		return nil
	}
	status := http.StatusFound
	if r.Method == http.MethodPost {
		status = http.StatusSeeOther
	}
	sendTo(w, status, back)
	return nil
}

// fromBrowser reports a POST that a browser sent: all browsers send the page's origin.
func fromBrowser(r *http.Request) bool {
	return len(r.Header["Origin"]) > 0 || len(r.Header["Sec-Fetch-Site"]) > 0
}
