package admin

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/internal/i18n"
	"dinggate/internal/telemetry"
	"dinggate/internal/web"
	"dinggate/session"
)

// Status serves the read-only page on the admin listener for an operator on call. It
// names no person and contains no secret.
type Status struct {
	Version, Revision   string
	Started             time.Time
	Today               *telemetry.DailyCounts
	Health              *telemetry.Health
	UntrustedForwarders *telemetry.UntrustedForwarders
	Dropped             func() uint64 // log records
	Gateway             func() GatewayState
	Store               func() (kind string, up float64) // memory, file or redis; the share of it that accepts writes
	Audit               func() *AuditState               // nil, or a nil state: the log takes the audit records
	Reload              func() *ReloadResult
	Host                string           // name of this replica; "" = the machine's name
	now                 func() time.Time // nil = time.Now
}

// GatewayState is the state of the gateway that serves.
type GatewayState struct {
	Sessions   session.Stats
	Replicated bool // the end of a session reaches other replicas
	InFlight   int
	Events     *dingtalk.State // nil: events are not followed

	SharedUnionIDs int // unionids that an SSO service returned for several people
	Missed         int // leavers whose event did not arrive although the stream was connected

	AppChange  string // the last event about the app itself: inner_app_status_change disable
	AppChanged time.Time
}

// AuditState is the state of the sink of the audit records.
type AuditState struct {
	Failing bool // the last record was lost
	Denies  bool // audit.on_error is deny: a sign-in without a record is refused
}

// ReloadResult is the result of the last reading of the configuration.
type ReloadResult struct {
	Taken    time.Time       // when the configuration that serves was loaded; the start counts
	Refused  time.Time       // when a later one, or a part of it, was refused; zero: none
	Problems config.Problems // why
	Partly   bool            // the parts with problems stay as they were, the rest was loaded
	Restart  []string        // changed keys that need a restart
	First    bool            // not read since the start
}

// StatusReport is the page as JSON; its names do not change.
type StatusReport struct {
	Version  string    `json:"version"`
	Revision string    `json:"revision,omitempty"`
	Host     string    `json:"host"` // the replica that answers
	Started  time.Time `json:"started"`
	Now      time.Time `json:"now"`

	Today    statusToday    `json:"today"`
	Sessions statusSessions `json:"sessions"`

	SharedUnionIDs int `json:"shared_unionids,omitempty"` // of an SSO service, since the start

	DingTalk []statusCall  `json:"dingtalk"`
	Stream   *statusStream `json:"stream,omitempty"` // absent: events are not followed

	Store statusStore `json:"store"`

	Audit *statusAudit `json:"audit,omitempty"` // absent: the log takes the records

	Reload StatusReload `json:"reload"`

	// Peers outside trusted_proxies that sent X-Forwarded-* or X-Original-*.
	Untrusted []statusPeer `json:"untrusted_forwarders,omitempty"`

	LogDropped uint64 `json:"log_records_dropped"`
}

// statusToday counts the events of the day.
type statusToday struct {
	Since   time.Time      `json:"since"`
	SignIns int            `json:"sign_ins"`
	Refused map[string]int `json:"refused"`        // by code
	Ended   map[string]int `json:"sessions_ended"` // before their expiry, by reason
}

// statusSessions counts what this process has in memory.
type statusSessions struct {
	Verified int `json:"verified"` // in memory
	People   int `json:"people"`
	OnGrace  int `json:"people_on_grace"`
	Overdue  int `json:"people_overdue"`              // active lately, last confirmed longer than session.recheck ago
	Oldest   int `json:"oldest_confirmation_seconds"` // of a person active lately
	Revoked  int `json:"revoked"`
	Sockets  int `json:"open_sockets"`
	InFlight int `json:"requests_in_flight"`
}

type statusStore struct {
	Kind    string `json:"kind"` // memory, file, redis
	Up      bool   `json:"up"`
	Journal *bool  `json:"replicas_heard,omitempty"` // absent: no replicas

	// the share of a Redis Cluster's slots that is up; absent: all, or none
	Slots float64 `json:"slots_up,omitempty"`

	Unsent int `json:"unsent,omitempty"`
}

type statusAudit struct {
	Up     bool `json:"up"`             // the last record was written
	Denies bool `json:"denies_sign_in"` // while it is not up: audit.on_error
}

type statusCall struct {
	Call      string     `json:"call"`
	Failing   bool       `json:"ailing"` // the last call of this kind failed
	LastOK    *time.Time `json:"well,omitempty"`
	LastError *time.Time `json:"ill,omitempty"`
	Result    string     `json:"result,omitempty"`
	Code      string     `json:"code,omitempty"`
}

