package dingtalk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
)

type turnKey struct{}

// turn says for whom a call is made.
type turn struct {
	class ratelimit.Class
	paid  bool
}

// WithClass says for whom the calls are that are made with ctx; without it they
// are as urgent as those of people who are overdue. See Client.Budget.
func WithClass(ctx context.Context, class ratelimit.Class) context.Context {
	return context.WithValue(ctx, turnKey{}, turn{class: class})
}

// reserved marks the calls of a sign-in, whose place in the budget Enter took.
func reserved(ctx context.Context) context.Context {
	return context.WithValue(ctx, turnKey{}, turn{paid: true})
}

// await waits until the budget has a call. Tokens of the app and connections of the event
// stream are few and wait for nobody.
func (c *Client) await(ctx context.Context, path string) *identity.Failure {
	if c.Budget == nil || path == pathAppToken || path == pathConnection {
		return nil
	}
	t, said := ctx.Value(turnKey{}).(turn)
	if !said {
		t.class = ratelimit.Overdue
	}
	if err := c.Budget.Wait(ctx, path, t.class, t.paid); err != nil {
		return &identity.Failure{Class: identity.Later, Code: "throttled", Err: fmt.Errorf("dingtalk: calling %s: %w", path, err)}
	}
	return nil
}

const throttledTries = 3 // how often a call that was one too many is made again

// tooMany reports a refusal by throttling after which the call may be made again: the platform
// did not look at it, so that a code in it is not spent. Whether that is so of
// a bare 429 is not known.
func (t attempt) tooMany(q request) bool {
	if t.result != "throttled" {
		return false
	}
	e, ok := errors.AsType[*APIError](t.err)
	return ok && (!q.single || e.Status != http.StatusTooManyRequests)
}

// Enter takes a place for a sign-in before its code is spent, and waits for its
// turn: see ratelimit.Budget.Enter. Without a Budget it is everybody's turn.
func (l *WebLogin) Enter(ctx context.Context, id string, patience time.Duration) (ratelimit.Turn, error) {
	return l.Client.Budget.Enter(ctx, id, l.Directory.calls(pathUserToken, pathMe), patience)
}

// Enter is WebLogin.Enter for a sign-in inside the DingTalk client.
func (l *SilentLogin) Enter(ctx context.Context, id string, patience time.Duration) (ratelimit.Turn, error) {
	return l.Client.Budget.Enter(ctx, id, l.Directory.calls(pathGetUserInfo), patience)
}

// calls lists what a sign-in asks, its own calls first.
func (d *Directory) calls(own ...string) []string {
	own = append(own, pathGetByUnionID, pathUserGet)
	if d.Ancestors {
		own = append(own, pathParents)
	}
	return own
}
