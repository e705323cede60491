package accessrequest

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"dinggate/internal/identity"
	"dinggate/internal/page"
	"dinggate/internal/web"
)

// Handler is the pages of requests:
//
//	GET  /requests?rd=PAGE   the form
//	POST /requests           asks, and leads to the request
//	GET  /requests/ID        its state: to the requester, who waits there, and to approvers
//	POST /requests/ID        the answer, or the end of a grant
//
// All fields are needed. It belongs to one configuration; safe for
// concurrent use.
type Handler struct {
	Config Config
	Prefix string
	Book   *Book
	Pages  *page.Pages
	Routes []AskedRoute // by their index in the policy

	Ours   func(origin string) bool // see web.SameOrigin
	Target func(x *web.Exchange, raw string) (target string, ok bool)

	// Current is who is signed in by a cookie; absent reports an error that means nobody.
	Current func(*http.Request) (*identity.User, error)
	Absent  func(error) bool
	SignIn  func(w http.ResponseWriter, r *http.Request, target string) error

	// Refused is proxy.Handler's.
	Refused func(ctx context.Context, target string, client netip.Addr, u *identity.User) (route int, ok bool, err error)

	// Approvers finds whom a request can be sent to, and what the person's departments
	// are called.
	Approvers func(ctx context.Context, u *identity.User, c *RouteConfig) (list []Person, departments string, err error)

	// Notify informs all approvers of a request that waits, or the requester how it was
	// answered. An error says that somebody may not have been told.
	Notify func(ctx context.Context, q Request) error

	// Report takes the errors of Notify, for the log.
	Report func(error)
}

// AskedRoute is a route as a request names it.
type AskedRoute struct {
	Route
	Request *RouteConfig // nil: it cannot be asked for
}

// URL is where a person can ask for access to a page.
func (h *Handler) URL(wanted string) string {
	return h.Prefix + "/requests?rd=" + url.QueryEscape(wanted)
}

// person is who is signed in. Without a session the request is answered: done.
func (h *Handler) person(w http.ResponseWriter, r *http.Request, x *web.Exchange) (u *identity.User, done bool, err error) {
	u, err = h.Current(r)
	switch {
	case err == nil:
		x.User = u.Username
		return u, false, nil
	case !h.Absent(err):
		if e, ok := errors.AsType[*web.Error](err); ok {
			return nil, true, e
		}
		return nil, true, web.Unavailable(err, false, 5*time.Second)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return nil, true, &web.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Err: err}
	}
	self := x.Path.Raw
	if r.URL.RawQuery != "" {
		self += "?" + r.URL.RawQuery
	}
	return nil, true, h.SignIn(w, r, self)
}

// method refuses what is no page load and no form of its own pages (threats G1).
func (h *Handler) method(r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return nil
	case http.MethodPost:
		if !web.SameOrigin(r, h.Ours) {
			return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
		}
		if err := r.ParseForm(); err != nil {
			return &web.Error{Status: http.StatusBadRequest, Code: "bad_request", Err: err}
		}
		return nil
	}
	return &web.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Allow: "GET, HEAD, POST"}
}

// Ask is the form, and what it posts to; a web.HandlerFunc.
func (h *Handler) Ask(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	if err := h.method(r); err != nil {
		return err
	}
	u, done, err := h.person(w, r, x)
	if done {
		return err
	}
	raw := r.URL.Query().Get("rd")
	if r.Method == http.MethodPost {
		raw = r.PostForm.Get("rd")
	}
	target, ok := h.Target(x, raw)
	if !ok {
		return &web.Error{Status: http.StatusNotFound, Code: "not_found"}
	}
	n, refused, err := h.Refused(r.Context(), target, x.Client, u)
	switch {
	case err != nil:
		return web.Unavailable(err, false, 5*time.Second)
	case !refused || n < 0 || n >= len(h.Routes) || h.Routes[n].Request == nil:
		// Let in meanwhile, or never to be asked for: the page itself says which.
		return seeOther(w, target)
	}
	route := h.Routes[n]
	there, err := h.Book.Open(r.Context(), u, route.Fingerprint)
	if err == nil {
		return seeOther(w, h.Prefix+"/requests/"+there.ID)
	}
	if !errors.Is(err, ErrNone) {
		return web.Unavailable(err, false, 5*time.Second)
	}
	if r.Method == http.MethodPost {
		return h.ask(w, r, u, route, target)
	}
	h.form(w, r, route, target, page.AccessData{}, http.StatusOK)
	return nil
}

