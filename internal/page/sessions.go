package page

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"dinggate/internal/web"
)

// SessionsData are a person's own sessions. Times are shown in their zone.
type SessionsData struct {
	// Scope is ScopeProcess, ScopeMachine or ScopeFleet: what the list includes.
	Scope      string
	Since      time.Time // of ScopeProcess: sessions last seen earlier are missing
	Incomplete bool      // sessions of the scope may be missing

	Sessions []SessionData // in the order shown
	More     int           // number of sessions that the list omits

	Applications           []ApplicationData // what the user's applications were given, in the order shown
	ApplicationsIncomplete bool              // some may be missing

	Action string // the URL that the form posts to: one of our paths
	Back   string // the destination of a button; "" shows none
}

// SessionData is one session.
type SessionData struct {
	SignedIn, LastSeen, Ends time.Time

	Own     bool   // the session of this request
	Device  string // browser and system; "" if unknown
	Address string // client address of the sign-in; "" if unknown

	LastAddress string // where the last request came from; "" when not known

	Applications []string // which applications were signed in to in it

	Silent bool   // begun inside the DingTalk client without a click
	End    string // the value in the form that ends it, in URL base64; "" shows no such button
}

// ApplicationData is what one application, or API client, was given.
type ApplicationData struct {
	Name         string
	Kind         string    // oidc, device or sso
	Device       string    // of the session that it belongs to; "" when not known
	Own          bool      // it belongs to this browser's session
	Since, Until time.Time // Since is zero when not known
	End          string    // what the form sends to end it, in URL base64; "" offers no such button
}

type sessionsView struct {
	view
	Labels     ownLabels
	Sessions   []sessionRows
	Apps       []sessionRows
	AppsMore   string
	More       string
	Note       string
	Incomplete string
	Action     string
	Back       string
}

type sessionRows struct {
	Rows []whoRow
	End  string
}

// Sessions shows people their sessions, with a form that sends `session` to end one and `all` to
// end all.
func (p *Pages) Sessions(w http.ResponseWriter, r *http.Request, data SessionsData) {
	v := sessionsView{view: p.view(w, r), Labels: sessionLabels(r), Back: link(data.Back)}
	l := v.Labels
	v.Heading, v.Posts = l.Heading, true
	v.Note = scopeNote(l.notes, data.Scope, data.Since)
	if data.Incomplete {
		v.Incomplete = l.Incomplete
	}
	if data.More > 0 {
		v.More = fmt.Sprintf(l.more, data.More)
	}
	if data.More == 1 {
		v.More = l.oneMore
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
		for _, known := range []whoRow{{l.device, deviceName(v.Lang, s.Device)}, {l.address, clean(s.Address, 64)},
			{l.lastAddress, clean(s.LastAddress, 64)}} {
			if known.Value != "" {
				one.Rows = append(one.Rows, known)
			}
		}
		if names := applicationNames(s.Applications); names != "" {
			one.Rows = append(one.Rows, whoRow{l.apps, names})
		}
		if s.Silent {
			one.Rows = append(one.Rows, whoRow{l.how, l.silent})
		}
		if sealed(s.End) {
			one.End = s.End
		}
		v.Sessions = append(v.Sessions, one)
	}
	for _, a := range data.Applications {
		v.Apps = append(v.Apps, l.application(v.Lang, &a))
	}
	if data.ApplicationsIncomplete {
		v.AppsMore = l.appsMissing
	}
	p.render(w, r, "sessions", p.formCSP, http.StatusOK, v)
}

// sealed reports whether a text can be one that a form sends to end something: URL
// base64, with the padding that some lengths have.
func sealed(s string) bool { return strings.Trim(strings.TrimRight(s, "="), base64Letters) == "" }

const maxAppNames = 10 // in the row of a session

func applicationNames(list []string) string {
	more := ""
	if len(list) > maxAppNames {
		list, more = list[:maxAppNames], " …"
	}
	names := make([]string, 0, len(list))
	for _, name := range list {
		names = append(names, clean(name, 64))
	}
	return strings.Join(names, ", ") + more
}

// application is what one application was given, as rows.
func (l *ownLabels) application(lang string, a *ApplicationData) (one sessionRows) {
	where := deviceName(lang, a.Device)
	if a.Own {
		where = l.own
	}
	since := ""
	if !a.Since.IsZero() {
		since = shownTime(a.Since)
	}
	for _, row := range []whoRow{{l.app, clean(a.Name, 100)}, {l.how, l.kinds[a.Kind]}, {l.session, where}, {l.since, since},
		{l.until, shownTime(a.Until)}} {
		if row.Value != "" {
			one.Rows = append(one.Rows, row)
		}
	}
	if sealed(a.End) {
		one.End = a.End
	}
	return one
}

// Scopes of a list of sessions.
const (
	ScopeProcess = "process" // seen by this process since a time
	ScopeMachine = "machine"
	ScopeFleet   = "fleet"
)

