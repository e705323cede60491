package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
	"dinggate/session"
)

// handOver transfers a session to a route's host that the session cookie does not reach, a place
// (see session.TextAt):
//
//	browser         the place                        public_url
//	page ─────────► no session: a secret in a cookie
//	     302 ─────────────────────────────────────►  /leave?hop=…&rd=…   hop: hash of that secret
//	                                                   no session: sign in, and back here
//	     302 ◄─────────────────────────────────────  a ticket for this session, hop, place and page
//	     ────────►  /arrive?ticket=…
//	                  the ticket's hop is that of the cookie; it is taken, once
//	     302 ◄────  session cookie of this place, same id; the page
//
// A ticket is useless to another browser, which lacks the secret: an attacker who sees it cannot
// use it, and cannot plant a ticket of their own session. It expires after 30 seconds and is
// invalidated by its first use, valid or not. Places are defined by routes only, never by a
// request. No step is made in a frame or by a script.
type handOver struct{ *Flow }

const (
	leavePath  = "/leave"
	arrivePath = "/arrive"

	hopPurpose = "hand-over" // keys of its own: no other sealed text is accepted in its place
	hopLife    = 20 * time.Minute
	hopReuse   = hopLife / 2 // tabs that leave within this time share the secret

	sinceSkew  = 5 * time.Second // how far replicas' clocks may differ
	ticketLife = 30 * time.Second
	maxTicket  = 128
)

// leavesLimit is per session: more tabs than a browser restores at once.
var leavesLimit = ratelimit.Rate{Every: time.Second / 5, Burst: 300}

// ticketData is the content of a ticket, stored sealed in the Store.
type ticketData struct {
	Session string // text of the session cookie on public_url
	Place   string
	Hop     []byte
	Target  string // a page of that place
}

// hop is the secret of a browser in a place.
type hop struct {
	secret [32]byte
	issued time.Time
}

func (h *hop) hash() []byte {
	sum := sha256.Sum256(append([]byte("hop "), h.secret[:]...))
	return sum[:]
}

func (f handOver) cookieName() string {
	name := strings.TrimPrefix(f.Sessions.CookieName(), "__Host-") + "-hand-over"
	if f.secure() {
		name = "__Host-" + name
	}
	return name
}

// hops lists the valid secrets of this browser in a place: more than one only if another host
// could plant its own.
func (f handOver) hops(r *http.Request, place string) (all []hop) {
	for i, text := range web.CookieValues(r.Header, f.cookieName()) {
		if i >= maxCopies {
			break
		}
		plain, _, err := f.Keyring.Open(hopPurpose, f.cookieName()+" "+place, text)
		if err != nil || len(plain) != 40 {
			continue
		}
		h := hop{[32]byte(plain[:32]), time.UnixMilli(int64(binary.BigEndian.Uint64(plain[32:])))}
		if age := f.now().Sub(h.issued); age >= -attemptSkew && age < hopLife {
			all = append(all, h)
		}
	}
	return all
}

// placeHop returns this browser's secret for a place: the existing one, so that tabs that leave
// together can all return, otherwise a new one.
func (f handOver) placeHop(w http.ResponseWriter, r *http.Request, place string) (hop, error) {
	if all := f.hops(r, place); len(all) == 1 && f.now().Sub(all[0].issued) < hopReuse {
		return all[0], nil
	}
	h := hop{issued: f.now()}
	rand.Read(h.secret[:]) // never fails: crypto/rand would end the process
	plain := binary.BigEndian.AppendUint64(h.secret[:], uint64(h.issued.UnixMilli()))
	text, err := f.Keyring.Seal(hopPurpose, f.cookieName()+" "+place, plain)
	if err != nil {
		return h, fmt.Errorf("login: sealing a hand-over: %w", err)
	}
	addCookie(w, &http.Cookie{Name: f.cookieName(), Value: text, Path: "/", MaxAge: int(hopLife / time.Second),
		HttpOnly: true, Secure: f.secure(), SameSite: http.SameSiteLaxMode})
	return h, nil
}

// start is Start in a place. With `silent=no`, or for a page that requires a recent sign-in, it
// requires a new sign-in.
func (f handOver) start(w http.ResponseWriter, r *http.Request, x *web.Exchange, target string) error {
	silent, err := parameter(r.URL.RawQuery, "silent")
	if err != nil {
		return err
	}
	var since time.Time
	if silent == "no" || f.wantsClick(target) {
		since = f.now()
	}
	return f.redirectToPublic(w, r, x, target, since)
}

