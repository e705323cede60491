// Package storetest tests implementations of store.Store and store.Journal.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.Store { return open(t) })
//	}
package storetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/store"
)

// Passer is a Store whose clock a test can move, such as one over a fake server whose clock does
// not advance. With any other Store, Run waits in real time.
type Passer interface{ Pass(d time.Duration) }

// Run calls open for an empty store in each subtest; open cleans up with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, law := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"absent is ErrNone", absent},
		{"what is put comes back", puts},
		{"values are copied", copies},
		{"add is once", adds},
		{"take is once", takes},
		{"records expire", expires},
		{"put begins a new life", renews},
		{"a ttl is required", ttlRequired},
		{"an ended context is an error", ended},
		{"one of many adds wins", addRace},
		{"one of many takes wins", takeRace},
		{"swap replaces what was read", swapping(swaps)},
		{"swap begins a new life", swapping(swapLife)},
		{"one of many swaps wins", swapping(swapRace)},
		{"swaps count", swapping(swapCount)},
	} {
		t.Run(law.name, func(t *testing.T) { law.test(t, open(t)) })
	}
}

func absent(t *testing.T, s store.Store) {
	wantErr(t, "Get(absent)", second(s.Get(t.Context(), "k")), store.ErrNotFound)
	wantErr(t, "Take(absent)", second(s.Take(t.Context(), "k")), store.ErrNotFound)
}

func puts(t *testing.T, s store.Store) {
	long := strings.Repeat("k:", 100)
	for key, value := range map[string]string{"a": "1", "a:b": "2", "a:*": "3", long: "\x00\xff\n", "empty": ""} {
		wantErr(t, "Put("+key+")", s.Put(t.Context(), key, []byte(value), time.Hour), nil)
		want(t, s, key, value)
		wantErr(t, "Put("+key+") again", s.Put(t.Context(), key, []byte("new"+value), time.Hour), nil)
		want(t, s, key, "new"+value)
	}
	want(t, s, "a", "new1")
}

func copies(t *testing.T, s store.Store) {
	value := []byte("value")
	wantErr(t, "Put", s.Put(t.Context(), "k", value, time.Hour), nil)
	value[0] = 'X'
	got, _ := s.Get(t.Context(), "k")
	if len(got) > 0 {
		got[0] = 'Y'
	}
	want(t, s, "k", "value")
}

func adds(t *testing.T, s store.Store) {
	wantErr(t, "Add", s.Add(t.Context(), "k", []byte("1"), time.Hour), nil)
	wantErr(t, "Add again", s.Add(t.Context(), "k", []byte("2"), time.Hour), store.ErrExists)
	want(t, s, "k", "1")
	wantErr(t, "Put", s.Put(t.Context(), "p", nil, time.Hour), nil)
	wantErr(t, "Add after Put", s.Add(t.Context(), "p", nil, time.Hour), store.ErrExists)
}

func takes(t *testing.T, s store.Store) {
	wantErr(t, "Put", s.Put(t.Context(), "k", []byte("1"), time.Hour), nil)
	if got, err := s.Take(t.Context(), "k"); err != nil || string(got) != "1" {
		t.Errorf("Take() = %q, %v, want \"1\"", got, err)
	}
	wantErr(t, "Take again", second(s.Take(t.Context(), "k")), store.ErrNotFound)
	wantErr(t, "Get after Take", second(s.Get(t.Context(), "k")), store.ErrNotFound)
	wantErr(t, "Add after Take", s.Add(t.Context(), "k", []byte("2"), time.Hour), nil)
}

