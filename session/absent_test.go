package session

import (
	"errors"
	"fmt"
	"testing"
)

func TestAbsent(t *testing.T) {
	for _, tt := range []struct {
		err           error
		absent, stale bool
	}{
		{ErrNone, true, false},
		{ErrForged, true, true},
		{ErrExpired, true, true},
		{fmt.Errorf("loading: %w", ErrRevoked), true, true},
		{ErrStore, false, false},
		{fmt.Errorf("loading: %w", ErrUnconfirmed), false, false},
		{errors.New("unknown"), false, false},
	} {
		if got := Absent(tt.err); got != tt.absent {
			t.Errorf("Absent(%v) = %v, want %v", tt.err, got, tt.absent)
		}
		if got := Stale(tt.err); got != tt.stale {
			t.Errorf("Stale(%v) = %v, want %v", tt.err, got, tt.stale)
		}
	}
}
