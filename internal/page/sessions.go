package page

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"dinggate/internal/web"
)

// SessionsData is what people see of their own sessions. Times are shown in their
// zone.
type SessionsData struct {
	Since    time.Time     // sessions seen before are not in the list
	Sessions []SessionData // in the order shown
	More     int           // sessions that are not in the list for their number
	Action   string        // where the form posts to: one of our paths
	Back     string        // a button that leads there; "" shows none
}

// SessionData is one session.
type SessionData struct {
	SignedIn, LastSeen, Ends time.Time

	Own    bool   // the page was asked for in it
	Silent bool   // begun inside the DingTalk client without a click
	End    string // what the form sends to end it, in URL base64; "" offers no such button
}

type sessionsView struct {
	view
	Labels   ownLabels
	Sessions []sessionRows
	More     string
	Note     string
	Action   string
	Back     string
}

type sessionRows struct {
	Rows []whoRow
	End  string
}

// Sessions shows people their sessions, with a form that sends `session` to end one
// and `all` to end every one.
func (p *Pages) Sessions(w http.ResponseWriter, r *http.Request, data SessionsData) {
	v := sessionsView{view: p.view(w, r), Labels: sessionLabels(r), Back: link(data.Back)}
	l := v.Labels
	v.Heading, v.Posts = l.Heading, true
	v.Note = fmt.Sprintf(l.note, shownTime(data.Since))
	if data.More > 0 {
		v.More = fmt.Sprintf(l.more, data.More)
	}
	if ownPath(data.Action) {
		v.Action = data.Action
	}
	for _, s := range data.Sessions {
		where := l.other
		if s.Own {
			where = l.own
		}
		one := sessionRows{Rows: []whoRow{{l.session, where}, {l.signedIn, shownTime(s.SignedIn)},
			{l.lastSeen, shownTime(s.LastSeen)}, {l.ends, shownTime(s.Ends)}}}
		if s.Silent {
			one.Rows = append(one.Rows, whoRow{l.how, l.silent})
		}
		if strings.Trim(s.End, base64Letters) == "" {
			one.End = s.End
		}
		v.Sessions = append(v.Sessions, one)
	}
	p.render(w, r, "sessions", p.formCSP, http.StatusOK, v)
}

func shownTime(t time.Time) string { return t.Format("2006-01-02 15:04 MST") }

// ownLabels are the words of the page about one's own sessions.
type ownLabels struct {
	Heading, Lead, End, EndAll, Back string

	session, own, other, signedIn, lastSeen, ends, how, silent string

	more, note string // with a %d, with a %s
}

func sessionLabels(r *http.Request) ownLabels {
	if web.Language(r) == "en" {
		return enOwn
	}
	return zhOwn
}

var zhOwn = ownLabels{
	Heading: "我的会话", Lead: "你的账号在这些地方登录。有不认识的，请结束它。",
	End: "结束这个会话", EndAll: "全部退出登录", Back: "返回我的账号",
	session: "会话", own: "当前浏览器", other: "其他浏览器或设备", signedIn: "登录时间", lastSeen: "最近访问", ends: "到期时间",
	how: "登录方式", silent: "钉钉内免登",
	more: "另有 %d 个会话没有列出。",
	note: "只列出本服务进程自 %s 以来见过的会话。“全部退出登录”也会结束没有列出的会话，包括当前浏览器的。",
}

var enOwn = ownLabels{
	Heading: "My sessions", Lead: "Your account is signed in here. End a session that you do not know.",
	End: "End this session", EndAll: "Sign out everywhere", Back: "Back to my account",
	session: "Session", own: "This browser", other: "Another browser or device", signedIn: "Signed in", lastSeen: "Last seen",
	ends: "Ends", how: "Sign-in", silent: "Automatic, inside DingTalk",
	more: "%d more sessions are not listed.",
	note: "Only sessions that this server process has seen since %s are listed. “Sign out everywhere” also ends those that are not, and this browser's.",
}
