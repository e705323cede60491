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
	mirrorFrom = 300            // people signed in here, from which on directory: auto reads the lists
	mirrorRest = time.Minute    // the shortest pause between the beginnings of two readings
	mirrorIdle = 72 * time.Hour // how long it goes on at leisure, over a weekend, when fewer are here
)

// newMirror is the copy of the directory that people are confirmed by; nil where
// each is looked up: with dingtalk.directory lookup, behind an SSO service, and
// with account bindings, whose names the directory does not know.
func newMirror(c settings, st *State, client *dingtalk.Client, sessions *session.Manager) *mirror.Mirror {
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
		Every:   mirrorPace(c, sessions),
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
// people are at work; otherwise as seldom as will do for them to come back all at
// once, with sessions that nobody has looked at for a night.
func mirrorPace(c settings, sessions *session.Manager) func() time.Duration {
	from := mirrorFrom
	var busy time.Time // Mirror.Run's alone
	if c.DingTalk.Directory == dingtalk.DirectoryMirror {
		from, busy = 1, time.Now()
	}
	often := max(c.Session.Recheck/2, mirrorRest)
	seldom := max(often, (c.Session.Recheck+c.Session.Grace)/2)
	return func() time.Duration {
		switch now := time.Now(); {
		case sessions.Stats().People >= from:
			busy = now
			return often
		case now.Sub(busy) < mirrorIdle:
			return seldom
		}
		return 0
	}
}

// mirrorRead logs the first reading, the first failure of a row and the end of it.
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
		t.Log.Info("the directory was read as a whole: members are confirmed by it", "people", people,
			"took", took.Round(time.Millisecond).String())
	}
}

// measureMirror registers what the copy of the directory does.
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
			"What the reading said of people who were due; those who differ or are absent are looked up.", "result", name,
			func() float64 { return float64(m.Stats().Answers[answer]) })
	}
}
