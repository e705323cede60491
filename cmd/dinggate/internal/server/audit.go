package server

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/sso"
	"dinggate/internal/bounded"
	"dinggate/internal/identity"
	"dinggate/internal/telemetry"
	"dinggate/internal/web"
	"dinggate/proxy/login"
	"dinggate/session"
)

// OpenAudit opens the file of the audit records; nil means the log. Lost records are
// counted and, once a minute, logged.
func OpenAudit(c config.AuditConfig, t Observability) (*telemetry.Audit, error) {
	if c.File == "" {
		return nil, nil
	}
	lost := oncePerMinute(func(err error) { t.Log.Error("audit record lost", "err", err.Error()) })
	return telemetry.OpenAudit(c.File, c.Strict(), func(err error) {
		t.auditing.failing.Store(err != nil)
		if t.Metrics.Audited(err == nil); err != nil {
			lost(err)
		}
	})
}

// auditState records whether the last audit record was lost. The zero value is a sink that
// accepts records, or the log, which always does.
type auditState struct{ failing atomic.Bool }

// auditSink is what the status page shows of the sink; nil: the log takes the records.
func (t Observability) auditSink(c config.AuditConfig) *admin.AuditState {
	if c.File == "" {
		return nil
	}
	return &admin.AuditState{Failing: t.auditing.failing.Load(), Denies: c.Strict()}
}

// auditNote is the line of /ready while audit records are lost, otherwise "".
func (t Observability) auditNote(c config.AuditConfig) string {
	switch {
	case !t.auditing.failing.Load():
		return ""
	case c.Strict():
		return "audit: records cannot be written, sign-ins are refused"
	}
	return "audit: records are lost"
}

// oncePerMinute passes on one error per minute.
func oncePerMinute(report func(error)) func(error) {
	var reported atomic.Int64
	begin := time.Now().Add(-time.Minute) // a monotonic time: the wall clock may be changed
	return func(err error) {
		now := int64(time.Since(begin))
		if last := reported.Load(); now-last >= int64(time.Minute) && reported.CompareAndSwap(last, now) {
			report(err)
		}
	}
}

// Start sets what the status page reads.
func (t *Observability) Start() {
	t.Today, t.Health, t.denials, t.UntrustedForwarders = &telemetry.DailyCounts{}, &telemetry.Health{}, &denials{Max: denialsMax},
		&telemetry.UntrustedForwarders{}
	t.missed, t.changed = &missedEvents{log: t.Log}, &appChanges{log: t.Log}
	t.auditing = &auditState{}
}

// Note writes one audit record; attrs begin with its kind. Without audit.file it goes to
// the log, which never fails. Records that require an operator's action always go to the
// log.
func (t Observability) Note(level slog.Level, msg, kind string, attrs ...any) error {
	attrs = append([]any{"audit", kind}, attrs...)
	if t.Audits == nil || level >= slog.LevelError {
		t.Log.Log(context.Background(), level, msg, attrs...)
	}
	if t.Audits == nil {
		return nil
	}
	return t.Audits.Write(time.Now(), attrs...)
}

// pairs returns the attributes without the empty ones.
func pairs(list ...[2]string) (attrs []any) {
	for _, pair := range list {
		if pair[1] != "" {
			attrs = append(attrs, pair[0], pair[1])
		}
	}
	return attrs
}