func (h *Handler) form(w http.ResponseWriter, r *http.Request, route AskedRoute, target string, data page.AccessData, status int) {
	data.Kind, data.Action, data.Target, data.Wanted = page.AccessForm, h.Prefix+"/requests", target, target
	data.Choices, data.NeedReason = route.Request.Choices(), route.Request.NeedsReason()
	h.Pages.Access(w, r, status, data)
}

// ask makes a request of a form. One with a mistake does not count.
func (h *Handler) ask(w http.ResponseWriter, r *http.Request, u *identity.User, route AskedRoute, target string) error {
	ctx, data := r.Context(), page.AccessData{}
	reason, fits := typed(r.PostForm.Get("reason"), MaxReason)
	data.Reason = reason
	life, err := time.ParseDuration(r.PostForm.Get("for"))
	switch {
	case !fits || reason == "" && route.Request.NeedsReason():
		data.Wrong = page.WrongReason
	case err != nil || !slices.Contains(route.Request.Choices(), life):
		data.Wrong = page.WrongDuration
	}
	if data.For = life; data.Wrong != "" {
		h.form(w, r, route, target, data, http.StatusUnprocessableEntity)
		return nil
	}
	room, err := h.Book.Room(ctx, u, h.Config.Open)
	if err != nil {
		return web.Unavailable(err, false, 5*time.Second)
	}
	if !room {
		data.Wrong = page.WrongTooMany
		h.form(w, r, route, target, data, http.StatusTooManyRequests)
		return nil
	}
	approvers, departments, err := h.Approvers(ctx, u, route.Request)
	if err != nil {
		return &web.Error{Status: http.StatusServiceUnavailable, Code: "unready", Err: err, RetryAfter: 5 * time.Second}
	}
	q := Request{Person: PersonOf(u), Departments: departments, Route: route.Route, Target: target, Why: reason, For: life}
	for _, a := range approvers {
		if q.Approvers = append(q.Approvers, a); !q.Approver(a) {
			q.Approvers = q.Approvers[:len(q.Approvers)-1] // the requester is nobody's approver here
		}
	}
	if len(q.Approvers) == 0 {
		data.Wrong = page.WrongNobody
		h.form(w, r, route, target, data, http.StatusUnprocessableEntity)
		return nil
	}
	q, asked, err := h.Book.Ask(ctx, q, h.Config.Open)
	switch {
	case errors.Is(err, ErrTooMany), errors.Is(err, ErrFull):
		data.Wrong = page.WrongTooMany
		h.form(w, r, route, target, data, http.StatusTooManyRequests)
		return nil
	case err != nil:
		return web.Unavailable(err, false, 5*time.Second)
	}
	if asked {
		if err := h.Notify(ctx, q); err != nil {
			h.Report(err)
			_ = h.Book.Untold(ctx, q.ID)
		}
	}
	return seeOther(w, h.Prefix+"/requests/"+q.ID)
}

