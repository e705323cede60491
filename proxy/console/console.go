// Package console serves the console: administrators see who is signed in, who was refused and who
// has a grant, and end sessions and grants.
//
//	GET  /console            sessions: search, pages
//	GET  /console/requests   requests for access that wait, and grants
//	GET  /console/refusals   who was refused, and why
//	GET  /console/status     DingTalk, events, store, replicas
//	POST to the first two    ends a session, a person's, a grant
//
// Every request is authorized by the rule of Config; a page of another site cannot end anything.
// The func that ends a session or a grant writes the audit record.
package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"dinggate/internal/page"
	"dinggate/internal/web"
	"dinggate/proxy/access"
	"dinggate/session"
)

// Handler serves the console. All fields are required; safe for concurrent use.
type Handler struct {
	Base   string         // its path, such as /oauth2/console
	Policy *access.Policy // of one route, by NewPolicy
	Fresh  web.Reauthentication
	Pages  *page.Pages
	Ours   func(origin string) bool // whether pages of an origin may post here: only those of Public
	Public func(host string) bool   // whether a host is public_url's: no other host serves the console

	// Current returns the session of a cookie; absent reports an error that means there is none.
	Current func(*http.Request) (*session.Session, error)
	Absent  func(error) bool
	Age     func(*session.Session) access.SignInAge

	SignIn func(w http.ResponseWriter, r *http.Request, target string) error
	Again  func(w http.ResponseWriter, r *http.Request, target string, q web.Reauthentication) error

	Sessions func(ctx context.Context) session.Listing
	Requests func(ctx context.Context) ([]page.ConsoleRequest, error) // nil: access cannot be requested
	Refusals func(ctx context.Context) Refusals
	Status   func(ctx context.Context, language string) []page.ConsoleFact

	// End ends sessions or a request and records it. found reports whether there was anything to
	// end.
	End func(ctx context.Context, end End) (found bool, err error)

	Denied func(x *web.Exchange, s *session.Session) // called for a person who may not open the console
}

// Refusals are who was refused in the last day.
type Refusals struct {
	List       []page.ConsoleRefusal // the newest first
	Scope      session.Scope         // whose they are
	Incomplete bool                  // some of the scope may be missing
}

// End is what an administrator ends. Exactly one of Session, Person, User and Request is set.
type End struct {
	Session string        // one session, by its id
	Person  *session.Seen // all sessions of the person of this one
	User    string        // all sessions of a userid that is not listed
	Request string        // a request or a grant, by its id
	Grants  bool          // with Person and User: also their grants
	Reason  string
	By      string
}

// NewPolicy compiles the rule of the console at a path.
func NewPolicy(c Config, path string) (*access.Policy, error) {
	return access.New(access.Config{{Path: path + "/", Access: c.Access}}.Routes())
}

const (
	perPage   = 50
	maxQuery  = 100 // characters of a search text, and of a userid
	maxReason = 200
	retry     = 5 * time.Second
)

// Serve is a web.HandlerFunc.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	err := h.serve(w, r, x)
	if r.Method == http.MethodPost {
		err = web.ToPage(err, x.Path.Raw)
	}
	return err
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, x *web.Exchange) error {
	x.Endpoint = "console"
	view, ok := h.view(x)
	if !ok || !h.Public(x.Host) {
		return &web.Error{Status: http.StatusNotFound, Code: "not_found"}
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		if !web.Navigates(r.Header) || r.Method == http.MethodPost && !web.SameOrigin(r, h.Ours) {
			return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
		}
	default:
		return &web.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Allow: "GET, HEAD, POST"}
	}
	s, done, err := h.enter(w, r, x)
	if done {
		return err
	}
	var result outcome
	if r.Method == http.MethodPost {
		if result, err = h.end(r, s); err != nil {
			return err
		}
	}
	return h.show(w, r, s, view, result)
}

