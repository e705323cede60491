package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"dinggate/dingtalk"
	"dinggate/internal/identity"
	"dinggate/internal/telemetry"
	"dinggate/internal/web"
	"dinggate/proxy/login"
)

// record writes the one line of a request and counts it.
func (t telemetryKit) record(x *web.Exchange, r *http.Request) {
	t.metrics.Request(x.Endpoint, x.Route, x.Verdict, x.Status, x.Duration)
	line := telemetry.Access{
		Time: x.Start, ID: x.ID, Client: x.Client, Method: x.Method, Host: x.Host, Path: x.Target, Status: x.Status, Bytes: x.Bytes, Duration: x.Duration,
		Endpoint: x.Endpoint, Route: x.Route, Rule: x.Rule, Verdict: x.Verdict, User: x.User,
	}
	if ua := r.Header["User-Agent"]; len(ua) > 0 {
		line.UserAgent = ua[0]
	}
	if x.Err != nil {
		if e, ok := errors.AsType[*web.Error](x.Err); ok {
			line.Code = e.Code
			if e.Err != nil {
				line.Err = e.Err.Error()
			}
		} else {
			line.Code, line.Err = "internal", x.Err.Error()
		}
	}
	t.access.Write(&line)
}

// audit writes who signed in, who was refused and why, and who signed out.
func (t telemetryKit) audit(e login.Event) {
	attrs := []any{"audit", e.What, "req", e.RequestID, "client", e.Client.String()}
	for _, pair := range [][2]string{{"code", e.Code}, {"user", e.User}, {"userid", e.UserID}, {"session", e.Session}} {
		if pair[1] != "" {
			attrs = append(attrs, pair[0], pair[1])
		}
	}
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
	if e.What != "sign_out" {
		how := e.How
		if how == "" {
			how = "browser"
		}
		t.metrics.SignIn(how, result)
	}
	t.log.Log(context.Background(), level, "sign-in", attrs...)
}

// call counts one call to DingTalk and logs one that went wrong.
func (t telemetryKit) call(c dingtalk.Call) {
	t.metrics.DingTalk(c.Name, c.Result, c.Label, c.Duration)
	if c.Err == nil {
		return
	}
	t.log.Warn("call to DingTalk", "call", c.Name, "result", c.Result, "code", c.Code, "dingtalk_request", c.RequestID, "ms", c.Duration.Milliseconds(), "err", c.Err.Error())
}
