package oidc

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
)

// An authorization request survives the sign-in in one of two ways. A short one is the URL that
// the browser returns to. A long one, and one that requires a new sign-in, is sealed in the store,
// and the browser returns with its name:
//
//	/oidc/authorize?client_id=…             at most maxTarget bytes
//	/oidc/authorize?dinggate_request=NAME   any other
//	/oidc/authorize?dinggate_click=NAME     any for which a silent sign-in is of no use
//
// The last two end with the request's login_hint, if it has one, for the form of the sign-in.
//
// The name is no secret: with it a browser can only send the same request again.
const (
	requestParam = "dinggate_request"
	clickParam   = "dinggate_click"
	maxTarget    = 1000 // the return target of a sign-in is stored in a cookie
	pendingLife  = 15 * time.Minute
)

// pending is the state with which a browser returns.
type pending struct {
	Query string
	Since time.Time // a session that began later is recent enough
	Was   string    `json:",omitempty"` // the session that the new one replaces
	Sub   string    `json:",omitempty"` // its subject
}

func pendingKey(name string) string { return recordKey("request", name) }

// resumed is the request to process.
func (p authorization) resumed(r *http.Request) (raw string, back pending, err error) {
	name, found := waits(r.URL.RawQuery)
	if !found {
		return r.URL.RawQuery, pending{}, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	_, found, err = records{p.Pending, p.Sealer}.read(ctx, pendingKey(name), &back)
	switch {
	case err != nil:
		return "", back, asPage(unavailable(err))
	case !found:
		return "", back, pageError(
			http.StatusBadRequest,
			"oidc_expired",
			"a request that waited for a sign-in for more than %v",
			pendingLife,
		)
	}
	return back.Query, back, nil
}

// waits is the name of the request that a query comes back to.
func waits(query string) (name string, found bool) {
	for _, param := range []string{requestParam, clickParam} {
		name, found = strings.CutPrefix(query, param+"=")
		if !found && strings.HasPrefix(query, "lang=") { // a page's link to the other language
			_, name, found = strings.Cut(query, "&"+param+"=")
		}
		if found {
			name, _, _ = strings.Cut(name, "&")
			return name, true
		}
	}
	return "", false
}

// WantsClick reports whether a query of the authorization endpoint, or of the device page, belongs
// to a request that waits for a sign-in with a click: a silent one does not suffice. The query is
// not authenticated; a forged one costs its user a click and has no other effect.
func WantsClick(query string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		if strings.HasPrefix(pair, clickParam+"=") {
			return true
		}
	}
	return false
}

// maxLoginHint bounds a login_hint in bytes: accounts have shorter names.
const maxLoginHint = 128

// LoginHint is the login_hint of a query of the authorization endpoint if it can be a username or
// an e-mail address; otherwise "". The query is not authenticated: the hint is for a form's field.
func LoginHint(query string) string {
	p, err := parseParams(query)
	hint := strings.TrimSpace(p.get("login_hint"))
	if err != nil || p.twice["login_hint"] || len(hint) > maxLoginHint ||
		strings.ContainsFunc(hint, func(r rune) bool { return r == ' ' || !unicode.IsGraphic(r) }) {
		return ""
	}
	return hint
}

// target is where a sign-in ends: this request again.
func (p authorization) target(a *attempt) (string, error) {
	fresh := a.in.Session != "" // signed in, but not recently enough
	if !fresh && !a.q.client.wantsClick() && !a.q.prompts(promptLogin) && !a.q.prompts(promptSelect) &&
		!(a.q.hasMaxAge && a.q.maxAge < time.Minute) && len(PathAuthorize)+1+len(a.q.raw) <= maxTarget {
		return PathAuthorize + "?" + a.q.raw, nil
	}
	keep := pending{Query: a.q.raw, Since: p.now().Truncate(time.Millisecond), Was: a.in.Session}
	if fresh {
		ctx, cancel := context.WithTimeout(a.r.Context(), memberTimeout)
		defer cancel()
		sub, err := p.subjects().of(ctx, &a.in.User)
		if err != nil {
			return "", a.noSubject(err)
		}
		keep.Sub = sub
	}
	param := requestParam
	if a.q.client.wantsClick() {
		param = clickParam
	}
	target, err := p.keep(a.w, a.r, keep, param)
	if hint := LoginHint(a.q.raw); hint != "" && err == nil {
		target += "&login_hint=" + url.QueryEscape(hint)
	}
	return target, err
}

// keep stores a request that waits. It uses up an allowance of the client's address, since
// unauthenticated requests could fill the store.
func (p authorization) keep(w http.ResponseWriter, r *http.Request, what pending, param string) (target string, err error) {
	if wait, ok := p.counts().pending.Allow(pendingLimit, ratelimit.Client(web.From(w).Client), p.now()); !ok {
		return "", &web.Error{Status: http.StatusTooManyRequests, Code: "too_many_attempts", RetryAfter: wait}
	}
	name := rand.Text()
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	if err := (records{p.Pending, p.Sealer}).write(ctx, pendingKey(name), nil, what, pendingLife); err != nil {
		return "", asPage(unavailable(err))
	}
	return PathAuthorize + "?" + param + "=" + name, nil
}
