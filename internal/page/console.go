package page

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Views of the console.
const (
	ConsoleSessions = "sessions"
	ConsoleRequests = "requests"
	ConsoleRefusals = "refusals"
	ConsoleStatus   = "status"
)

// Results of a form of the console.
const (
	ConsoleEndedSession = "session"
	ConsoleEndedPerson  = "person"
	ConsoleEndedUserID  = "userid" // it is unknown whether there is such a person
	ConsoleEndedRequest = "request"
	ConsoleOver         = "over" // it had ended already
)

// Mistakes in what an administrator typed.
const (
	ConsoleWrongReason = "wrong_reason"
	ConsoleWrongSearch = "wrong_search"
)

// ConsoleData is one view of the console. Its texts come from the directory and from people: the
// page shows them as text.
type ConsoleData struct {
	View        string
	Base        string // the path of the console
	Who         string // the administrator
	Done        string // the result of the form that was just sent; "" for none
	Wrong       string // a mistake in a form or a search; "" for none
	Reason      string // the reason in the form, to be corrected
	Requestable bool   // access can be requested

	Total, Page, Pages int // of the list; pages count from 1

	Query      string // sessions: the search text
	Scope      string // see SessionsData; also of refusals
	Since      time.Time
	Incomplete bool // of sessions and refusals

	Sessions []ConsoleSession
	Requests []ConsoleRequest
	Refusals []ConsoleRefusal
	Facts    []ConsoleFact
}

// ConsoleSession is one session.
type ConsoleSession struct {
	ID, Name, User, UserID, Device, Address string
	LastAddress                             string // of the last request
	SignedIn, LastSeen, Ends                time.Time
	Silent, Local, Own                      bool
}

// ConsoleRequest is a request for access that waits, or a grant.
type ConsoleRequest struct {
	ID, Name, User, Route, Reason, For, By string

	Approvers  string // who may answer
	Unnotified bool   // an approver may not have been notified

	Requested, Until time.Time // Until is zero while it waits
}

// ConsoleRefusal is a person who was refused.
type ConsoleRefusal struct {
	At                                     time.Time
	Name, User, Code, Route, Rule, Address string
	Device                                 string
	Explain                                string // a command that explains it; "" for none
}

// ConsoleFact is one line of the status.
type ConsoleFact struct {
	Name, Value string
	Bad         bool
}

type consoleView struct {
	view
	Labels                   consoleLabels
	Tabs                     []consoleTab
	View, Who, Done, Self    string
	Wrong, Reason            string
	Base, Query, Note, Count string
	Incomplete               string
	Previous, Next           template.URL
	Where                    string // the number of the page, of how many
	Lines                    []consoleLine
	Facts                    []ConsoleFact
	Unlisted                 string // a userid whose sessions can be ended although none is listed
	Grants                   bool   // grants can be revoked too
}

type consoleTab struct {
	Href, Label string
	Here        bool
}

// consoleLine is one entry of a list.
type consoleLine struct {
	Title, Sub string
	Rows       []whoRow
	Buttons    []consoleButton
}

type consoleButton struct{ Name, Value, Label, About string }

// Console shows a view of the console.
func (p *Pages) Console(w http.ResponseWriter, r *http.Request, data ConsoleData) {
	v := consoleView{view: p.view(w, r), Labels: zhConsole, View: data.View, Who: clean(data.Who, 200),
		Grants: data.Requestable}
	if v.Lang == "en" {
		v.Labels = enConsole
	}
	l := v.Labels
	v.Style, v.Heading, v.Posts = p.consoleStyle, l.Heading, true
	base := "/"
	if ownPath(data.Base) {
		base = data.Base
	}
	v.Base = base
	for _, tab := range []string{ConsoleSessions, ConsoleRequests, ConsoleRefusals, ConsoleStatus} {
		if tab == ConsoleRequests && !data.Requestable {
			continue
		}
		v.Tabs = append(v.Tabs, consoleTab{consolePath(base, tab), l.tabs[tab], tab == data.View})
	}
	v.Query, v.Done, v.Wrong, v.Reason = clean(data.Query, 100), l.done[data.Done], l.wrongs[data.Wrong], clean(data.Reason, 200)
	v.Note = l.notes[data.View]
	query := url.Values{}
	if v.Query != "" {
		query.Set("q", v.Query)
	}
	v.Self = consolePage(base, data.View, query, data.Page)
	if data.Page > 1 {
		v.Previous = template.URL(consolePage(base, data.View, query, data.Page-1))
	}
	if data.Page < data.Pages {
		v.Next = template.URL(consolePage(base, data.View, query, data.Page+1))
	}
	if data.Pages > 1 {
		v.Where = fmt.Sprintf(l.where, data.Page, data.Pages)
	}
	v.Count = fmt.Sprintf(l.counts[data.View], data.Total)
	if data.Total == 1 {
		v.Count = fmt.Sprintf(l.one[data.View], data.Total)
	}
	switch data.View {
	case ConsoleSessions:
		v.Note = scopeNote(l.scopes, data.Scope, data.Since.Local())
		if data.Incomplete {
			v.Incomplete = l.incomplete
		}
		if len(data.Sessions) == 0 {
			v.Unlisted = v.Query
		}
		v.sessions(data.Sessions)
	case ConsoleRequests:
		v.requests(data.Requests)
	case ConsoleRefusals:
		v.Note = l.refusedBy[ScopeProcess]
		if note := l.refusedBy[data.Scope]; note != "" {
			v.Note = note
		}
		if data.Incomplete {
			v.Incomplete = l.refusalsMissing
		}
		v.refusals(data.Refusals)
	case ConsoleStatus:
		v.Count = ""
		for _, f := range data.Facts {
			v.Facts = append(v.Facts, ConsoleFact{clean(f.Name, 100), clean(f.Value, 300), f.Bad})
		}
	}
	csp := p.consoleCSP
	if data.View == ConsoleStatus { // it has no form
		v.Posts, csp = false, strings.Replace(csp, "form-action 'self'", "form-action 'none'", 1)
	}
	status := http.StatusOK
	if v.Wrong != "" {
		status = http.StatusUnprocessableEntity
	}
	p.render(w, r, "console", csp, status, v)
}