// outcome is what a form did, for the page that answers it.
type outcome struct {
	done   string // page.ConsoleEnded…; "" for nothing
	wrong  string // page.ConsoleWrong…: why nothing was done
	reason string // what was typed, where the form is shown again
}

// views are the pages, by the path below Base.
var views = map[string]string{"": page.ConsoleSessions, "/requests": page.ConsoleRequests,
	"/refusals": page.ConsoleRefusals, "/status": page.ConsoleStatus}

func (h *Handler) view(x *web.Exchange) (view string, ok bool) {
	view, ok = views[strings.TrimPrefix(x.Path.Plain, h.Base)]
	return view, ok && (view != page.ConsoleRequests || h.Requests != nil)
}

// enter finds the person and whether they may open the console. If done, the request has been
// answered, otherwise err is the answer.
func (h *Handler) enter(w http.ResponseWriter, r *http.Request, x *web.Exchange) (s *session.Session, done bool, err error) {
	look := r.Method != http.MethodPost
	self := x.Path.Raw
	if r.URL.RawQuery != "" {
		self += "?" + r.URL.RawQuery
	}
	s, err = h.Current(r)
	switch {
	case err == nil:
	case !h.Absent(err):
		if e, ok := errors.AsType[*web.Error](err); ok {
			return nil, true, e
		}
		return nil, true, web.Unavailable(err, false, retry)
	case look:
		return nil, true, h.SignIn(w, r, self)
	default:
		return nil, true, &web.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Err: err}
	}
	x.User = s.User.Username
	s.SeenFrom(x.Client)
	d := h.Policy.Decide(access.Target{Method: r.Method, Host: x.Host, Path: x.Path.Plain, Client: x.Client,
		SignIn: h.Age(s)}, &s.User)
	switch {
	case d.Verdict == access.Allow:
		return s, false, nil
	case d.Verdict == access.SignIn && d.Reason == access.NotFresh:
		return nil, true, h.Again(w, r, self, h.Fresh)
	}
	h.Denied(x, s)
	return nil, true, &web.Error{Status: http.StatusForbidden, Code: "not_allowed", Who: full(s), Wanted: h.Base}
}

func full(s *session.Session) string { return fullName(s.User.Name, s.User.Username) }

func fullName(name, username string) string {
	if name == "" || name == username {
		return username
	}
	return name + " (" + username + ")"
}

// end performs the form's action; the result is for the page.
func (h *Handler) end(r *http.Request, s *session.Session) (result outcome, err error) {
	bad := func(err error) error { return &web.Error{Status: http.StatusBadRequest, Code: "bad_request", Err: err} }
	if err := r.ParseForm(); err != nil {
		return outcome{}, web.FormError(err)
	}
	form := r.PostForm
	e := End{Session: form.Get("session"), User: strings.TrimSpace(form.Get("user")), Request: form.Get("request"),
		Grants: form.Get("grants") == "yes", Reason: strings.TrimSpace(form.Get("reason")), By: "console: " + full(s)}
	person := form.Get("person")
	named := 0
	for _, one := range []string{e.Session, e.User, e.Request, person} {
		if one != "" {
			named++
		}
	}
	if named != 1 || !typed(e.User, maxQuery) || !typed(e.Session, maxQuery) || !typed(e.Request, maxQuery) ||
		e.Request != "" && h.Requests == nil {
		return outcome{}, bad(errors.New("console: the form names not exactly one thing to end"))
	}
	if !typed(e.Reason, maxReason) {
		return outcome{wrong: page.ConsoleWrongReason, reason: e.Reason}, nil
	}
	done := page.ConsoleEndedPerson
	switch {
	case e.User != "":
		done = page.ConsoleEndedUserID
	case e.Session != "":
		done = page.ConsoleEndedSession
	case e.Request != "":
		done = page.ConsoleEndedRequest
	case person != "":
		for _, one := range h.Sessions(r.Context()).Sessions {
			if one.ID == person {
				e.Person = &one
			}
		}
		if e.Person == nil {
			return outcome{done: page.ConsoleOver}, nil
		}
	}
	found, err := h.End(r.Context(), e)
	switch {
	case err != nil:
		return outcome{}, web.Unavailable(err, false, retry)
	case !found:
		return outcome{done: page.ConsoleOver}, nil
	}
	return outcome{done: done}, nil
}

