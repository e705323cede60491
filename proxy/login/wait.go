package login

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"time"

	"dinggate/internal/page"
	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
	"dinggate/store"
)

// Queue is where sign-ins wait for their turn at the provider: a call takes a place for id, or
// keeps its place, and waits for at most patience. An error means that there is no place, or that
// the context ended.
type Queue interface {
	Enter(ctx context.Context, id string, patience time.Duration) (ratelimit.Turn, error)
}

// A sign-in that has to wait:
//
//	callback?code=… ─ place, up to 8 s ─┬─ its turn: claimed, exchanged, signed in
//	                                    └─ not yet: code bound to the attempt and sealed into its cookie
//	                                         303 callback?waiting=… ─ place, up to 8 s ─┬─ its turn: as above
//	                                                    ▲                              ├─ not yet: the page reloads ──┐
//	                                                    ├──────────────────────────────┼──────────────────────────────┘
//	                                                    │                              └─ code older than 4 minutes:
//	                                                    └──── callback?code=… ◄── DingTalk ◄── 302, with the same place
//
// The place is taken before the code is spent. The code is valid with this attempt only, and the
// attempt with this code: the Store records both.
const (
	waitParam   = "waiting"
	waitFor     = 8 * time.Second // that one request waits for its turn
	codeLife    = 4 * time.Minute // DingTalk's are valid for five
	boundLife   = attemptLife + 2*attemptSkew
	refreshLeft = 2 * time.Second
	refreshMost = 10 * time.Second
)

// waiting reports that it is not the attempt's turn yet. It is an answer, not a refusal.
type waiting struct {
	turn ratelimit.Turn
	a    attempt
	slot int
	q    callbackQuery
}

func (*waiting) Error() string { return "login: a sign-in waits for its turn" }

// errQueue is in the error of a sign-in that did not get its turn; its code is not spent.
var errQueue = errors.New("login: no turn at the provider; nothing is used up")

// place is the attempt's place in the queue: that of the first attempt of the wait, if the person
// was redirected to the provider again.
func (a *attempt) place() string {
	if a.queued != "" {
		return a.queued
	}
	return digestText(a.state[:])
}

// outdated reports whether the code of an attempt that waits is too old to be redeemed.
func (a *attempt) outdated(now time.Time) bool { return a.code != "" && now.Sub(a.coded) >= codeLife }

func digestText(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// takeTurn waits for the attempt's turn. A page that can wait longer gets *waiting, any other
// request a 503 that uses nothing up.
func (f completion) takeTurn(r *http.Request, by codeSource, a attempt, slot int, q callbackQuery) error {
	if by.queue == nil {
		return nil
	}
	if by.mayWait && a.outdated(f.now()) {
		return &waiting{ratelimit.Turn{}, a, slot, q} // before it uses its turn up for a code that has expired
	}
	turn, err := by.queue.Enter(r.Context(), a.place(), waitFor)
	switch {
	case err == nil && turn.Mine:
		return f.boundElsewhere(r, a, q)
	case err == nil && by.mayWait:
		return &waiting{turn, a, slot, q}
	case err == nil || errors.Is(err, ratelimit.ErrFull):
		return &web.Error{
			Status: http.StatusServiceUnavailable, Code: "throttled", RetryAfter: max(turn.Wait, retryAfter),
			Err: errors.Join(errQueue, err),
		}
	}
	return &web.Error{Status: http.StatusServiceUnavailable, Code: "unavailable", RetryAfter: retryAfter, Err: errors.Join(errQueue, err)}
}

// boundElsewhere refuses a code that waits under another attempt, and an attempt that waits with
// another code.
func (f completion) boundElsewhere(r *http.Request, a attempt, q callbackQuery) error {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	for key, want := range codeTies(a, q.code) {
		switch got, err := f.Used.Get(ctx, key); {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return &web.Error{Status: http.StatusServiceUnavailable, Code: "store_unavailable", RetryAfter: retryAfter, Err: err}
		case string(got) != want:
			return f.refuse(r, "state_used", "/")
		}
	}
	return nil
}

// codeTies are the two records that tie a code and an attempt to each other. They contain hashes:
// the Store never sees a code.
func codeTies(a attempt, code string) map[string]string {
	ofState, ofCode := digestText(append([]byte("attempt "), a.state[:]...)), digestText([]byte("code "+code))
	return map[string]string{"waiting-attempt:" + ofState: ofCode, "waiting-code:" + ofCode: ofState}
}

// bind ties the code to the attempt, once: a reload finds the same tie.
func (f completion) bind(r *http.Request, a attempt, q callbackQuery) error {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	for key, value := range codeTies(a, q.code) {
		if err := f.Used.Add(ctx, key, []byte(value), boundLife); err != nil && !errors.Is(err, store.ErrExists) {
			return &web.Error{Status: http.StatusServiceUnavailable, Code: "store_unavailable", RetryAfter: retryAfter, Err: err}
		}
	}
	return f.boundElsewhere(r, a, q)
}

// wait answers a sign-in whose turn has not come.
func (f completion) wait(w http.ResponseWriter, r *http.Request, not *waiting) error {
	a := not.a
	if a.queued = not.turn.Place; a.queued == "" {
		a.queued = not.a.place()
	}
	if carriesCode(r.URL.RawQuery) || a.code == "" {
		if err := f.bind(r, a, not.q); err != nil {
			return err
		}
		if a.code == "" { // a reload does not make the code younger
			a.issued, a.coded = f.now(), f.now()
		}
		a.code, a.provided = not.q.code, not.q.state
		return f.keepWaiting(w, r, not.slot, a)
	}
	if a.outdated(f.now()) {
		next := newAttempt(a.purpose, a.app, a.host, a.target, f.now())
		next.queued = a.queued
		if err := f.reseal(w, not.slot, next); err != nil {
			return err
		}
		redirect(w, http.StatusFound, f.Provider.AuthURL(f.urls().redirectURI(), next.stateText()))
		return nil
	}
	f.Pages.Waiting(w, r, page.WaitingData{Ahead: not.turn.Ahead, Refresh: min(max(not.turn.Wait/2, refreshLeft), refreshMost)})
	return nil
}

// keepWaiting seals the attempt with its code and redirects to a URL without the code: a URL stays
// in the history, and a page sends it as Referer.
func (f completion) keepWaiting(w http.ResponseWriter, r *http.Request, slot int, a attempt) error {
	if err := f.reseal(w, slot, a); err != nil {
		return err
	}
	redirect(w, http.StatusSeeOther, r.URL.EscapedPath()+"?"+waitParam+"="+url.QueryEscape(a.waitName()))
	return nil
}

// waitName identifies an attempt in a URL without revealing its state.
func (a *attempt) waitName() string {
	return digestText(append([]byte("waiting "), a.state[:]...))[:22]
}

func (f completion) reseal(w http.ResponseWriter, slot int, a attempt) error {
	jar := f.attempts()
	text, err := jar.keyring.Seal(attemptPurpose, jar.slotName(slot), a.encode())
	if err != nil {
		return err
	}
	addCookie(w, jar.cookie(slot, text, int(attemptLife/time.Second)))
	return nil
}

// waitingQuery reads the callback query of a waiting attempt of this browser.
func (f completion) waitingQuery(r *http.Request, name string) (callbackQuery, error) {
	for slot := range slots {
		found, _ := f.attempts().open(r.Header, slot)
		for _, a := range found {
			if a.code != "" && a.waitName() == name {
				return callbackQuery{attempt: a.stateText(), state: a.provided, code: a.code}, nil
			}
		}
	}
	return callbackQuery{}, f.refuse(r, "state_unknown", "/")
}
