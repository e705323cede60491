package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/dingtalk/sso"
	"dinggate/internal/identity"
	"dinggate/internal/telemetry"
	"dinggate/internal/web"
	"dinggate/proxy/login"
	"dinggate/session"
)

// openAudit opens the sink of the audit records; nil is the log. Loss is counted
// and, once a minute, logged.
func openAudit(c AuditConfig, t telemetryKit) (*telemetry.Audit, error) {
	if c.File == "" {
		return nil, nil
	}
	lost := seldom(func(err error) { t.log.Error("audit record lost", "err", err.Error()) })
	return telemetry.OpenAudit(c.File, c.strict(), func(err error) {
		if t.metrics.Audited(err == nil); err != nil {
			lost(err)
		}
	})
}

// seldom passes an error on once a minute.
func seldom(tell func(error)) func(error) {
	var told atomic.Int64
	begin := time.Now().Add(-time.Minute) // the wall clock may be set
	return func(err error) {
		now := int64(time.Since(begin))
		if last := told.Load(); now-last >= int64(time.Minute) && told.CompareAndSwap(last, now) {
			tell(err)
		}
	}
}

// remember gives the kit what the status page reads.
func (t *telemetryKit) remember() {
	t.today, t.health, t.denials, t.strangers = &telemetry.Today{}, &telemetry.Health{}, &denials{}, &telemetry.Strangers{}
}

// note writes one audit record; attrs begin with its kind. Without a sink of its
// own the log takes it, and never fails. What an operator has to act on stands
// in the log in any case.
func (t telemetryKit) note(level slog.Level, msg, kind string, attrs ...any) error {
	attrs = append([]any{"audit", kind}, attrs...)
	if t.audits == nil || level >= slog.LevelError {
		t.log.Log(context.Background(), level, msg, attrs...)
	}
	if t.audits == nil {
		return nil
	}
	return t.audits.Write(time.Now(), attrs...)
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
func (t telemetryKit) audit(e login.Event) error {
	attrs := pairs([2]string{"req", e.RequestID}, [2]string{"client", e.Client.String()}, [2]string{"how", e.How}, [2]string{"code", e.Code}, [2]string{"user", e.User},
		[2]string{"userid", e.UserID}, [2]string{"name", e.Name}, [2]string{"unionid", e.UnionID}, [2]string{"session", e.Session})
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
	err := t.note(level, "sign-in", e.What, attrs...)
	if e.What == "sign_in" || e.What == "refused" {
		how := e.How
		if how == "" {
			how = "browser"
		}
		if err == nil || e.What == "refused" { // one that could not be recorded comes again, as refused
			t.metrics.SignIn(how, result)
			t.today.Add(result)
		}
	}
	if e.What == "sign_out" {
		t.metrics.SessionEnded(e.What)
	}
	return err
}

// auditEnded writes that a session ended before its time.
func (t telemetryKit) auditEnded(s *session.Session, reason string) {
	t.metrics.SessionEnded(reason)
	t.today.Ended(reason)
	t.note(slog.LevelWarn, "session ended", "session_ended", pairs([2]string{"user", s.User.Username}, [2]string{"userid", s.User.UserID}, [2]string{"session", s.ID}, [2]string{"reason", reason})...)
}

// auditSSO writes what third parties were given, and who tried what.
func (t telemetryKit) auditSSO(e sso.Event) error {
	level := slog.LevelWarn
	switch e.What {
	case "code", "token", "refresh":
		level = slog.LevelInfo
	}
	return t.note(level, "sso", "sso_"+e.What, pairs([2]string{"req", e.RequestID}, [2]string{"client", e.Client.String()}, [2]string{"app", e.App}, [2]string{"owner", e.Owner}, [2]string{"user", e.User})...)
}

// auditDenied writes that somebody who is signed in was kept out by a rule: the
// first time in a minute, since a page may ask a hundred times.
func (t telemetryKit) auditDenied(x *web.Exchange) {
	code := "not_allowed"
	if e, ok := errors.AsType[*web.Error](x.Err); ok {
		code = e.Code
	}
	if !t.denials.first(x.User+"\x00"+x.Route, x.Start) {
		return
	}
	t.note(slog.LevelWarn, "kept out", "denied", pairs([2]string{"req", x.ID}, [2]string{"client", x.Client.String()}, [2]string{"user", x.User},
		[2]string{"code", code}, [2]string{"route", x.Route}, [2]string{"rule", t.rules[x.Route]})...)
}

// ruleTexts says by a route's name whom it lets in; a name that two routes share
// has no text.
func ruleTexts(c *Config) map[string]string {
	texts := map[string]string{}
	for _, r := range c.AllRoutes() {
		if _, twice := texts[r.Path]; twice {
			texts[r.Path] = ""
			continue
		}
		texts[r.Path] = whom(r.Access)
	}
	return texts
}

// denials remembers for a minute who was kept out where. The nil one remembers
// nothing. Bounded: a full one begins anew.
type denials struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

const (
	denialEvery = time.Minute
	denialsMax  = 10_000
)

func (d *denials) first(key string, now time.Time) bool {
	if d == nil {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if last, ok := d.seen[key]; ok && now.Sub(last) < denialEvery && !now.Before(last) {
		return false
	}
	if d.seen == nil || len(d.seen) >= denialsMax {
		d.seen = map[string]time.Time{}
	}
	d.seen[key] = now
	return true
}
