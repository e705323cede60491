package oidc

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"time"

	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
)

// An authorization request survives the sign-in in one of two ways. A short one is
// the address that the browser comes back to. A long one, and one that asks for a
// new sign-in, waits sealed in the store, and the browser comes back with its name:
//
//	/oidc/authorize?client_id=…             at most maxTarget bytes
//	/oidc/authorize?dinggate_request=NAME   any other
//
// The name is no secret: who has it asks the same question as somebody who
// writes the request's own address.
const (
	requestParam = "dinggate_request"
	maxTarget    = 1000 // a return target of a sign-in is kept in a cookie
	pendingLife  = 15 * time.Minute
)

// pending is what a browser comes back to.
type pending struct {
	Query string
	Since time.Time // a session that was begun from then on is new enough
	Was   string    `json:",omitempty"` // the session that the new one takes the place of
	Sub   string    `json:",omitempty"` // whose that is
}

func pendingKey(name string) string { return recordKey("request", name) }

// resumed is the request to judge.
func (p authorization) resumed(r *http.Request) (raw string, back pending, err error) {
	name, found := strings.CutPrefix(r.URL.RawQuery, requestParam+"=")
	if _, after, lang := strings.Cut(r.URL.RawQuery, "&"+requestParam+"="); !found && lang && strings.HasPrefix(r.URL.RawQuery, "lang=") {
		name, found = after, true // a page's link to the other language
	}
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
		return "", back, pageError(http.StatusBadRequest, "oidc_expired", "a request that waited for a sign-in for more than %v", pendingLife)
	}
	return back.Query, back, nil
}

// target is where a sign-in ends: this request again.
func (p authorization) target(a *attempt) (string, error) {
	fresh := a.in.Session != "" // signed in, and not recently enough
	if !fresh && !a.q.prompts(promptLogin) && !a.q.prompts(promptSelect) && !(a.q.hasMaxAge && a.q.maxAge < time.Minute) && len(PathAuthorize)+1+len(a.q.raw) <= maxTarget {
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
	return p.keep(a.w, a.r, keep)
}

// keep has a request wait in the store. It costs an allowance of the address: who is
// not signed in yet could fill the store.
func (p authorization) keep(w http.ResponseWriter, r *http.Request, what pending) (target string, err error) {
	if wait, ok := p.counts().pending.Allow(pendingLimit, ratelimit.Client(web.From(w).Client), p.now()); !ok {
		return "", &web.Error{Status: http.StatusTooManyRequests, Code: "too_many_attempts", RetryAfter: wait}
	}
	name := rand.Text()
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	if err := (records{p.Pending, p.Sealer}).write(ctx, pendingKey(name), nil, what, pendingLife); err != nil {
		return "", asPage(unavailable(err))
	}
	return PathAuthorize + "?" + requestParam + "=" + name, nil
}
