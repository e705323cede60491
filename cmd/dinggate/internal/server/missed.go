package server

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"dinggate/dingtalk"
	"dinggate/internal/identity"
	"dinggate/internal/telemetry"
	"dinggate/session"
)

// missedEvents counts leavers without an event although the stream was connected all the
// time. DingTalk sends each event to one of an app's connections: two deployments with
// the same app and without a shared Redis each receive a part, and other leavers stay
// signed in until the next recheck.
type missedEvents struct {
	log    *slog.Logger
	stream atomic.Pointer[dingtalk.Stream] // nil: events are off
	n      atomic.Int64
	asked  atomic.Bool  // one is being waited for
	said   atomic.Int64 // time of the last log line, Unix seconds

	wait time.Duration // 0: lateEvent
}

// lateEvent is how long to wait for the event of a leaver whom a recheck found first.
const lateEvent = 30 * time.Second

// found records the result of a recheck of s at the given time.
func (m *missedEvents) found(s *session.Session, err error, now time.Time) {
	f, ok := errors.AsType[*identity.Failure](err)
	if m == nil || !ok || f.Class != identity.Refused || f.Code != "not_member" {
		return
	}
	stream := m.stream.Load()
	if stream == nil {
		return
	}
	open := stream.State().Connected
	if open.IsZero() || !open.Before(s.Checked) || !m.asked.CompareAndSwap(false, true) {
		return
	}
	wait := m.wait
	if wait == 0 {
		wait = lateEvent
	}
	time.AfterFunc(wait, func() {
		defer m.asked.Store(false)
		if !stream.State().LastEvent.Before(now) {
			return // a late event, perhaps this one
		}
		m.n.Add(1)
		if last := m.said.Load(); time.Now().Unix()-last < 3600 || !m.said.CompareAndSwap(last, time.Now().Unix()) {
			return
		}
		m.log.Warn("a recheck found a leaver without an event: another deployment with this DingTalk app receives part " +
			"of the events (or user_leave_org is not subscribed); share one Redis, use one dinggate for both, or " +
			"create an app for each")
	})
}

// measure registers the metric.
func (m *missedEvents) measure(to *telemetry.Metrics) {
	to.Count("events_missed_total",
		"Leavers without an event although the stream was connected: another deployment with this app receives part of the events.", "", "",
		func() float64 { return float64(m.n.Load()) })
}