// typed reports whether a person can have typed a text.
func typed(s string, most int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= most &&
		!strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) })
}

// show answers with a view.
func (h *Handler) show(w http.ResponseWriter, r *http.Request, s *session.Session, view string, result outcome) error {
	data := page.ConsoleData{View: view, Base: h.Base, Who: full(s), Done: result.done, Wrong: result.wrong,
		Reason: result.reason, Requestable: h.Requests != nil}
	switch view {
	case page.ConsoleSessions:
		h.sessions(r, s, &data)
	case page.ConsoleRequests:
		list, err := h.Requests(r.Context())
		if err != nil {
			return web.Unavailable(err, false, retry)
		}
		data.Total = len(list)
		data.Requests, data.Page, data.Pages = paged(r, list)
	case page.ConsoleRefusals:
		all := h.Refusals(r.Context())
		data.Scope, data.Incomplete, data.Total = string(all.Scope), all.Incomplete, len(all.List)
		data.Refusals, data.Page, data.Pages = paged(r, all.List)
	case page.ConsoleStatus:
		data.Facts = h.Status(r.Context(), web.Language(r))
	}
	h.Pages.Console(w, r, data)
	return nil
}

func (h *Handler) sessions(r *http.Request, s *session.Session, data *page.ConsoleData) {
	query, ok := searched(r)
	known := h.Sessions(r.Context())
	data.Query, data.Scope, data.Since, data.Incomplete = query, string(known.Scope), known.Since, known.Missing != nil
	found := known.Sessions
	switch {
	case !ok: // a list of everybody would pass for the result
		data.Wrong, found = page.ConsoleWrongSearch, nil
	case query != "":
		found = found[:0:0]
		for i := range known.Sessions {
			if matches(&known.Sessions[i], strings.ToLower(query)) {
				found = append(found, known.Sessions[i])
			}
		}
	}
	data.Total = len(found)
	var some []session.Seen
	some, data.Page, data.Pages = paged(r, found)
	for i := range some {
		one := &some[i]
		line := page.ConsoleSession{ID: one.ID, Name: one.User.Name, User: one.User.Username, UserID: one.User.UserID,
			Device: one.Device, SignedIn: one.SignedIn.Local(), LastSeen: one.LastSeen.Local(), Ends: one.Ends.Local(),
			Silent: one.Silent, Local: one.User.Local, Own: one.ID == s.ID}
		if one.Client.IsValid() {
			line.Address = one.Client.String()
		}
		if one.Last.IsValid() {
			line.LastAddress = one.Last.String()
		}
		data.Sessions = append(data.Sessions, line)
	}
}

// searched is the text of a search; false for one that cannot have been typed.
func searched(r *http.Request) (query string, ok bool) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	query = strings.TrimSpace(values.Get("q"))
	if err != nil || !typed(query, maxQuery) {
		return "", false
	}
	return query, true
}

func matches(s *session.Seen, query string) bool {
	for _, text := range [...]string{s.User.Name, s.User.Username, s.User.UserID, s.Device} {
		if strings.Contains(strings.ToLower(text), query) {
			return true
		}
	}
	return s.Client.IsValid() && s.Client.String() == query || s.Last.IsValid() && s.Last.String() == query || s.ID == query
}

// paged returns the requested page of a list; pages count from 1.
func paged[T any](r *http.Request, all []T) (some []T, n, pages int) {
	pages = max(1, (len(all)+perPage-1)/perPage)
	n, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil || n < 1 {
		n = 1
	}
	n = min(n, pages)
	return all[min(len(all), (n-1)*perPage):min(len(all), n*perPage)], n, pages
}
