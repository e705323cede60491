package dingtalk_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/dingtalk"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/identity"
)

// follower runs a Stream and records its calls.
type follower struct {
	*env
	mu       sync.Mutex
	events   []dingtalk.Event
	failures []string
	fail     int // number of events that Handle refuses first
}

func follow(t *testing.T, change func(*dingtalk.Stream)) *follower {
	t.Helper()
	f := &follower{env: newEnv(t)}
	s := &dingtalk.Stream{Client: f.client, Pause: 10 * time.Millisecond,
		Handle: func(_ context.Context, e dingtalk.Event) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.fail > 0 {
				f.fail--
				return errors.New("store away")
			}
			f.events = append(f.events, e)
			return nil
		},
		OnError: func(err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.failures = append(f.failures, err.Error())
		}}
	if change != nil {
		change(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want context.Canceled", err)
		}
	})
	f.streams(t, 1)
	return f
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (f *follower) streams(t *testing.T, n int) {
	t.Helper()
	if err := f.WaitStreams(soon(t), n); err != nil {
		t.Fatalf("waiting for %d streams: %v", n, err)
	}
}

func (f *follower) delivered(t *testing.T, id string) {
	t.Helper()
	if err := f.Delivered(soon(t), id); err != nil {
		t.Fatalf("event %s: %v", id, err)
	}
}

func (f *follower) observed() (events []dingtalk.Event, failures []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.events), slices.Clone(f.failures)
}

func TestStreamEvents(t *testing.T) {
	f := follow(t, nil)
	for _, c := range []struct {
		event  simulator.Event
		effect dingtalk.Effect
		users  []string // nil: Handle is not called
	}{
		{simulator.Event{
			Type: "user_leave_org",
			Data: map[string]any{"userId": []string{"a", "b"}, "timeStamp": "1"},
		}, dingtalk.Left, []string{"a", "b"}},
		{simulator.Event{Type: "user_leave_org", Data: `{"userId":"a"}`}, dingtalk.Left, []string{"a"}},
		{simulator.Event{Type: "user_modify_org", Data: `{"userId":["a"],"diffInfo":[{"userid":"z"}]}`},
			dingtalk.Recheck, []string{"a"}},
		{simulator.Event{Type: "label_user_change", Data: `{"userIdList":["a"],"action":"add","labelIdList":[1881]}`},
			dingtalk.Recheck, []string{"a"}},
		{simulator.Event{Type: "user_active_org", Data: `{"userId":["a"]}`}, dingtalk.Recheck, []string{"a"}},
		{simulator.Event{Type: "user_account_disabled", Data: `{"userId":["a"]}`}, dingtalk.Recheck, []string{"a"}},
		{simulator.Event{Type: "user_role_change", Data: `{"userIdList":["a",""]}`}, dingtalk.Recheck, []string{"a"}},
		{simulator.Event{Type: "user_other", Data: `{"userId":[]}`}, dingtalk.NoEffect, []string{}},
		{simulator.Event{Type: "user_other", Data: `no JSON`}, dingtalk.NoEffect, []string{}},
		{simulator.Event{Type: "bpms_instance_change", Data: `{"userId":["a"]}`}, dingtalk.NoEffect, []string{}},
		{simulator.Event{Type: "org_remove", Data: `{}`}, dingtalk.OrganisationGone, []string{}},
		{simulator.Event{Type: "inner_app_status_change", Data: `{"status":"disable","unifiedAppId":"u"}`},
			dingtalk.AppChanged, []string{}},
		{simulator.Event{Type: "inner_app_scopes_change", Data: `no JSON`}, dingtalk.AppChanged, []string{}},
		{simulator.Event{Type: "org_dept_create", Data: `{"deptId":[4]}`}, dingtalk.NoEffect, []string{}},
		{simulator.Event{Type: "org_dept_modify", Data: `{"deptId":[4]}`}, dingtalk.Recheck, []string{}},
		{simulator.Event{Type: "label_conf_del", Data: `{"scope":"1","labelIdList":[1881]}`}, dingtalk.Recheck,
			[]string{}},
		{simulator.Event{Type: "label_conf_modify", Data: `{"labelIdList":[]}`}, 0, nil},
		{simulator.Event{Type: "some_day", Data: `no JSON`}, dingtalk.NoEffect, []string{}},
		{simulator.Event{Type: "user_leave_org", Data: `{"userId":["a"]}`, Corp: "dingother"}, 0, nil},
		{simulator.Event{Type: "user_leave_org", Data: `no JSON`}, 0, nil},
		{simulator.Event{Type: "user_leave_org", Data: `{}`}, 0, nil},
		{simulator.Event{Type: "user_leave_org", Data: `{"userId":[""]}`}, 0, nil},
		{simulator.Event{Type: "user_leave_org", Data: `{"userId":["a"],"userId":["b"]}`}, 0, nil},
	} {
		before, _ := f.observed()
		id := f.EmitEvent(c.event)
		f.delivered(t, id)
		f.Repeat(id)
		events, _ := f.observed()
		events = events[len(before):]
		switch {
		case c.users == nil:
			if len(events) != 0 {
				t.Errorf("event %+v reached Handle as %+v, want not at all", c.event, events)
			}
		case len(events) != 1 || events[0].Effect != c.effect || !slices.Equal(events[0].UserIDs, c.users) ||
			events[0].ID != id || events[0].Born.IsZero():
			t.Errorf("event %+v reached Handle as %+v, want once with effect %d for %v", c.event, events, c.effect,
				c.users)
		}
	}
	if list := f.Complaints(); len(list) != 0 {
		t.Errorf("the platform complains: %v", list)
	}
}

