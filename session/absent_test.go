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
		code          string
	}{
		{ErrNone, true, false, "store_unavailable"},
		{ErrForged, true, true, "store_unavailable"},
		{ErrExpired, true, true, "store_unavailable"},
		{fmt.Errorf("loading: %w", ErrRevoked), true, true, "store_unavailable"},
		{ErrStore, false, false, "store_unavailable"},
		{fmt.Errorf("loading: %w", ErrUnconfirmed), false, false, "unconfirmed"},
		{errors.New("unknown"), false, false, "store_unavailable"},
	} {
		if got := Absent(tt.err); got != tt.absent {
			t.Errorf("Absent(%v) = %v, want %v", tt.err, got, tt.absent)
		}
		if got := Stale(tt.err); got != tt.stale {
			t.Errorf("Stale(%v) = %v, want %v", tt.err, got, tt.stale)
		}
		if got := FailureCode(tt.err); !tt.absent && got != tt.code {
			t.Errorf("FailureCode(%v) = %q, want %q", tt.err, got, tt.code)
		}
	}
}