func consolePath(base, view string) string {
	if view == ConsoleSessions {
		return base
	}
	return base + "/" + view
}

// consolePage is the URL of a page of a view.
func consolePage(base, view string, query url.Values, n int) string {
	if query.Del("page"); n > 1 {
		query.Set("page", strconv.Itoa(n))
	}
	if len(query) == 0 {
		return consolePath(base, view)
	}
	return consolePath(base, view) + "?" + query.Encode()
}

// consoleRows returns rows of alternating labels and values; empty values are omitted.
func consoleRows(pairs ...string) (rows []whoRow) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := clean(pairs[i+1], 300); value != "" {
			rows = append(rows, whoRow{pairs[i], value})
		}
	}
	return rows
}

// personTitle is a name, and the text after it in small letters.
func personTitle(name, user string) (title, sub string) {
	name, user = clean(name, 100), clean(user, 100)
	if name == "" || name == user {
		return user, ""
	}
	return name, user
}

func (v *consoleView) sessions(list []ConsoleSession) {
	l := v.Labels
	for _, s := range list {
		title, sub := personTitle(s.Name, s.User)
		how, where := "", ""
		switch {
		case s.Silent:
			how = l.rows["silent"]
		case s.Local:
			how = l.rows["local"]
		}
		if s.Own {
			where = l.rows["own"]
		}
		line := consoleLine{Title: title, Sub: sub, Rows: consoleRows("", where, l.rows["device"], deviceName(v.Lang, s.Device),
			l.rows["address"], s.Address, l.rows["signedIn"], shownTime(s.SignedIn), l.rows["lastSeen"], shownTime(s.LastSeen),
			l.rows["lastAddress"], s.LastAddress,
			l.rows["ends"], shownTime(s.Ends), l.rows["how"], how)}
		if id := clean(s.ID, 64); id != "" {
			line.Buttons = []consoleButton{{"session", id, l.rows["endSession"], title}, {"person", id, l.rows["endPerson"], title}}
		}
		v.Lines = append(v.Lines, line)
	}
}

func (v *consoleView) requests(list []ConsoleRequest) {
	l := v.Labels
	for _, q := range list {
		title, sub := personTitle(q.Name, q.User)
		state, until, label, approvers, notice := l.rows["waiting"], "", l.rows["endRequest"], q.Approvers, ""
		if !q.Until.IsZero() {
			state, until, label, approvers = l.rows["granted"], shownTime(q.Until.Local()), l.rows["endGrant"], ""
		} else if q.Unnotified {
			notice = l.rows["unnotified"]
		}
		line := consoleLine{Title: title, Sub: sub, Rows: consoleRows(
			l.rows["route"], q.Route, l.rows["state"], state, l.rows["reason"], q.Reason,
			l.rows["duration"], v.duration(q.For), l.rows["requested"], shownTime(q.Requested.Local()),
			l.rows["approvers"], approvers, l.rows["notice"], notice, l.rows["by"], q.By, l.rows["until"], until)}
		if id := clean(q.ID, 100); id != "" {
			line.Buttons = []consoleButton{{"request", id, label, title}}
		}
		v.Lines = append(v.Lines, line)
	}
}

// duration is a duration as the page of a request shows it.
func (v *consoleView) duration(text string) string {
	words := zhAccess
	if v.Lang == "en" {
		words = enAccess
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return text
	}
	return words.duration(d)
}

func (v *consoleView) refusals(list []ConsoleRefusal) {
	l := v.Labels
	for _, q := range list {
		title, sub := personTitle(q.Name, q.User)
		if title == "" {
			title = l.rows["unknown"]
		}
		reason := zhMessages[q.Code].Title
		if v.Lang == "en" {
			reason = enMessages[q.Code].Title
		}
		if code := clean(q.Code, 64); reason == "" {
			reason = code
		} else {
			reason += " (" + code + ")"
		}
		v.Lines = append(v.Lines, consoleLine{Title: title, Sub: sub, Rows: consoleRows(l.rows["at"], shownTime(q.At.Local()),
			l.rows["why"], reason, l.rows["route"], q.Route, l.rows["rule"], q.Rule, l.rows["from"], q.Address,
			l.rows["device"], deviceName(v.Lang, q.Device), l.rows["explain"], q.Explain)})
	}
}
