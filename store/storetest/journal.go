package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"dinggate/store"
)

// RunJournal tests an implementation of store.Journal. open returns a function that returns one
// replica's journal after another, all with the same new list; open cleans up with t.Cleanup.
func RunJournal(t *testing.T, open func(t *testing.T) (replica func() store.Journal)) {
	for _, law := range []struct {
		name string
		test func(*testing.T, func() store.Journal)
	}{
		{"every replica receives all, in order", allReceive},
		{"a late follower receives what was just written", lateReceives},
		{"live comes after everything so far", liveMeans},
		{"an entry is whole", wholeEntries},
		{"an entry has a size", entrySizes},
		{"an ended context is an error", endedAppend},
		{"follow ends with its context", followEnds},
		{"many writers, nothing lost", manyWriters},
	} {
		t.Run(law.name, func(t *testing.T) { law.test(t, open(t)) })
	}
}

// Listener follows a journal and records what it received.
type Listener struct {
	mu      sync.Mutex
	entries []string
	lives   []bool
	changed chan struct{}
}

// Listen follows j until the test ends.
func Listen(t *testing.T, j store.Journal) *Listener {
	t.Helper()
	l := &Listener{changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		j.Follow(ctx, func(e []byte) { l.note(func() { l.entries = append(l.entries, string(e)) }) },
			func(up bool) { l.note(func() { l.lives = append(l.lives, up) }) })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

func (l *Listener) note(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

// Wait waits until ok, which gets the entries received so far and every argument of live; it fails
// the test after 20 s.
func (l *Listener) Wait(t *testing.T, what string, ok func(entries []string, lives []bool) bool) {
	t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for {
		l.mu.Lock()
		good, changed := ok(l.entries, l.lives), l.changed
		entries, lives := slices.Clone(l.entries), slices.Clone(l.lives)
		l.mu.Unlock()
		if good {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			t.Fatalf("waited for %s; received %.200q, live %v", what, entries, lives)
		}
	}
}

// Live waits until the last argument of live is true.
func (l *Listener) Live(t *testing.T) {
	t.Helper()
	l.Wait(t, "live", func(_ []string, lives []bool) bool { return len(lives) > 0 && lives[len(lives)-1] })
}

// Receives waits until entry has arrived.
func (l *Listener) Receives(t *testing.T, entry string) {
	t.Helper()
	l.Wait(t, "the entry "+entry, func(entries []string, _ []bool) bool { return slices.Contains(entries, entry) })
}

func appends(t *testing.T, j store.Journal, entry string) {
	t.Helper()
	wantErr(t, "Append", j.Append(t.Context(), []byte(entry)), nil)
}

func allReceive(t *testing.T, replica func() store.Journal) {
	a, b := replica(), replica()
	all := []*Listener{Listen(t, a), Listen(t, b)}
	for _, l := range all {
		l.Live(t)
	}
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprint("entry ", i))
		appends(t, []store.Journal{a, b}[i%2], want[i])
	}
	for _, l := range all {
		l.Receives(t, want[19])
		l.mu.Lock()
		if !slices.Equal(l.entries, want) {
			t.Errorf("received %q, want %q", l.entries, want)
		}
		l.mu.Unlock()
	}
}

func lateReceives(t *testing.T, replica func() store.Journal) {
	appends(t, replica(), "early")
	Listen(t, replica()).Receives(t, "early")
}

func liveMeans(t *testing.T, replica func() store.Journal) {
	j := replica()
	for i := range 300 {
		appends(t, j, fmt.Sprint(i))
	}
	l := Listen(t, replica())
	l.Wait(t, "live", func(entries []string, lives []bool) bool {
		if len(lives) > 0 && !slices.Contains(entries, "299") {
			t.Error("live(true) came before an entry that was appended earlier")
		}
		return len(lives) > 0
	})
}

func wholeEntries(t *testing.T, replica func() store.Journal) {
	j := replica()
	l := Listen(t, j)
	l.Live(t)
	for _, entry := range []string{"\x00\xff\r\n$3", "张三", string(bytes.Repeat([]byte{7}, store.MaxEntry))} {
		appends(t, j, entry)
		l.Receives(t, entry)
	}
}

func entrySizes(t *testing.T, replica func() store.Journal) {
	j := replica()
	wantFailure(t, "Append(nothing)", j.Append(t.Context(), nil))
	wantFailure(t, "Append(too much)", j.Append(t.Context(), make([]byte, store.MaxEntry+1)))
}

func endedAppend(t *testing.T, replica func() store.Journal) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantFailure(t, "Append(ended)", replica().Append(ctx, []byte("x")))
}

func followEnds(t *testing.T, replica func() store.Journal) {
	j := replica()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		j.Follow(ctx, func([]byte) {}, func(bool) { cancel() })
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("Follow goes on after its context has ended")
	}
}

func manyWriters(t *testing.T, replica func() store.Journal) {
	l := Listen(t, replica())
	l.Live(t)
	const writers, each = 4, 100
	var all sync.WaitGroup
	for w := range writers {
		j := replica()
		all.Go(func() {
			for i := range each {
				if err := j.Append(t.Context(), fmt.Appendf(nil, "%d/%d", w, i)); err != nil &&
					!errors.Is(err, context.Canceled) {
					t.Errorf("Append = %v", err)
				}
			}
		})
	}
	all.Wait()
	l.Wait(t, "all entries", func(entries []string, _ []bool) bool {
		unique := map[string]bool{}
		for _, e := range entries {
			unique[e] = true
		}
		return len(unique) == writers*each
	})
}
