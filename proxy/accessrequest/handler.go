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

// Handler serves the pages of requests:
//
//	GET  /requests?rd=PAGE   the form
//	POST /requests           makes a request, and redirects to it
//	GET  /requests/ID        its state: for the requester, who waits there, and for approvers
//	POST /requests/ID        the answer, or the end of a grant
//
// All fields without a note are required. It belongs to one configuration; safe for concurrent use.
type Handler struct {
	Config Config
	Prefix string
	Book   *Book
	Pages  *page.Pages
	Routes []RequestableRoute // by their index in the policy

	Ours   func(origin string) bool // whether pages of an origin may post here: only those of Public
	Public func(host string) bool   // whether a host is public_url's: no other host serves these pages
	Target func(x *web.Exchange, raw string) (target string, ok bool)

	// Current returns the person who is signed in by a cookie; absent reports an error that means
	// there is none.
	Current func(*http.Request) (*identity.User, error)
	Absent  func(error) bool
	SignIn  func(w http.ResponseWriter, r *http.Request, target string) error

	// Refused is proxy.Handler's.
	Refused func(ctx context.Context, target string, client netip.Addr, u *identity.User) (route int, ok bool, err error)

	// Approvers returns the people that a request can be sent to, and the path of the person's
	// departments.
	Approvers func(ctx context.Context, u *identity.User, c *RouteConfig) (list []Person, departments string, err error)

	// Migrated reports whether DingTalk says that the account of a person was migrated from
	// another unionId; false if that is unknown. If nil, no account was.
	Migrated func(ctx context.Context, u *identity.User, before string) bool

	// Notify informs all approvers of a request that waits, or the requester of its outcome. An
	// error means that a person may not have been notified.
	Notify func(ctx context.Context, q Request) error

	// Report receives the errors of Notify, for the log.
	Report func(error)
}

// RequestableRoute is a route as a request names it.
type RequestableRoute struct {
	Route
	Request *RouteConfig // nil: access cannot be requested
}

// FormURL is the path of the form of a Handler with this Prefix, for a person who was refused the
// page wanted: a path on public_url, or one of our absolute URLs.
func FormURL(prefix, wanted string) string { return prefix + "/requests?rd=" + url.QueryEscape(wanted) }

// person returns the person who is signed in. If done, the request has been answered because there
// is no session.
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

// allowed refuses any request except page loads and forms of our own pages, on public_url's host
// (threats G1): a script of an application has the origin of the application's host, and an approver
// who opens the application would approve what its script posts there.
func (h *Handler) allowed(r *http.Request, x *web.Exchange) error {
	if !h.Public(x.Host) {
		return &web.Error{Status: http.StatusNotFound, Code: "not_found"}
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		return &web.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Allow: "GET, HEAD, POST"}
	}
	if !web.Navigates(r.Header) || r.Method == http.MethodPost && !web.SameOrigin(r, h.Ours) {
		return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
	}
	if r.Method == http.MethodPost {
		if err := r.ParseForm(); err != nil {
			return web.FormError(err)
		}
	}
	return nil
}

// Form is the form, and the endpoint it posts to; a web.HandlerFunc.
func (h *Handler) Form(w http.ResponseWriter, r *http.Request) error {
	err := h.serveForm(w, r, web.From(w))
	if r.Method == http.MethodPost {
		err = web.ToPage(err, FormURL(h.Prefix, r.PostForm.Get("rd")))
	}
	return err
}

func (h *Handler) serveForm(w http.ResponseWriter, r *http.Request, x *web.Exchange) error {
	if err := h.allowed(r, x); err != nil {
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
		// Access is allowed by now, or cannot be requested: the page itself shows which.
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
		return h.submit(w, r, u, route, target)
	}
	h.form(w, r, route, target, page.AccessData{}, http.StatusOK)
	return nil
}

func (h *Handler) form(w http.ResponseWriter, r *http.Request, route RequestableRoute, target string, data page.AccessData, status int) {
	data.Kind, data.Action, data.Target, data.Wanted = page.AccessForm, h.Prefix+"/requests", target, target
	data.Route = route.Host + route.Name
	data.Choices, data.NeedReason = route.Request.Choices(), route.Request.NeedsReason()
	h.Pages.Access(w, r, status, data)
}

// submit makes a request from a form. A form with a mistake is shown again.
func (h *Handler) submit(w http.ResponseWriter, r *http.Request, u *identity.User, route RequestableRoute, target string) error {
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
	room, err := h.Book.CanSubmit(ctx, u, h.Config.Open)
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
			q.Approvers = q.Approvers[:len(q.Approvers)-1] // the requester cannot approve
		}
	}
	if len(q.Approvers) == 0 {
		data.Wrong = page.WrongNone
		h.form(w, r, route, target, data, http.StatusUnprocessableEntity)
		return nil
	}
	q, created, err := h.Book.Submit(ctx, q, h.Config.Open)
	switch {
	case errors.Is(err, ErrTooMany), errors.Is(err, ErrFull):
		data.Wrong = page.WrongTooMany
		h.form(w, r, route, target, data, http.StatusTooManyRequests)
		return nil
	case err != nil:
		return web.Unavailable(err, false, 5*time.Second)
	}
	if created {
		if err := h.Notify(ctx, q); err != nil {
			h.Report(err)
			_ = h.Book.Unnotified(ctx, q.ID)
		}
	}
	return seeOther(w, h.Prefix+"/requests/"+q.ID)
}

// typed returns a text of one line that a person typed, without surrounding blanks.
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
	w.Header()["Location"] = []string{web.EscapeNonASCII(to)}
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// One is the page of a request, and the endpoint its forms post to; a web.HandlerFunc. Other
// people get 404 (threats G6).
func (h *Handler) One(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	err := h.serveOne(w, r, x)
	if r.Method == http.MethodPost {
		err = web.ToPage(err, x.Path.Raw)
	}
	return err
}

func (h *Handler) serveOne(w http.ResponseWriter, r *http.Request, x *web.Exchange) error {
	if err := h.allowed(r, x); err != nil {
		return err
	}
	u, done, err := h.person(w, r, x)
	if done {
		return err
	}
	id, who := strings.TrimPrefix(x.Path.Plain, h.Prefix+"/requests/"), PersonOf(u)
	q, err := h.Book.Find(r.Context(), id)
	own, approver := q.Person.Is(who), false
	if err == nil {
		q, approver, err = h.approver(r.Context(), q, u)
	}
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
		case own && errors.Is(err, ErrNotYours):
			return &web.Error{Status: http.StatusForbidden, Code: "own_request", Err: err}
		case errors.Is(err, ErrNone), errors.Is(err, ErrNotYours):
			return &web.Error{Status: http.StatusForbidden, Code: "not_allowed", Err: err}
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
			if failed := h.Notify(ctx, got); failed != nil { // the answer is valid, and the requester's page shows it
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

// Fingerprints are those of the routes for which access can be requested; a nil Handler has none.
func (h *Handler) Fingerprints() (list []string) {
	if h == nil {
		return nil
	}
	for _, route := range h.Routes {
		if route.Request != nil {
			list = append(list, route.Fingerprint)
		}
	}
	return list
}
