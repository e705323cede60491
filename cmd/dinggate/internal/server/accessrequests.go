package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy"
	"dinggate/proxy/accessrequest"
	"dinggate/proxy/login"
	"dinggate/session"
)

// accessRecords bounds what is kept of requests, grants and counts.
const accessRecords = 200_000

// askedRoutes are all routes as a request names them, by their index in the policy.
func askedRoutes(c *config.Config) []accessrequest.AskedRoute {
	var list []accessrequest.AskedRoute
	for _, r := range c.AllRoutes() {
		route := accessrequest.AskedRoute{Route: accessrequest.Route{Name: r.Path, Host: r.Host}, Request: r.Request}
		if !c.AccessRequests.On() {
			route.Request = nil
		}
		if route.Request != nil {
			route.Fingerprint = fingerprint(c, r)
		}
		list = append(list, route)
	}
	return list
}

// fingerprint is of everything that decides who may use a route and who lets in:
// whatever of it changes ends the grants (threats G4).
func fingerprint(c *config.Config, r config.Route) string {
	text, err := json.Marshal([]any{"1", r.Host, r.Path, r.Methods, r.Access, r.Request, c.PathCase, c.Realm()})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// grantOf looks a route's grants up; nil where nobody can ask.
func grantOf(book *accessrequest.Book, r accessrequest.AskedRoute) func(context.Context, *identity.User) (string, time.Time, error) {
	if r.Request == nil || r.Fingerprint == "" {
		return nil
	}
	return func(ctx context.Context, u *identity.User) (string, time.Time, error) {
		return book.Granted(ctx, u, r.Fingerprint)
	}
}

// newAccessRequests wires requests for access; nil when they are off.
func newAccessRequests(c settings, st *State, flow *login.Flow, handler *proxy.Handler,
	client *dingtalk.Client) *accessrequest.Handler {
	if !c.AccessRequests.On() {
		return nil
	}
	directory := &dingtalk.Directory{Client: client}
	notices := notifier{client, st.book, int64(c.AccessRequests.AgentID), c.origins.Public() + c.Prefix + "/requests/"}
	h := &accessrequest.Handler{
		Config: c.AccessRequests,
		Prefix: c.Prefix,
		Book:   st.book,
		Pages:  c.pages,
		Routes: askedRoutes(c.Config),
		Ours:   c.origins.Ours,
		Target: func(_ *web.Exchange, raw string) (string, bool) { return c.origins.Return(raw) },
		Current: func(r *http.Request) (*identity.User, error) {
			s, err := flow.CurrentSession(r)
			if err != nil {
				return nil, err
			}
			return &s.User, nil
		},
		Absent:  session.Absent,
		SignIn:  flow.RequireSignIn,
		Refused: handler.Refused,
		Approvers: func(ctx context.Context, u *identity.User, r *accessrequest.RouteConfig) ([]accessrequest.Person, string, error) {
			found, path, err := directory.Superiors(ctx, u.UserID, dingtalk.Superiors(r.Approvers))
			var list []accessrequest.Person
			for i := range found {
				list = append(list, accessrequest.PersonOf(&found[i]))
			}
			return list, path, err
		},
		Notify: notices.send,
		Report: func(err error) {
			st.Log.Warn("access request: somebody may not have been notified", "err", err.Error())
		},
	}
	handler.AskURL = h.URL
	return h
}

// notifier sends work notifications about requests.
type notifier struct {
	client *dingtalk.Client
	book   *accessrequest.Book
	agent  int64
	below  string // the address of a request, less its id
}

var errNotTold = errors.New("accessrequests: an approver has got as many notifications as DingTalk delivers in a day")

// send notifies the approvers of a request that waits, otherwise the requester.
func (n notifier) send(ctx context.Context, q accessrequest.Request) error {
	to, failed := []string(nil), error(nil)
	people := q.Approvers
	if q.State != accessrequest.Waiting {
		people = []accessrequest.Person{q.Person}
	}
	for _, p := range people {
		if p.UserID == "" || p.Local {
			continue
		}
		within, err := n.book.CountNotice(ctx, p.UserID)
		switch {
		case err != nil:
			failed = err
		case !within:
			failed = errNotTold
		default:
			to = append(to, p.UserID)
		}
	}
	if len(to) == 0 {
		return failed
	}
	if _, err := n.client.Notify(ctx, n.agent, to, n.text(q)); err != nil {
		return err
	}
	return failed
}

// text is what a notification says. It carries the request's id and time: DingTalk
// delivers the same text to a person once a day.
func (n notifier) text(q accessrequest.Request) dingtalk.Notification {
	plain := func(s string, most int) string {
		runes := []rune(dingtalk.PlainMarkdown(s))
		if len(runes) > most {
			runes = append(runes[:most-1], '…')
		}
		return string(runes)
	}
	line := func(label, text string) string {
		if text == "" {
			return ""
		}
		return label + "：" + text + "\n\n"
	}
	who, page := plain(q.Person.Full(), 60), plain(q.Route.Host+q.Route.Name, 80)
	at := q.Asked.In(time.FixedZone("CST", 8*3600)).Format("01-02 15:04:05") + " · " + q.ID[len(q.ID)-8:]
	note := dingtalk.Notification{Button: "查看 View", URL: n.below + q.ID}
	switch q.State {
	case accessrequest.Waiting:
		note.Title = "申请访问 Access request"
		note.Markdown = "#### " + who + " 申请访问\n\n" + line("页面", page) + line("部门", plain(q.Departments, 80)) +
			line("理由", plain(q.Why, 200)) + line("时长", lifeText(q.For)) + at
		return note
	case accessrequest.Granted:
		note.Title, note.Button = "访问申请已同意 Access approved", "继续访问 Continue"
		at = q.Answered.In(time.FixedZone("CST", 8*3600)).Format("01-02 15:04:05") + " · " + q.ID[len(q.ID)-8:]
	default:
		note.Title = "访问申请未获同意 Access denied"
	}
	note.Markdown = "#### " + note.Title + "\n\n" + line("页面", page) + line("时长", lifeText(q.For)) +
		line("答复人", plain(q.By.Full(), 60)) + line("留言", plain(q.Word, 200)) + at
	return note
}

func lifeText(d time.Duration) string {
	if d%time.Hour == 0 {
		return strconv.Itoa(int(d/time.Hour)) + " 小时"
	}
	return strconv.Itoa(int(d/time.Minute)) + " 分钟"
}

// Grants is the requests and grants, for the control socket.
func (s *State) Grants() *admin.GrantStore { return &admin.GrantStore{Book: s.book} }

func accessEndpoints(prefix string, h *accessrequest.Handler) family {
	if h == nil {
		return family{}
	}
	return family{root: prefix, paths: map[string]web.HandlerFunc{
		prefix + "/requests":  h.Ask,
		prefix + "/requests/": h.One,
	}}
}

// auditAccess writes each step of a request.
func (t Observability) auditAccess(e accessrequest.Event) {
	q := e.Request
	until := ""
	if q.State == accessrequest.Granted {
		until = q.Until.Format(time.RFC3339)
	}
	_ = t.Note(slog.LevelInfo, "access request", e.What,
		pairs([2]string{"request", q.ID}, [2]string{"user", q.Person.Username}, [2]string{"userid", q.Person.UserID},
			[2]string{"name", q.Person.Name}, [2]string{"route", q.Route.Host + q.Route.Name}, [2]string{"by", e.By},
			[2]string{"for", q.For.String()}, [2]string{"until", until}, [2]string{"why", q.Why}, [2]string{"word", q.Word},
			[2]string{"reason", q.End})...)
}

// leaversGrants ends what somebody who is no member any more was granted.
func (s *State) leaversGrants(ctx context.Context, userID string) error {
	if g := s.Serving(); g == nil || g.requests == nil || userID == "" {
		return nil
	}
	if err := s.book.EndPerson(ctx, accessrequest.Person{UserID: userID}, accessrequest.EndLeft); err != nil {
		return fmt.Errorf("ending a leaver's grants: %w", err)
	}
	return nil
}

// leaverReasons are the reasons for which a session ends since its person is no member, or
// not in good standing.
var leaverReasons = []string{"left", "not_member", "disabled", "inactive", "external_contact", "out_of_scope"}

// revoked notes that a session ended before its time, and ends the grants of a person
// who is no member any more. The sessions that a leaver has on other replicas end
// there, and find nothing left to do.
func (s *State) revoked(one *session.Session, reason string) {
	s.auditEnded(one, reason)
	if !slices.Contains(leaverReasons, reason) {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.leaversGrants(ctx, one.User.UserID); err != nil {
			s.Log.Warn("a leaver's grants", "err", err.Error())
		}
	}()
}