// audit records sign-ins, refusals with their reason, sign-outs, and bindings of users to
// accounts.
func (t Observability) audit(e login.Event) error {
	attrs := pairs([2]string{"req", e.RequestID}, [2]string{"client", e.Client.String()}, [2]string{"how", e.How},
		[2]string{"code", e.Code}, [2]string{"user", e.User}, [2]string{"userid", e.UserID},
		[2]string{"name", e.Name}, [2]string{"unionid", e.UnionID}, [2]string{"session", e.Session},
		[2]string{"application", e.App}, [2]string{"host", e.Host}, [2]string{"user_agent", shortened(e.UserAgent)})
	level, result := slog.LevelInfo, "ok"
	if e.What == "refused" {
		level, result = slog.LevelWarn, e.Code
	}
	if e.Err != nil {
		attrs = append(attrs, "err", e.Err.Error())
		if f, ok := errors.AsType[*identity.Failure](e.Err); ok && f.Class == identity.Operator {
			level = slog.LevelError
			attrs = append(attrs, "hint", f.Hint)
		}
	}
	if e.What == "refused" {
		t.refusals.add(ofSignIn(e, time.Now()))
	}
	err := t.Note(level, "sign-in", e.What, attrs...)
	if e.What == "sign_in" || e.What == "refused" {
		how := e.How
		if how == "" {
			how = "browser"
		}
		if err == nil || e.What == "refused" { // a sign-in that could not be recorded is reported again, as refused
			t.Metrics.SignIn(how, result)
			t.Today.Add(result)
		}
	}
	if e.What == "sign_out" {
		t.Metrics.SessionEnded(e.What)
	}
	return err
}

// auditEnded records that a session ended before its expiry.
func (t Observability) auditEnded(s *session.Session, reason string) {
	t.Metrics.SessionEnded(reason)
	t.Today.Ended(reason)
	t.Note(slog.LevelWarn, "session ended", "session_ended",
		pairs([2]string{"user", s.User.Username}, [2]string{"userid", s.User.UserID}, [2]string{"session", s.ID},
			[2]string{"reason", reason})...)
}

// auditSSO records what third parties obtained, and rejected attempts.
func (t Observability) auditSSO(e sso.Event) error {
	level := slog.LevelWarn
	switch e.What {
	case "code", "token", "refresh":
		level = slog.LevelInfo
	}
	return t.Note(level, "sso", "sso_"+e.What,
		pairs([2]string{"req", e.RequestID}, [2]string{"client", e.Client.String()}, [2]string{"app", e.App},
			[2]string{"owner", e.Owner}, [2]string{"user", e.User})...)
}

// auditDenied records that a rule refused a signed-in person: once per minute, since a
// page may send a hundred requests.
func (t *recorder) auditDenied(x *web.Exchange) {
	code := "not_allowed"
	if e, ok := errors.AsType[*web.Error](x.Err); ok {
		code = e.Code
	}
	if t.denials != nil && !t.denials.Add(x.User+"\x00"+x.Route, struct{}{}, x.Start.Add(denialEvery), x.Start) {
		return
	}
	t.refusals.add(refusal{At: x.Start.UnixNano(), User: cutName(x.User), Code: code, Route: x.Route, Host: x.Host,
		Client: x.Client, Device: web.Device(x.UserAgent)})
	t.Note(slog.LevelWarn, "refused by a rule", "denied",
		pairs([2]string{"req", x.ID}, [2]string{"client", x.Client.String()}, [2]string{"user", x.User},
			[2]string{"code", code}, [2]string{"route", x.Route}, [2]string{"rule", t.rules[x.Route]},
			[2]string{"host", x.Host}, [2]string{"user_agent", shortened(x.UserAgent)})...)
}

// agentMax bounds a User-Agent in an audit record, in bytes. Real ones are shorter; a
// longer one is an attempt to fill the file.
const agentMax = 256

// shortened returns text of a client without control characters and invalid UTF-8, and
// truncated.
func shortened(agent string) string {
	if len(agent) > 4*agentMax {
		agent = agent[:4*agentMax]
	}
	agent = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, agent)
	for len(agent) > agentMax {
		_, size := utf8.DecodeLastRuneInString(agent)
		agent = agent[:len(agent)-size]
	}
	return agent
}

// ruleTexts maps a route's name to its rule; a name that two routes share has no text.
func ruleTexts(c *config.Config) map[string]string {
	texts := map[string]string{}
	for _, r := range c.AllRoutes() {
		if _, twice := texts[r.Path]; twice {
			texts[r.Path] = ""
			continue
		}
		texts[r.Path] = config.RuleText(r.Access)
	}
	return texts
}

// denials remembers the refusals recorded in the last minute, by user and route.
type denials = bounded.Map[string, struct{}]

const (
	denialEvery = time.Minute
	denialsMax  = 10_000
)