// scopeNote describes the scope of a list; for a scope without a text it is that of ScopeProcess.
func scopeNote(notes map[string]string, scope string, since time.Time) string {
	if text, ok := notes[scope]; ok && scope != ScopeProcess {
		return text
	}
	return fmt.Sprintf(notes[ScopeProcess], shownTime(since))
}

// deviceName is a device in the reader's language.
func deviceName(lang, device string) string {
	device = clean(device, 64)
	if lang != "en" {
		device = strings.Replace(device, "DingTalk", "钉钉", 1)
	}
	return device
}

func shownTime(t time.Time) string { return t.Format("2006-01-02 15:04 MST") }

// ownLabels are the texts of the page of one's own sessions.
type ownLabels struct {
	Heading, Lead, End, EndAll, Back string

	appLabels

	session, own, other, signedIn, lastSeen, ends, how, silent, device, address, lastAddress string

	more       string // with a %d
	oneMore    string
	notes      map[string]string // by scope; that of ScopeProcess with a %s
	Incomplete string
}

func sessionLabels(r *http.Request) ownLabels {
	if web.Language(r) == "en" {
		return enOwn
	}
	return zhOwn
}

// appLabels are the words about applications.
type appLabels struct {
	Apps, AppsLead, EndApp string

	app, apps, since, until, appsMissing string

	kinds map[string]string
}

var zhApps = appLabels{
	Apps:     "应用与 API 客户端",
	AppsLead: "这些应用用你的账号登录，或持有你的令牌。结束后其令牌立即失效；支持后端通道退出的应用会随即退出登录，其他应用自己的会话可能持续到其到期。",
	EndApp:   "结束授权",
	app:      "应用", apps: "已登录的应用", since: "最近登录", until: "有效至",
	appsMissing: "应用的列表暂时不完整，可能有应用没有列出。“全部退出登录”也会结束它们。",
	kinds:       map[string]string{"oidc": "OpenID Connect", "device": "设备授权（命令行等没有浏览器的程序）", "sso": "SSO 令牌（API 客户端）"},
}

var enApps = appLabels{
	Apps: "Applications and API clients",
	AppsLead: "These applications signed you in, or hold tokens of yours. Ending one ends its tokens at once; an application with back-channel " +
		"logout signs you out, another one's own session may last until it expires.",
	EndApp: "End access",
	app:    "Application", apps: "Signed in to", since: "Last sign-in", until: "Valid until",
	appsMissing: "The list of applications is not complete now: some may be missing. “Sign out everywhere” also ends those.",
	kinds: map[string]string{"oidc": "OpenID Connect", "device": "Device flow (a program without a browser)",
		"sso": "SSO tokens (API client)"},
}

var zhOwn = ownLabels{
	Heading: "我的会话", Lead: "你的账号在这些地方登录。有不认识的，请结束它。",
	End: "结束这个会话", EndAll: "全部退出登录", Back: "返回我的账号",
	session: "会话", own: "当前浏览器", other: "其他浏览器或设备", signedIn: "登录时间", lastSeen: "最近访问", ends: "到期时间",
	how: "登录方式", silent: "钉钉内免登", device: "设备", address: "登录地址", lastAddress: "最近访问地址",
	appLabels: zhApps,
	more:      "另有 %d 个会话没有列出。",
	oneMore:   "另有 1 个会话没有列出。",
	notes: map[string]string{
		ScopeProcess: "只列出本服务进程自 %s 以来见过的会话。“全部退出登录”也会结束没有列出的会话，包括当前浏览器的。",
		ScopeMachine: "列出这台服务器上的会话。“全部退出登录”也会结束没有列出的会话，包括当前浏览器的。",
		ScopeFleet:   "列出所有副本上的会话；最近访问时间可能晚几分钟更新。“全部退出登录”包括当前浏览器的会话。",
	},
	Incomplete: "暂时读不到完整的列表，可能有会话没有列出。“全部退出登录”也会结束它们。",
}

var enOwn = ownLabels{
	Heading: "My sessions", Lead: "Your account is signed in here. End a session that you do not know.",
	End: "End this session", EndAll: "Sign out everywhere", Back: "Back to my account",
	session: "Session", own: "This browser", other: "Another browser or device", signedIn: "Signed in", lastSeen: "Last seen",
	ends: "Ends", how: "Sign-in", silent: "Automatic, inside DingTalk", device: "Device", address: "Signed in from",
	lastAddress: "Last seen from",
	appLabels:   enApps,
	more:        "%d more sessions are not listed.",
	oneMore:     "1 more session is not listed.",
	notes: map[string]string{
		ScopeProcess: "Only sessions that this server process has seen since %s are listed. “Sign out everywhere” also " +
			"ends those that are not, and this browser's.",
		ScopeMachine: "The sessions on this server are listed. “Sign out everywhere” also ends those that are not, and " +
			"this browser's.",
		ScopeFleet: "The sessions on all replicas are listed; “last seen” may be a few minutes late. “Sign out " +
			"everywhere” ends this browser's too.",
	},
	Incomplete: "The list cannot be read completely now: sessions may be missing. “Sign out everywhere” also ends those.",
}