// typed is a text of one line that a person typed.
func typed(s string, most int) (text string, fits bool) {
	if !utf8.ValidString(s) {
		return "", false
	}
	s = strings.Map(func(c rune) rune {
		switch {
		case c == '\n', c == '\r', c == '\t':
			return ' '
		case unicode.IsControl(c), unicode.Is(unicode.Cf, c):
			return -1
		}
		return c
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	return s, utf8.RuneCountInString(s) <= most
}

func seeOther(w http.ResponseWriter, to string) error {
	web.SecurityHeaders(w, "")
	w.Header()["Location"] = []string{to}
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// One is the page of a request, and what its forms post to; a web.HandlerFunc.
// For everybody else it is 404 (threats G6).
func (h *Handler) One(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	if err := h.method(r); err != nil {
		return err
	}
	u, done, err := h.person(w, r, x)
	if done {
		return err
	}
	id, who := strings.TrimPrefix(x.Path.Plain, h.Prefix+"/requests/"), PersonOf(u)
	q, err := h.Book.Find(r.Context(), id)
	own, approver := q.Person.Is(who), q.Approver(who)
	switch {
	case errors.Is(err, ErrNone), err == nil && !own && !approver:
		return &web.Error{Status: http.StatusNotFound, Code: "not_found"}
	case err != nil:
		return web.Unavailable(err, false, 5*time.Second)
	}
	wrong := ""
	if r.Method == http.MethodPost {
		q, err = h.decide(r, q, who, approver)
		switch {
		case errors.Is(err, ErrAnswered):
			wrong = page.WrongOver
		case errors.Is(err, ErrNone), errors.Is(err, ErrNotYours):
			return &web.Error{Status: http.StatusForbidden, Code: "not_allowed"}
		case err != nil:
			if e, ok := errors.AsType[*web.Error](err); ok {
				return e
			}
			return web.Unavailable(err, false, 5*time.Second)
		default:
			return seeOther(w, h.Prefix+"/requests/"+id)
		}
	}
	if own && q.State == Granted && r.Method != http.MethodPost {
		return seeOther(w, q.Target)
	}
	h.show(w, r, q, own, approver, wrong)
	return nil
}

// decide answers a request or ends a grant.
func (h *Handler) decide(r *http.Request, q Request, who Person, approver bool) (Request, error) {
	if !approver {
		return q, ErrNotYours
	}
	word, fits := typed(r.PostForm.Get("word"), MaxWord)
	if !fits {
		return q, &web.Error{Status: http.StatusBadRequest, Code: "bad_request"}
	}
	ctx := r.Context()
	switch r.PostForm.Get("decision") {
	case "approve", "deny":
		got, err := h.Book.Answer(ctx, q.ID, who, r.PostForm.Get("decision") == "approve", word, h.fingerprint(q))
		if err == nil {
			if failed := h.Notify(ctx, got); failed != nil { // the answer counts, and the requester's page shows it
				h.Report(failed)
			}
		}
		return got, err
	case "end":
		if q.State != Granted {
			return q, ErrAnswered
		}
		return h.Book.End(ctx, q.ID, EndTaken, who.Full(), func(one *Request) bool { return one.Approver(who) })
	}
	return q, &web.Error{Status: http.StatusBadRequest, Code: "bad_request"}
}

// fingerprint is that of the request's route as it is now, "" if there is none.
func (h *Handler) fingerprint(q Request) string {
	for _, route := range h.Routes {
		if route.Request != nil && route.Fingerprint == q.Route.Fingerprint {
			return route.Fingerprint
		}
	}
	return ""
}

// show is the page of a request.
func (h *Handler) show(w http.ResponseWriter, r *http.Request, q Request, own, approver bool, wrong string) {
	data := page.AccessData{
		Who: q.Person.Full(), Departments: q.Departments, Wanted: q.Target, Reason: q.Why, For: q.For, Until: q.Until,
		Asked: q.Asked, By: q.By.Full(), Word: q.Word, Untold: q.Untold, Wrong: wrong,
		Action: h.Prefix + "/requests/" + q.ID,
	}
	for _, a := range q.Approvers {
		data.Approvers = append(data.Approvers, a.Full())
	}
	switch q.State {
	case Waiting:
		data.Kind = page.AccessWaiting
		if approver {
			data.Kind, data.Answers = page.AccessAsked, true
		} else {
			data.Refresh = pollAfter(h.Book.Time().Sub(q.Asked))
		}
	case Granted:
		data.Kind, data.Takes = page.AccessGranted, approver
		if own {
			data.Next = q.Target
		}
	case Denied:
		data.Kind = page.AccessDenied
	case Expired:
		data.Kind = page.AccessExpired
	default:
		data.Kind = page.AccessEnded
	}
	h.Pages.Access(w, r, http.StatusOK, data)
}

// pollAfter is when a page that waits looks again: less often the longer it waits.
func pollAfter(age time.Duration) time.Duration {
	switch {
	case age < time.Minute:
		return 2 * time.Second
	case age < 10*time.Minute:
		return 5 * time.Second
	case age < time.Hour:
		return 15 * time.Second
	}
	return time.Minute
}

// Run ends what belongs to routes that are not there any more, and then what time ends,
// until ctx ends.
func (h *Handler) Run(ctx context.Context) {
	var fingerprints []string
	for _, route := range h.Routes {
		if route.Request != nil {
			fingerprints = append(fingerprints, route.Fingerprint)
		}
	}
	for h.Book.EndOther(ctx, fingerprints) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryAfter):
		}
	}
	h.Book.Run(ctx)
}