type statusStream struct {
	Connected *time.Time `json:"connected,omitempty"` // since when; absent: not connected
	LastEvent *time.Time `json:"last_event,omitempty"`

	// Leavers whose event did not arrive although the stream was connected: another
	// deployment with the same app receives part of the events. Since the start.
	Missed int `json:"events_missed,omitempty"`

	// The last event about the app itself: it was disabled, or its visibility changed.
	AppChange  string     `json:"app_change,omitempty"`
	AppChanged *time.Time `json:"app_changed,omitempty"`
}

type StatusReload struct {
	At         *time.Time `json:"at,omitempty"` // absent: none since the start
	Successful bool       `json:"successful"`
	// not successful, but loaded except for the parts with problems
	Partly   bool      `json:"partly,omitempty"`
	Serving  time.Time `json:"serving_since"`           // when the configuration that serves was loaded
	Problems []string  `json:"problems,omitempty"`      // why the last one was refused
	Restart  []string  `json:"needs_restart,omitempty"` // changed keys that need a restart
}

type statusPeer struct {
	Peer  string    `json:"peer"`
	Times int       `json:"times"`
	Last  time.Time `json:"last"`
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.Truncate(time.Second)
	return &t
}

// report localizes texts; names and codes are the same in all languages.
func (s *Status) report(in i18n.Language) StatusReport {
	r := StatusReport{
		Version:  s.Version,
		Revision: s.Revision,
		Started:  s.Started.Truncate(time.Second),
		Now:      time.Now().Truncate(time.Second),
	}
	if r.Host = s.Host; r.Host == "" {
		r.Host, _ = os.Hostname()
	}
	if s.now != nil {
		r.Now = s.now()
	}
	today := s.Today.Counts()
	r.Today.Since, r.Today.Refused, r.Today.Ended = today.Since, map[string]int{}, today.Ended
	for result, n := range today.SignIns {
		if result == "ok" {
			r.Today.SignIns = n
		} else {
			r.Today.Refused[result] = n
		}
	}
	g := s.Gateway()
	held := g.Sessions
	r.Sessions.Verified, r.Sessions.People, r.Sessions.OnGrace, r.Sessions.Revoked, r.Sessions.Sockets = held.Cached,
		held.People, held.Failing, held.Revoked, held.Watched
	r.Sessions.InFlight = g.InFlight
	r.Sessions.Overdue, r.Sessions.Oldest = held.Overdue, int(held.Oldest.Seconds())
	r.SharedUnionIDs = g.SharedUnionIDs
	for _, c := range s.Health.Calls() {
		r.DingTalk = append(r.DingTalk,
			statusCall{c.Call, c.LastError.After(c.LastOK), moment(c.LastOK), moment(c.LastError), c.Result, c.Code})
	}
	if g.Events != nil {
		r.Stream = &statusStream{moment(g.Events.Connected), moment(g.Events.LastEvent), g.Missed, g.AppChange,
			moment(g.AppChanged)}
	}
	kind, up := s.Store()
	r.Store.Kind, r.Store.Up = kind, up == 1
	if up < 1 {
		r.Store.Slots = up
	}
	if g.Replicated {
		r.Store.Journal, r.Store.Unsent = &held.Live, held.Unsent
	}
	if s.Audit != nil {
		if a := s.Audit(); a != nil {
			r.Audit = &statusAudit{Up: !a.Failing, Denies: a.Denies}
		}
	}
	r.Reload = s.Reload().report(in)
	for _, one := range s.UntrustedForwarders.List() {
		r.Untrusted = append(r.Untrusted, statusPeer{one.Peer.String(), one.Times, one.Last.Truncate(time.Second)})
	}
	r.LogDropped = s.Dropped()
	return r
}

func (last *ReloadResult) report(in i18n.Language) StatusReload {
	r := StatusReload{Successful: true, Serving: last.Taken.Truncate(time.Second), Restart: last.Restart}
	switch {
	case !last.Refused.IsZero():
		r.Successful, r.Partly, r.At, r.Problems = false, last.Partly, moment(last.Refused), last.Problems.Lines(in)
	case !last.First:
		r.At = moment(last.Taken)
	}
	return r
}

//go:embed status.html
var statusHTML string

//go:embed status.css
var statusCSS string

