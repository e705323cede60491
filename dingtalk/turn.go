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

// turn is the priority of a call.
type turn struct {
	class ratelimit.Class
	paid  bool
	first bool
}

// WithClass sets the priority of the calls made with ctx; without it, they have the
// priority of overdue rechecks. See Client.Budget.
func WithClass(ctx context.Context, class ratelimit.Class) context.Context {
	return context.WithValue(ctx, turnKey{}, turn{class: class})
}

// WithFirst is WithClass for the lookup of a person whom an event named: see Budget.WaitFirst.
func WithFirst(ctx context.Context, class ratelimit.Class) context.Context {
	return context.WithValue(ctx, turnKey{}, turn{class: class, first: true})
}

// reserved marks the calls of a sign-in, whose place in the budget Enter took.
func reserved(ctx context.Context) context.Context {
	return context.WithValue(ctx, turnKey{}, turn{paid: true})
}

// budgeted reports whether the budget paces a path. App tokens and stream connections
// are rare and do not wait; if DingTalk throttles one of them, the circuit breaker
// stops its calls for a while.
func (c *Client) budgeted(path string) bool {
	return c.Budget != nil && path != pathAppToken && path != pathConnection
}

// await waits until the budget admits a call.
func (c *Client) await(ctx context.Context, path string) *identity.Failure {
	if !c.budgeted(path) {
		return nil
	}
	t, said := ctx.Value(turnKey{}).(turn)
	if !said {
		t.class = ratelimit.Overdue
	}
	var err error
	if t.first {
		err = c.Budget.WaitFirst(ctx, path, t.class)
	} else {
		err = c.Budget.Wait(ctx, path, t.class, t.paid)
	}
	if err != nil {
		return &identity.Failure{Class: identity.Later, Code: "throttled", Err: fmt.Errorf("dingtalk: calling %s: %w", path, err)}
	}
	return nil
}

const throttledTries = 3 // how often a throttled call is made

// tooMany reports a throttled call that may be repeated: DingTalk did not process it,
// so a code in it is not spent. It is not known whether this holds for a bare 429.
func (t attempt) tooMany(q request) bool {
	if t.result != "throttled" {
		return false
	}
	e, ok := errors.AsType[*APIError](t.err)
	return ok && (!q.single || e.Status != http.StatusTooManyRequests)
}

// Enter takes a place in the budget for a sign-in before its code is spent, and waits
// for its turn: see ratelimit.Budget.Enter. Without a Budget it does not wait.
func (l *WebLogin) Enter(ctx context.Context, id string, patience time.Duration) (ratelimit.Turn, error) {
	return l.Client.Budget.Enter(ctx, id, l.Directory.calls(pathUserToken, pathMe), patience)
}

// Enter is WebLogin.Enter for a sign-in inside the DingTalk client.
func (l *SilentLogin) Enter(ctx context.Context, id string, patience time.Duration) (ratelimit.Turn, error) {
	return l.Client.Budget.Enter(ctx, id, l.Directory.calls(pathGetUserInfo), patience)
}

// calls lists the calls of a sign-in, those before the directory's first.
func (d *Directory) calls(own ...string) []string {
	own = append(own, pathGetByUnionID, pathUserGet)
	if d.Ancestors {
		own = append(own, pathParents)
	}
	return own
}
