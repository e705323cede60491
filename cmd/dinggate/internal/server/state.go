package server

import (
	"reflect"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/dingtalk/sso"
	"dinggate/proxy/login"

	"golang.org/x/time/rate"
)

// State is what one gate leaves to the next. Who has used up what they may do
// has it used up after a reload too: somebody who can wait for reloads would
// else be limited by nothing (threats D6, V27). What DingTalk or a service has
// said already is not asked again by everybody at once.
type State struct {
	SignIns  *login.Counts
	sso      *sso.Counts
	rechecks *rate.Limiter    // DingTalk counts per app, however often that is configured
	Client   *dingtalk.Client // the app's token, and how long DingTalk wants to be left alone
	tokens   *tokenMemory
}

// newState is what cfg's gate begins with: all that before, if there is one,
// knew about the same app and the same service.
func newState(cfg *config.Config, before *Gateway, t Observability) (l State) {
	if before != nil {
		l = before.Lasting
	} else {
		l = State{SignIns: &login.Counts{}, sso: &sso.Counts{}, rechecks: rate.NewLimiter(rechecksPerSecond, rechecksPerSecond)}
	}
	if l.Client == nil || !reflect.DeepEqual(l.Client.Config, cfg.DingTalk) {
		l.Client = &dingtalk.Client{Config: cfg.DingTalk, Observe: t.call}
	}
	if l.tokens == nil || !reflect.DeepEqual(l.tokens.of, cfg.SSO) {
		l.tokens = newTokenMemory(cfg.SSO)
	}
	return l
}