func expires(t *testing.T, s store.Store) {
	for _, key := range []string{"get", "take", "add"} {
		wantErr(t, "Put", s.Put(t.Context(), key, []byte("1"), brief), nil)
	}
	wantErr(t, "Add", s.Add(t.Context(), "added", []byte("1"), brief), nil)
	pass(t, s, "added")
	wantErr(t, "Get(expired)", second(s.Get(t.Context(), "get")), store.ErrNotFound)
	wantErr(t, "Take(expired)", second(s.Take(t.Context(), "take")), store.ErrNotFound)
	wantErr(t, "Add(expired)", s.Add(t.Context(), "add", []byte("2"), time.Hour), nil)
	want(t, s, "add", "2")
}

func renews(t *testing.T, s store.Store) {
	wantErr(t, "Put", s.Put(t.Context(), "k", []byte("1"), brief), nil)
	wantErr(t, "Put", s.Put(t.Context(), "k", []byte("2"), time.Hour), nil)
	wantErr(t, "Put", s.Put(t.Context(), "clock", []byte("1"), brief), nil)
	pass(t, s, "clock")
	want(t, s, "k", "2")
}

func ttlRequired(t *testing.T, s store.Store) {
	for _, ttl := range []time.Duration{0, -time.Second} {
		wantFailure(t, "Put(no ttl)", s.Put(t.Context(), "k", nil, ttl))
		wantFailure(t, "Add(no ttl)", s.Add(t.Context(), "k", nil, ttl))
	}
	wantErr(t, "Get", second(s.Get(t.Context(), "k")), store.ErrNotFound)
}

func ended(t *testing.T, s store.Store) {
	wantErr(t, "Put", s.Put(t.Context(), "k", []byte("1"), time.Hour), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantFailure(t, "Get(ended)", second(s.Get(ctx, "k")))
	wantFailure(t, "Get(ended, absent)", second(s.Get(ctx, "absent")))
	wantFailure(t, "Take(ended)", second(s.Take(ctx, "k")))
	wantFailure(t, "Add(ended)", s.Add(ctx, "k", nil, time.Hour))
	wantFailure(t, "Put(ended)", s.Put(ctx, "k", []byte("2"), time.Hour))
	want(t, s, "k", "1")
}

func addRace(t *testing.T, s store.Store) {
	race(t, store.ErrExists, func() error { return s.Add(t.Context(), "k", []byte("1"), time.Hour) })
}

func takeRace(t *testing.T, s store.Store) {
	wantErr(t, "Put", s.Put(t.Context(), "k", []byte("1"), time.Hour), nil)
	race(t, store.ErrNotFound, func() error { return second(s.Take(t.Context(), "k")) })
}

// race calls f from many goroutines: one call succeeds, the others return lost.
func race(t *testing.T, lost error, f func() error) {
	t.Helper()
	var won atomic.Int32
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			switch err := f(); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, lost):
				t.Errorf("a loser got %v, want %v", err, lost)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 50 won, want 1", won.Load())
	}
}

// brief is the ttl of a record that a test sees expire.
const brief = 50 * time.Millisecond

// pass waits until key has expired.
func pass(t *testing.T, s store.Store, key string) {
	t.Helper()
	if p, ok := s.(Passer); ok {
		p.Pass(2 * brief)
		return
	}
	again := time.NewTicker(brief / 5)
	defer again.Stop()
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); <-again.C {
		if _, err := s.Get(t.Context(), key); errors.Is(err, store.ErrNotFound) {
			return
		}
	}
	t.Fatalf("Get(%q) still finds a record of %v after 10 s", key, brief)
}

func second(_ []byte, err error) error { return err }

func want(t *testing.T, s store.Store, key, value string) {
	t.Helper()
	if got, err := s.Get(t.Context(), key); err != nil || !bytes.Equal(got, []byte(value)) {
		t.Errorf("Get(%q) = %q, %v, want %q", key, got, err, value)
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// wantFailure accepts any error that is not a result.
func wantFailure(t *testing.T, what string, got error) {
	t.Helper()
	if got == nil || errors.Is(got, store.ErrNotFound) || errors.Is(got, store.ErrExists) {
		t.Errorf("%s = %v, want an error that is no answer", what, got)
	}
}
