package dingtalk_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/dingtalk"
	"dinggate/dingtalk/simulator"
)

// TestStreamMissed checks that Missed is called after a connection was lost, and after one
// that DingTalk ended could not be replaced in time, but not after a replacement in time.
func TestStreamMissed(t *testing.T) {
	const opens = "/v1.0/gateway/connections/open"
	var missed atomic.Int32
	f := follow(t, func(s *dingtalk.Stream) { s.Missed = func(context.Context) { missed.Add(1) } })
	await := func(ok func() bool) {
		again := time.NewTicker(5 * time.Millisecond)
		defer again.Stop()
		for deadline := time.Now().Add(20 * time.Second); !ok() && time.Now().Before(deadline); <-again.C {
		}
	}
	times := func(what string, want int32) {
		t.Helper()
		await(func() bool { return missed.Load() == want })
		if n := missed.Load(); n != want {
			t.Errorf("%s: notified %d times, want %d", what, n, want)
		}
	}
	connections := func() int { return f.Calls("/connect") }
	times("the first connection", 0)

	before := connections()
	f.Disconnect(true)
	await(func() bool { return connections() > before })
	f.streams(t, 1)
	f.delivered(t, f.Emit("user_modify_org", map[string]any{"userId": []string{"a"}}))
	times("a connection that another one replaced", 0)

	f.DropStreams()
	times("a connection that was lost", 1)
	f.streams(t, 1)

	f.Fault(simulator.Fault{On: opens, Do: simulator.Status(503), Times: 1})
	f.Disconnect(false)
	times("a connection that could not be replaced", 2)
}