// StatusTexts are the texts of the page.
var StatusTexts = map[string]i18n.Message{
	"title": {"dinggate status", "dinggate 状态"}, "started": {"started", "启动于"}, "version": {"version", "版本"},
	"today": {"Today", "今日"}, "signins": {"sign-ins", "登录成功"}, "refused": {"refused", "登录被拒"},
	"ended": {"sessions ended early", "提前结束的会话"}, "none": {"none", "无"},
	"sessions": {"Sessions", "会话"}, "verified": {"verified, in memory", "内存中已验证"}, "people": {"people", "人员"},
	"grace": {"people in the grace period", "宽限期中的人员"}, "overdue": {"people last confirmed longer than session.recheck ago", "超过 session.recheck 未复查的人员"},
	"oldest": {"oldest confirmation", "最早一次成员确认距今"}, "revoked": {"recorded sign-outs and revocations", "已记录的退出登录与撤销"},
	"sockets": {"open WebSockets and streams", "打开的 WebSocket 与长连接"}, "inflight": {"requests in flight", "处理中的请求"},
	"dingtalk": {"DingTalk", "钉钉"}, "call": {"call", "接口"}, "well": {"last answer", "最近应答"},
	"ill": {"last failure", "最近故障"}, "nothing": {"not called yet", "尚未调用"},
	"stream": {"Event stream", "事件流"}, "connected": {"connected since", "连接自"},
	"unconnected": {"not connected: leavers stay signed in until the next recheck", "未连接：离职人员到下次复查时才会退出登录"},
	"event":       {"last event", "最近事件"},
	"missed": {"leavers without an event: another deployment with this app receives part of the events",
		"未收到事件的离职人员：同一应用还有其他部署在接收事件"},
	"store": {"Session store", "会话存储"}, "up": {"up", "正常"}, "down": {"unavailable", "不可用"},
	"partly": {"partly unavailable; share of the slots that is up", "一部分不可用；可用槽位占"},
	"heard":  {"revocations of other replicas arrive", "可收到其他副本的撤销消息"},
	"deaf":   {"revocations of other replicas do NOT arrive", "收不到其他副本的撤销消息"},
	"unsent": {"not yet sent to other replicas", "尚未通知其他副本"},
	"reload": {"Configuration", "配置"}, "reloaded": {"reloaded at", "重新加载于"},
	"sinceStart":    {"unchanged since the start", "启动后未变"},
	"refusedReload": {"the changed configuration is REFUSED, the old one stays in use", "新配置被拒绝，仍使用旧配置"},
	"partlyReload":  {"a part of the configuration is REFUSED and is unchanged", "配置中有一部分被拒绝，该部分保持原样"},
	"servingSince":  {"current configuration loaded at", "当前配置加载于"}, "refusedAt": {"refused at", "拒绝于"},
	"restart":   {"need a restart", "需要重启才生效"},
	"untrusted": {"Untrusted forwarders", "不受信任的转发者"},
	"untrustedWhy": {
		"These peers sent X-Forwarded-* or X-Original-* and are not in trusted_proxies. If one is your " +
			"gateway, add it.", "以下对端发送了 X-Forwarded-* 或 X-Original-*，但不在 trusted_proxies 中；若其中有你的网关，请加入。",
	}, "times": {"times", "次"}, "last": {"last", "最近"},
	"log": {"Log records dropped", "丢弃的日志记录"}, "audit": {"Audit file", "审计文件"},
	"auditLost":   {"records are lost", "有记录丢失"},
	"auditDenies": {"records cannot be written, sign-ins are refused", "记录写不进去，登录被拒绝"},
}

// statusPage is parsed at program start, so that a template with an error fails every
// start and test.
var statusPage = template.Must(template.New("status").Parse(statusHTML))

// statusPolicy allows only the page's own style sheet, by its hash.
var statusPolicy = func() string {
	sum := sha256.Sum256([]byte(statusCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
}()

func (s *Status) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if web.WantsJSON(r.Header) || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		web.SecurityHeaders(w, "")
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		encoder.Encode(s.report(i18n.English))
		return
	}
	in := i18n.English
	if web.Language(r) == "zh" {
		in = i18n.Chinese
	}
	web.SecurityHeaders(w, statusPolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	statusPage.Execute(w, statusView{s.report(in), in})
}

// statusView is the data of the template.
type statusView struct {
	StatusReport
	in i18n.Language
}

func (v statusView) T(name string) string { return v.in.Say(StatusTexts[name]) }

func (v statusView) Lang() string { return v.in.Say(i18n.Message{"en", "zh-CN"}) }

func (v statusView) CSS() template.CSS { return template.CSS(statusCSS) }

func (v statusView) Time(t any) string {
	switch t := t.(type) {
	case time.Time:
		return t.Local().Format(time.DateTime)
	case *time.Time:
		if t != nil {
			return t.Local().Format(time.DateTime)
		}
	}
	return "–"
}

// Age formats a number of seconds.
func (v statusView) Age(seconds int) string { return (time.Duration(seconds) * time.Second).String() }

// Percent formats a share.
func (v statusView) Percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

type statusCount struct {
	Name string
	N    int
}

// Sorted lists counts, the largest first.
func (v statusView) Sorted(counts map[string]int) []statusCount {
	var all []statusCount
	for name, n := range counts {
		all = append(all, statusCount{name, n})
	}
	slices.SortFunc(all, func(a, b statusCount) int {
		if a.N != b.N {
			return b.N - a.N
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}
