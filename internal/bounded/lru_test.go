package bounded

import (
	"sync"
	"sync/atomic"
	"testing"
)

type used struct {
	key  int
	last atomic.Int64
	gone atomic.Bool
}

func newUsed(max int) (*LRU[int, *used], func(key int, at int64) *used) {
	m := NewLRU[int](max, func(u *used) int64 { return u.last.Load() }, func(u *used) { u.gone.Store(true) })
	return m, func(key int, at int64) *used {
		u := m.Of(key, func() *used { return &used{key: key} })
		u.last.Store(at)
		return u
	}
}

func TestLRU(t *testing.T) {
	m, use := newUsed(3)
	one := use(1, 10)
	use(2, 20)
	use(3, 30)
	if use(1, 40) != one {
		t.Error("Of made a value that was there")
	}
	use(4, 50)
	if _, ok := m.Get(2); ok || m.Len() != 3 {
		t.Errorf("a full map of %d values still has the one that was away for longest", m.Len())
	}
	m.Sweep(50)
	if _, ok := m.Get(4); !ok || m.Len() != 1 || !one.gone.Load() {
		t.Errorf("Sweep left %d values, want the one used last", m.Len())
	}
	m.DeleteFunc(func(u *used) bool { return u.key == 4 })
	for range m.Values() {
		t.Error("DeleteFunc left a value")
	}
}

// TestLRU_Bound: for any number of callers, never more than the bound, and one value per key.
func TestLRU_Bound(t *testing.T) {
	m, use := newUsed(50)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 2000 {
				use(i*7%300+g%2, int64(i))
				if n := m.Len(); n > 50 {
					t.Errorf("%d values, want at most 50", n)
					return
				}
			}
		})
	}
	all.Wait()
}
