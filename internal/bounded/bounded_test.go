package bounded

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMap(t *testing.T) {
	m, now := Map[int, string]{Max: 32}, time.Unix(1000, 0)
	m.Put(1, "a", now.Add(time.Second), now)
	for _, tt := range []struct {
		key  int
		at   time.Time
		want string
		ok   bool
	}{
		{1, now, "a", true},
		{1, now.Add(time.Second - 1), "a", true},
		{1, now.Add(time.Second), "", false},
		{2, now, "", false},
	} {
		if got, ok := m.Get(tt.key, tt.at); got != tt.want || ok != tt.ok {
			t.Errorf("Get(%d, %v) = %q, %v, want %q, %v", tt.key, tt.at.Sub(now), got, ok, tt.want, tt.ok)
		}
	}
	if m.Add(1, "b", now.Add(time.Hour), now) {
		t.Error("Add replaced a value that has not expired")
	}
	if !m.Add(1, "b", now.Add(time.Hour), now.Add(time.Minute)) {
		t.Error("Add did not replace an expired value")
	}
	m.Delete(1)
	if _, ok := m.Get(1, now); ok {
		t.Error("Get after Delete finds a value")
	}
}

// TestMapBound: a full map evicts what expires first, and never what lives longest.
func TestMapBound(t *testing.T) {
	for _, max := range []int{1, 2, 16, 100, 0} {
		m, now := Map[int, int]{Max: max}, time.Unix(1000, 0)
		m.Put(-1, 0, now.Add(time.Hour*24), now)
		limit := m.max()
		for i := range 3 * limit {
			m.Put(i, i, now.Add(time.Duration(i+1)*time.Millisecond), now)
			if m.Len() > limit {
				t.Fatalf("Max %d: %d values", max, m.Len())
			}
		}
		if _, ok := m.Get(-1, now); !ok && limit > 1 {
			t.Errorf("Max %d: the value that lives longest was evicted", max)
		}
	}
}

func TestMapAddIsAtomic(t *testing.T) {
	var m Map[string, int]
	var first atomic.Int32
	var all sync.WaitGroup
	now := time.Unix(1000, 0)
	for i := range 64 {
		all.Go(func() {
			if m.Add("k", i, now.Add(time.Minute), now) {
				first.Add(1)
			}
		})
	}
	all.Wait()
	if n := first.Load(); n != 1 {
		t.Errorf("%d of 64 concurrent Adds were the first, want 1", n)
	}
}
