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

// missedEvents counts leavers of whom no event came, although the stream was open
// all along. DingTalk sends each event to one of the connections that an app has: two
// deployments that share no Redis each see a part, and the other part of the leavers
// stays until the next recheck.
type missedEvents struct {
	log    *slog.Logger
	stream atomic.Pointer[dingtalk.Stream] // nil: events are not followed
	n      atomic.Int64
	asked  atomic.Bool  // one is being waited for
	said   atomic.Int64 // when the log told of it last, Unix seconds

	wait time.Duration // 0: lateEvent
}

// lateEvent is how long an event is waited for that a recheck was faster than.
const lateEvent = 30 * time.Second

// found notes how a recheck of s ended at the given moment.
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
			return // late, perhaps that one
		}
		m.n.Add(1)
		if last := m.said.Load(); time.Now().Unix()-last < 3600 || !m.said.CompareAndSwap(last, time.Now().Unix()) {
			return
		}
		m.log.Warn("a leaver was found by a recheck, no event came: another deployment on this DingTalk app takes a part " +
			"of the events (or user_leave_org is not subscribed); share one Redis, put one dinggate in front of both, or " +
			"make an app for each")
	})
}

// measure offers the count.
func (m *missedEvents) measure(to *telemetry.Metrics) {
	to.Count("events_missed_total",
		"Leavers of whom no event came although the stream was open: another deployment on this app takes a part.", "", "",
		func() float64 { return float64(m.n.Load()) })
}
