package server

import (
	"errors"
	"time"

	"dinggate/dingtalk"
	"dinggate/internal/identity"
	"dinggate/session"
	"dinggate/session/mirror"
)

const (
	mirrorFrom = 300            // signed-in people from which directory: auto reads the lists
	mirrorRest = time.Minute    // shortest delay between the starts of two readings
	mirrorIdle = 72 * time.Hour // how long it continues at a low rate, over a weekend, when fewer people are active
)

// newMirror returns the copy of the directory that rechecks use. It is nil if each person
// is looked up: with dingtalk.directory lookup, behind an SSO service, and with account
// bindings, whose names the directory does not have.
func newMirror(c settings, st *State, client *dingtalk.Client) *mirror.Mirror {
	if c.SSO.On() || c.DingTalk.Directory == dingtalk.DirectoryLookup || c.Accounts.Binds() {
		return nil
	}
	m := &mirror.Mirror{
		Read: (&dingtalk.Organisation{Directory: &dingtalk.Directory{
			Client:    client,
			Username:  c.DingTalk.Username,
			Ancestors: c.NamesDepartments(),
		}}).Read,
		Fit:     c.Session.Fit,
		Every:   mirrorPace(c, st.signedIn),
		Life:    c.Session.Recheck + c.Session.Grace,
		Keyring: c.keyring,
		Name:    c.Realm() + " " + c.DingTalk.ClientID,
		OnRead:  st.mirrorRead(),
	}
	if c.Session.Store == session.StoreRedis {
		m.Store = st.Stores.Sessions
	}
	if before := st.Serving(); before != nil {
		m.Inherit(before.Sessions.Mirror)
	}
	return m
}

// mirrorPace is how often the directory is read: twice within session.recheck while
// people are active; otherwise just often enough that all of them can return at once
// with sessions that were not used overnight.
func mirrorPace(c settings, people func() int) func() time.Duration {
	from := mirrorFrom
	var busy time.Time // used by Mirror.Run only
	if c.DingTalk.Directory == dingtalk.DirectoryMirror {
		from, busy = 1, time.Now()
	}
	often := max(c.Session.Recheck/2, mirrorRest)
	rarely := max(often, (c.Session.Recheck+c.Session.Grace)/2)
	return func() time.Duration {
		switch now := time.Now(); {
		case people() >= from:
			busy = now
			return often
		case now.Sub(busy) < mirrorIdle:
			return rarely
		}
		return 0
	}
}

// mirrorRead logs the first reading, and the first and last of consecutive failures.
func (t Observability) mirrorRead() func(people int, took time.Duration, err error) {
	said := ""
	return func(people int, took time.Duration, err error) {
		now := "read"
		if err != nil {
			now = "failed"
			if f, ok := errors.AsType[*identity.Failure](err); ok {
				now = f.Code
			}
		}
		if now == said {
			return
		}
		said = now
		if err != nil {
			t.Log.Warn("the directory cannot be read as a whole: members are looked up one by one", "err", err.Error())
			return
		}
		t.Log.Info("the directory was read as a whole: rechecks use it", "people", people,
			"took", took.Round(time.Millisecond).String())
	}
}

// measureMirror registers the metrics of the copy of the directory.
func (s *State) measureMirror(m *mirror.Mirror) {
	s.Metrics.Moment("directory_mirror_read_timestamp_seconds",
		"When the reading of the whole directory began that confirms people, Unix time; 0 while there is none.",
		func() time.Time { return m.Stats().Read })
	s.Metrics.Gauge("directory_mirror_people", "People in that reading.",
		func() float64 { return float64(m.Stats().People) })
	s.Metrics.Gauge("directory_mirror_read_seconds", "How long the last reading by this replica took.",
		func() float64 { return m.Stats().Took.Seconds() })
	for result, name := range map[mirror.Result]string{mirror.Done: "ok", mirror.Refused: "refused", mirror.Failed: "failed"} {
		s.Metrics.Count("directory_mirror_reads_total",
			"Readings of the whole directory by this replica; refused: a permission is missing.", "result", name,
			func() float64 { return float64(m.Stats().Results[result]) })
	}
	for answer, name := range map[mirror.Answer]string{mirror.Confirmed: "confirmed", mirror.Differs: "differs",
		mirror.Absent: "absent"} {
		s.Metrics.Count("directory_mirror_answers_total",
			"Results of the directory copy for due rechecks; people who differ or are absent are looked up.", "result", name,
			func() float64 { return float64(m.Stats().Answers[answer]) })
	}
}
