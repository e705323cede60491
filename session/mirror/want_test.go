package mirror

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
	"dinggate/store"
)

// wanting runs m and counts how often it reports a change.
func wanting(t *testing.T, m *Mirror) (changes *atomic.Int32, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	changes, done := new(atomic.Int32), make(chan struct{})
	go func() { defer close(done); m.Run(ctx, func() { changes.Add(1) }) }()
	return changes, func() { cancel(); <-done }
}

// TestMirrorWanted: a reading that is wanted begins at once, although the one in use is
// young or none is due, and one that cannot be had is given up, which is reported too.
func TestMirrorWanted(t *testing.T) {
	operator := &identity.Failure{Class: identity.Operator, Code: "permission_missing"}
	for _, tt := range []struct {
		name  string
		every time.Duration
		err   error
		reads int32 // by the end
		late  int32 // when a second one is wanted 20 s later
	}{
		{"none is due", 0, nil, 1, 2},
		{"one is in use", 150 * time.Second, nil, 2, 3},
		{"the lists may not be read", 0, operator, 1, 1},
		{"DingTalk is away", 0, errors.New("away"), 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &directory{people: []identity.User{zhangsan}, takes: 3 * time.Second, err: tt.err}
				m := d.mirror(t, nil)
				m.Every = func() time.Duration { return tt.every }
				changes, stop := wanting(t, m)
				defer stop()
				time.Sleep(10 * time.Second)
				before := changes.Load()
				at := time.Now()
				m.Want(at)
				if !m.Wants() {
					t.Error("nothing is wanted")
				}
				time.Sleep(3*time.Second + time.Millisecond)
				if m.Wants() || changes.Load() != before+1 || d.reads.Load() != tt.reads {
					t.Errorf("after the reading: wanted %v, %d changes, %d readings, want %d", m.Wants(), changes.Load()-before,
						d.reads.Load(), tt.reads)
				}
				if read := m.Confirms(&zhangsan); (tt.err == nil) != read.Equal(at) {
					t.Errorf("confirmed as of %v, wanted at %v", read, at)
				}
				time.Sleep(17 * time.Second)
				m.Want(time.Now())
				time.Sleep(4 * time.Second)
				if m.Wants() || d.reads.Load() != tt.late {
					t.Errorf("a second one: wanted %v, %d readings, want %d", m.Wants(), d.reads.Load(), tt.late)
				}
			})
		})
	}
}

// TestMirrorWantedOfReplicas: of three replicas that want a reading one reads, and one
// that began before does for none; where it fails all give up.
func TestMirrorWantedOfReplicas(t *testing.T) {
	for _, err := range []error{nil, errors.New("away")} {
		synctest.Test(t, func(t *testing.T) {
			d := &directory{people: []identity.User{zhangsan}, takes: 3 * time.Second, err: err}
			shared := &store.Memory{Max: 1000}
			var all []*Mirror
			for range 3 {
				m := d.mirror(t, shared)
				m.Every = func() time.Duration { return 0 }
				_, stop := wanting(t, m)
				defer stop()
				all = append(all, m)
			}
			time.Sleep(7 * time.Second)
			at := time.Now().Truncate(time.Millisecond)
			for _, m := range all {
				m.Want(at)
			}
			time.Sleep(10 * time.Second)
			for i, m := range all {
				if m.Wants() || (err == nil) != (m.Confirms(&zhangsan).Sub(at) >= 0 && !m.Confirms(&zhangsan).IsZero()) {
					t.Errorf("%v: replica %d: wanted %v, confirms as of %v", err, i, m.Wants(), m.Confirms(&zhangsan))
				}
			}
			if n := d.reads.Load(); err == nil && n != 1 {
				t.Errorf("%d readings, want 1", n)
			}
		})
	}
}