// Delivered twice, handled once; refused by Handle, delivered again (threats K15).
func TestStreamOnce(t *testing.T) {
	f := follow(t, nil)
	id := f.Emit("user_leave_org", `{"userId":["a"]}`)
	f.delivered(t, id)
	f.EmitEvent(simulator.Event{Type: "user_leave_org", Data: `{"userId":["a"]}`, ID: id})
	f.mu.Lock()
	f.fail = 1
	f.mu.Unlock()
	again := f.Emit("user_leave_org", `{"userId":["b"]}`)
	f.delivered(t, again)
	events, _ := f.observed()
	if len(events) != 2 || events[0].ID != id || events[1].ID != again {
		t.Errorf("Handle got %+v, want each event once", events)
	}
}

func TestStreamPlaces(t *testing.T) {
	f := follow(t, nil)
	f.delivered(t, f.Emit("org_dept_remove", `{"deptId":[4,"5"]}`))
	f.delivered(t, f.Emit("label_conf_modify", `{"scope":"1","labelIdList":[1881],"preLabelList":"[]"}`))
	events, _ := f.observed()
	if len(events) != 2 || !slices.Equal(events[0].Departments, []int64{4, 5}) ||
		!slices.Equal(events[1].Roles, []int64{1881}) {
		t.Errorf("Handle got %+v, want departments 4 and 5, then role 1881", events)
	}
}

// Work that takes too long is acknowledged as LATER before DingTalk's timeout.
func TestStreamAcknowledgesInTime(t *testing.T) {
	var first sync.Once
	f := follow(t, func(s *dingtalk.Stream) {
		handle := s.Handle
		s.Handle = func(ctx context.Context, e dingtalk.Event) error {
			slow := false
			first.Do(func() { slow = true })
			if slow {
				<-ctx.Done()
				return ctx.Err()
			}
			return handle(ctx, e)
		}
	})
	f.AckWithin = 3 * time.Second // as DingTalk does
	id := f.Emit("user_leave_org", `{"userId":["a"]}`)
	f.delivered(t, id)
	var answers []string
	for _, d := range f.Deliveries() {
		answers = append(answers, d.Answer)
	}
	if !slices.Equal(answers, []string{"LATER", "SUCCESS"}) {
		t.Errorf("the platform got %q, want LATER, then SUCCESS", answers)
	}
	if events, _ := f.observed(); len(events) != 1 {
		t.Errorf("Handle got %+v, want the event once", events)
	}
}

func TestStreamState(t *testing.T) {
	var stream *dingtalk.Stream
	f := follow(t, func(s *dingtalk.Stream) { stream = s })
	f.delivered(t, f.Emit("user_leave_org", `{"userId":["a"]}`))
	up := stream.State()
	if up.Connected.IsZero() || up.LastEvent.Before(up.Connected) {
		t.Errorf("State() = %+v after an event, want connected before it", up)
	}
	f.Fault(simulator.Fault{On: "/v1.0/gateway/connections/open", Do: simulator.Status(503)})
	f.DropStreams()
	for ctx := soon(t); !stream.State().Connected.IsZero(); time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("State().Connected is still set without a connection")
		}
	}
}