// redirectToPublic redirects a page load in a place to public_url. target is the page; if since is
// set, a session that began before it is insufficient.
func (f handOver) redirectToPublic(w http.ResponseWriter, r *http.Request, x *web.Exchange, target string, since time.Time) error {
	if err := f.topLevel(r); err != nil {
		return err
	}
	place := f.Origins.Place(x.Host)
	if at, _ := f.Origins.PlaceOf(target); at != place {
		target = f.Origins.Scheme() + "://" + x.Host + "/"
	}
	// The cookie would not be sent back. At /start, where this leads, a gateway behind a load balancer
	// that terminates TLS still reports http: a redirect would not end.
	if x.Scheme != f.Origins.Scheme() && x.Endpoint != "start" {
		redirect(w, http.StatusFound, f.LoginURL(target))
		return nil
	}
	h, err := f.placeHop(w, r, place)
	if err != nil {
		return err
	}
	f.clearStaleCookie(w, r)
	redirect(w, http.StatusFound, f.Origins.Public()+f.leaveURL(h.hash(), target, since))
	return nil
}

// leaveURL is the hand-over path on public_url. If a page's URL is too long for a sign-in, the
// first page of its host replaces it.
func (f handOver) leaveURL(hop []byte, target string, since time.Time) string {
	path := f.Prefix + leavePath + "?hop=" + base64.RawURLEncoding.EncodeToString(hop)
	if !since.IsZero() {
		path += "&since=" + strconv.FormatInt(since.Unix(), 10)
	}
	path += "&rd="
	if len(path)+len(web.EscapeNonASCII(target)) > web.MaxReturn {
		_, origin := f.Origins.PlaceOf(target)
		target = origin + "/"
	}
	return path + web.EscapeNonASCII(target) // in the raw form: see returnParameter
}

// topLevel refuses frames, images and scripts: they are no navigation of a person, and a page of
// another site must not transfer sessions.
func (f handOver) topLevel(r *http.Request) error {
	if web.IsTopLevel(r.Method, r.Header) {
		return nil
	}
	return &web.Error{
		Status: http.StatusForbidden, Code: "embedded", Err: errors.New("login: a hand-over of a part of a page"),
	}
}

// HandOver returns the two endpoints. leave, on public_url, issues a signed-in browser a ticket
// for the page of another place that `rd` names, and redirects it there; a person who is not
// signed in signs in first. accept, in that place, takes the ticket and sets the session's cookie
// there.
func (f *Flow) HandOver() (leave, accept web.HandlerFunc) {
	return handOver{f}.leave, handOver{f}.accept
}

