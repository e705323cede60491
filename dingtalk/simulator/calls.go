package simulator

import (
	"context"
	"fmt"
	"maps"
)

// callCounter counts the calls of each endpoint. The zero counter is ready to use.
type callCounter struct {
	monitor
	calls map[string]int
}

func (c *callCounter) count(endpoint string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		c.calls = map[string]int{}
	}
	c.calls[endpoint]++
	c.broadcast()
}

// Calls counts the requests that reached an endpoint since the start or the
// last ResetCalls, whatever a fault did to them. Endpoints are named as
// DingTalk's documentation names them ("/v1.0/oauth2/{corpId}/token");
// everything that DingTalk does not have is counted as "unknown".
func (c *callCounter) Calls(endpoint string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[endpoint]
}

// AllCalls is Calls for every endpoint that was called.
func (c *callCounter) AllCalls() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]int{}
	maps.Copy(all, c.calls)
	return all
}

// ResetCalls sets all counters to zero.
func (c *callCounter) ResetCalls() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.calls)
}

// WaitCalls waits until an endpoint was called at least n times.
func (c *callCounter) WaitCalls(ctx context.Context, endpoint string, n int) error {
	return c.waitFor(ctx, func() (string, bool) {
		return fmt.Sprintf("%d calls of %s, have %d", n, endpoint, c.calls[endpoint]), c.calls[endpoint] >= n
	})
}
