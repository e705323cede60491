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

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/sso"
	"dinggate/internal/bounded"
	"dinggate/internal/identity"
	"dinggate/internal/telemetry"
	"dinggate/internal/web"
	"dinggate/proxy/login"
	"dinggate/session"
)

// OpenAudit opens the sink of the audit records; nil is the log. Loss is counted
// and, once a minute, logged.
func OpenAudit(c config.AuditConfig, t Observability) (*telemetry.Audit, error) {
	if c.File == "" {
		return nil, nil
	}
	lost := oncePerMinute(func(err error) { t.Log.Error("audit record lost", "err", err.Error()) })
	return telemetry.OpenAudit(c.File, c.Strict(), func(err error) {
		if t.Metrics.Audited(err == nil); err != nil {
			lost(err)
		}
	})
}

// oncePerMinute passes an error on once a minute.
func oncePerMinute(report func(error)) func(error) {
	var reported atomic.Int64
	begin := time.Now().Add(-time.Minute) // the wall clock may be set
	return func(err error) {
		now := int64(time.Since(begin))
		if last := reported.Load(); now-last >= int64(time.Minute) && reported.CompareAndSwap(last, now) {
			report(err)
		}
	}
}

// Start gives the kit what the status page reads.
func (t *Observability) Start() {
	t.Today, t.Health, t.denials, t.UntrustedForwarders = &telemetry.DailyCounts{}, &telemetry.Health{}, &denials{Max: denialsMax},
		&telemetry.UntrustedForwarders{}
	t.missed = &missedEvents{log: t.Log}
}

// Note writes one audit record; attrs begin with its kind. Without a sink of its
// own the log takes it, and never fails. What an operator has to act on is in the
// log in any case.
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

// pairs are attributes, without those that are empty.
func pairs(list ...[2]string) (attrs []any) {
	for _, pair := range list {
		if pair[1] != "" {
			attrs = append(attrs, pair[0], pair[1])
		}
	}
	return attrs
}

// audit writes who signed in, who was refused and why, who signed out, and who
// was bound to which account.
func (t Observability) audit(e login.Event) error {
	attrs := pairs([2]string{"req", e.RequestID}, [2]string{"client", e.Client.String()}, [2]string{"how", e.How},
		[2]string{"code", e.Code}, [2]string{"user", e.User}, [2]string{"userid", e.UserID},
		[2]string{"name", e.Name}, [2]string{"unionid", e.UnionID}, [2]string{"session", e.Session},
		[2]string{"host", e.Host}, [2]string{"user_agent", shortened(e.UserAgent)})
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
	err := t.Note(level, "sign-in", e.What, attrs...)
	if e.What == "sign_in" || e.What == "refused" {
		how := e.How
		if how == "" {
			how = "browser"
		}
		if err == nil || e.What == "refused" { // one that could not be recorded comes again, as refused
			t.Metrics.SignIn(how, result)
			t.Today.Add(result)
		}
	}
	if e.What == "sign_out" {
		t.Metrics.SessionEnded(e.What)
	}
	return err
}

// auditEnded writes that a session ended before its time.
func (t Observability) auditEnded(s *session.Session, reason string) {
	t.Metrics.SessionEnded(reason)
	t.Today.Ended(reason)
	t.Note(slog.LevelWarn, "session ended", "session_ended",
		pairs([2]string{"user", s.User.Username}, [2]string{"userid", s.User.UserID}, [2]string{"session", s.ID},
			[2]string{"reason", reason})...)
}

// auditSSO writes what third parties were given, and who tried what.
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

// auditDenied writes that a rule refused somebody who is signed in: the first time
// in a minute, since a page may ask a hundred times.
func (t *recorder) auditDenied(x *web.Exchange) {
	code := "not_allowed"
	if e, ok := errors.AsType[*web.Error](x.Err); ok {
		code = e.Code
	}
	if t.denials != nil && !t.denials.Add(x.User+"\x00"+x.Route, struct{}{}, x.Start.Add(denialEvery), x.Start) {
		return
	}
	t.Note(slog.LevelWarn, "kept out", "denied",
		pairs([2]string{"req", x.ID}, [2]string{"client", x.Client.String()}, [2]string{"user", x.User},
			[2]string{"code", code}, [2]string{"route", x.Route}, [2]string{"rule", t.rules[x.Route]},
			[2]string{"host", x.Host}, [2]string{"user_agent", shortened(x.UserAgent)})...)
}

// agentMax bounds a User-Agent in an audit record, in bytes. Real ones are shorter;
// what is longer is written to fill the file.
const agentMax = 256

// shortened is what a client says of itself, without control characters and what is
// no UTF-8, and cut.
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

// ruleTexts says by a route's name whom it lets in; a name that two routes share
// has no text.
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

// denials is which refusals were recorded in the last minute, by user and route.
type denials = bounded.Map[string, struct{}]

const (
	denialEvery = time.Minute
	denialsMax  = 10_000
)