func TestStreamSystem(t *testing.T) {
	f := follow(t, nil)
	if err := f.Ping(soon(t)); err != nil {
		t.Errorf("Ping = %v, want nil", err)
	}
	f.SendRaw("garbage")
	f.SendRaw(`{"type":"SYSTEM","headers":{"topic":"later"}}`)
	f.SendRaw(`{"type":"EVENT","header":{"messageId":7,"eventType":"x","time":1}}`)
	f.SendRaw(simulator.QuotaFrame)
	if err := f.Ping(soon(t)); err != nil {
		t.Errorf("Ping after garbage = %v, want nil", err)
	}
	_, failures := f.observed()
	if len(failures) != 2 || !strings.Contains(failures[1], "20001") {
		t.Errorf("OnError got %q, want the garbage and 20001", failures)
	}
}

// A new connection with a new ticket after each way of losing one (threats V36).
func TestStreamReconnects(t *testing.T) {
	const open = "/v1.0/gateway/connections/open"
	fault := func(do simulator.Verb, times int) func(*follower) {
		return func(f *follower) {
			f.Fault(simulator.Fault{On: open, Do: do, Times: times})
			f.DropStreams()
		}
	}
	for _, c := range []struct {
		name  string
		lose  func(*follower)
		calls int
	}{
		{"disconnect", func(f *follower) { f.Disconnect(false) }, 2},
		{"disconnect with id", func(f *follower) { f.Disconnect(true) }, 2},
		{"drop", func(f *follower) { f.DropStreams() }, 2},
		{"silence", func(f *follower) { f.Mute(true) }, 2},
		{"drop and 503", fault(simulator.Status(503), 2), 4},
		{"drop and throttled", fault(simulator.Code("Forbidden.AccessDenied.QpsLimitForApi"), 1), 3},
		{"drop and no ticket", fault(simulator.Body(`{"endpoint":"ws://127.0.0.1:1/"}`), 1), 3},
		{"drop and another scheme",
			fault(simulator.Body(`{"endpoint":"http://127.0.0.1:1/","ticket":"canary-ticket"}`), 1), 3},
		{"drop, and no server",
			fault(simulator.Body(`{"endpoint":"ws://127.0.0.1:1/connect","ticket":"canary-ticket"}`), 1), 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := follow(t, func(s *dingtalk.Stream) { s.Quiet = 200 * time.Millisecond })
			c.lose(f)
			for ctx := soon(t); f.Calls(open) < c.calls; {
				if ctx.Err() != nil {
					t.Fatalf("%d calls of open, want %d", f.Calls(open), c.calls)
				}
				time.Sleep(time.Millisecond)
			}
			f.Mute(false)
			f.streams(t, 1)
			f.delivered(t, f.Emit("user_leave_org", `{"userId":["a"]}`))
			_, failures := f.observed()
			if text := strings.Join(failures, "\n"); strings.Contains(text, "canary") ||
				strings.Contains(text, "ticket=") {
				t.Errorf("OnError got a ticket: %s", text)
			}
		})
	}
}

// TestStreamCatchesUp checks that CatchUp is called after each new connection, with the
// time of the last event, and again after an error.
func TestStreamCatchesUp(t *testing.T) {
	catchUps := make(chan time.Time, 10)
	began := time.Now()
	fail := make(chan error, 1)
	f := follow(t, func(s *dingtalk.Stream) {
		s.Since = began.Add(-time.Hour)
		s.CatchUp = func(_ context.Context, since time.Time) error {
			catchUps <- since
			select {
			case err := <-fail:
				return err
			default:
				return nil
			}
		}
	})
	if since := <-catchUps; !since.Equal(began.Add(-time.Hour - time.Minute)) {
		t.Errorf("the first connection catches up since %v, want an hour and a minute before %v", since, began)
	}
	f.delivered(t, f.Emit("user_modify_org", map[string]any{"userId": []string{"zhangsan"}}))
	fail <- &identity.Failure{Class: identity.Operator, Code: "permission_missing"}
	f.DropStreams()
	second := <-catchUps
	if second.Before(began.Add(-time.Minute)) || second.After(time.Now().Add(-time.Minute)) {
		t.Errorf("the second catches up since %v, want a minute before the event after %v", second, began)
	}
	f.streams(t, 1)
	f.delivered(t, f.Emit("user_modify_org", map[string]any{"userId": []string{"lisi"}}))
	f.DropStreams()
	if third := <-catchUps; !third.Equal(second) {
		t.Errorf("after a failure it catches up since %v, want %v again", third, second)
	}
	if _, failures := f.observed(); !slices.ContainsFunc(failures, func(s string) bool {
		return strings.Contains(s, "permission_missing")
	}) {
		t.Errorf("the failure was not reported: %v", failures)
	}
}