func (f handOver) leave(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "leave"
	if err := getOnly(r); err != nil {
		return err
	}
	if !f.urls().onPublic(x) || f.Tickets == nil {
		return &web.Error{Status: http.StatusNotFound, Code: "not_found"}
	}
	if err := f.topLevel(r); err != nil {
		return err
	}
	text, err := parameter(r.URL.RawQuery, "hop")
	if err != nil {
		return err
	}
	state, ok := parseState(text)
	if !ok {
		return badRequest("no hop")
	}
	raw, err := returnParameter(r.URL.RawQuery)
	if err != nil {
		return err
	}
	target, ok := f.urls().allowed(raw)
	place, origin := f.Origins.PlaceOf(target)
	if !ok || place == "" {
		return badRequest("no page of a host that needs a ticket")
	}
	since, err := f.since(r)
	if err != nil {
		return err
	}
	s, err := f.loadSession(r, f.maxWait())
	switch {
	case session.Absent(err), err == nil && s.SignedIn.Before(since.Add(-sinceSkew)):
		return f.RequireSignIn(w, r, f.leaveURL(state[:], target, since))
	case err != nil:
		return unavailable(err)
	}
	x.User = s.User.Username
	if wait, ok := f.counts().leaves.Allow(leavesLimit, s.ID, f.now()); !ok {
		return f.limited("starts", wait)
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	ticket, err := f.Tickets.Issue(ctx, ticketData{s.Text(), place, state[:], target}, ticketLife)
	if err != nil {
		return storeUnavailable(err)
	}
	redirect(w, http.StatusFound, origin+f.Prefix+arrivePath+"?ticket="+ticket)
	return nil
}

// since is when the browser left for a sign-in that has to be recent; if zero, any sign-in
// suffices. It only selects the next step: the page's own rule decides about the session again.
func (f handOver) since(r *http.Request) (time.Time, error) {
	text, err := parameter(r.URL.RawQuery, "since")
	if err != nil || text == "" {
		return time.Time{}, err
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if at := time.Unix(seconds, 0); err == nil && at.Before(f.now().Add(attemptSkew)) {
		return at, nil
	}
	return time.Time{}, badRequest("no moment that has been")
}

func storeUnavailable(err error) error {
	return &web.Error{Status: http.StatusServiceUnavailable, Code: "store_unavailable", RetryAfter: retryAfter, Err: err}
}

func (f handOver) accept(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "arrive"
	if err := getOnly(r); err != nil {
		return err
	}
	place := f.Origins.Place(x.Host)
	if place == "" || f.Tickets == nil {
		return &web.Error{Status: http.StatusNotFound, Code: "not_found"}
	}
	if err := f.topLevel(r); err != nil {
		return err
	}
	text, err := parameter(r.URL.RawQuery, "ticket")
	if err != nil {
		return err
	}
	if text == "" || len(text) > maxTicket {
		return badRequest("no ticket")
	}
	again := f.Prefix + "/start?rd=%2F"
	data, err := f.take(r.Context(), text) // also for a browser without a secret: its owner may come later
	if err != nil {
		if e, ok := errors.AsType[*web.Error](err); ok {
			e.Retry = again
		}
		return err
	}
	ours := 0
	for _, h := range f.hops(r, place) {
		ours |= subtle.ConstantTimeCompare(h.hash(), data.Hop)
	}
	target, ok := f.urls().allowed(data.Target)
	at, _ := f.Origins.PlaceOf(target)
	if ours != 1 || data.Place != place || !ok || at != place {
		return arrivalRefused(errors.New("login: a ticket of another browser or host"), "state_unknown", again)
	}
	again = f.urls().path("/start", target)
	s, err := f.Sessions.Load(r.Context(), []string{data.Session}, f.maxWait())
	switch {
	case session.Absent(err):
		return arrivalRefused(err, "state_expired", again)
	case err != nil:
		return unavailable(err)
	}
	cookie, err := f.Sessions.At(place).Of(s)
	if err != nil {
		return err
	}
	x.User = s.User.Username
	addCookie(w, cookie)
	if strings.EqualFold(f.Sessions.Cookie.SameSite, "strict") {
		htmlRedirect(w, target)
		return nil
	}
	redirect(w, http.StatusFound, target)
	return nil
}

// Tickets stores tickets where all replicas find them.
type Tickets interface {
	// Issue stores data for the given lifetime and returns its ticket.
	Issue(ctx context.Context, data any, life time.Duration) (ticket string, err error)

	// Take uses a ticket up: of any number of calls on any replica one gets its data. A text that
	// was not issued here costs a MAC and no lookup. Errors are ErrTicketUnknown,
	// ErrTicketExpired, ErrTicketUsed, or the store's.
	Take(ctx context.Context, ticket string, data any) error
}

// Reasons for which a ticket is refused.
var (
	ErrTicketUnknown = errors.New("login: a ticket that was not made here")
	ErrTicketExpired = errors.New("login: a ticket that is used or expired")
	ErrTicketUsed    = errors.New("login: a ticket that was used at the same moment")
)

func (f handOver) take(ctx context.Context, text string) (data ticketData, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	switch err = f.Tickets.Take(ctx, text, &data); {
	case err == nil:
		return data, nil
	case errors.Is(err, ErrTicketUnknown):
		return data, arrivalRefused(err, "state_unknown", "")
	case errors.Is(err, ErrTicketExpired):
		return data, arrivalRefused(err, "state_expired", "")
	case errors.Is(err, ErrTicketUsed):
		return data, arrivalRefused(err, "state_used", "")
	}
	return data, storeUnavailable(err)
}

// arrivalRefused makes the browser begin again: a person who is signed in returns at once.
func arrivalRefused(err error, code, again string) error {
	return &web.Error{Status: http.StatusForbidden, Code: code, Retry: again, Err: err}
}
