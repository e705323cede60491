package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestLease_IsRenewed(t *testing.T) { // threats V11
	synctest.Test(t, func(t *testing.T) {
		db := new(Memory)
		l, err := acquireLease(t.Context(), db, "lease:x")
		for range 10 {
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(leaseTime)
			if _, err := acquireLease(t.Context(), db, "lease:x"); !errors.Is(err, ErrExists) {
				t.Fatalf("acquireLease() beside a holder at work = %v, want ErrExists", err)
			}
		}
		l.Release(false)
		other, err := acquireLease(t.Context(), db, "lease:x")
		if err != nil {
			t.Fatalf("acquireLease() after the end = %v", err)
		}
		l.Release(true) // late: another caller has it now
		other.Release(true)
		time.Sleep(leasePause - time.Second)
		if _, err := acquireLease(t.Context(), db, "lease:x"); !errors.Is(err, ErrExists) {
			t.Errorf("acquireLease() in the pause after a failure = %v, want ErrExists", err)
		}
		time.Sleep(2 * time.Second)
		if l, err = acquireLease(t.Context(), db, "lease:x"); err != nil {
			t.Errorf("acquireLease() after the pause = %v", err)
		}
		l.Release(true)
		began := time.Now()
		_, err = AwaitLease(t.Context(), db, "lease:x", func(context.Context) (bool, error) { return false, nil })
		if !errors.Is(err, ErrTriedElsewhere) || time.Since(began) > 0 {
			t.Errorf("AwaitLease() in the pause = %v after %v, want ErrTriedElsewhere at once", err, time.Since(began))
		}
	})
}
