package session

import (
	"testing"
	"time"
)

// TestSince: a new configuration begins a new list, and says since when.
func TestSince(t *testing.T) {
	first := manager(t)
	at := time.Now()
	first.Now = func() time.Time { return at }
	if got := Since(first); !got.Equal(at) {
		t.Errorf("Since = %v, want %v", got, at)
	}
	later := at.Add(time.Hour)
	reloaded := manager(t)
	reloaded.Now = func() time.Time { return later }
	reloaded.Inherit(first)
	if got := Since(reloaded); !got.Equal(later) || len(List(reloaded)) != 0 {
		t.Errorf("Since after a change of configuration = %v with %d sessions, want %v with none", got,
			len(List(reloaded)), later)
	}
}
