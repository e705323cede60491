package session

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestManager_OutlivesAJournalLostTwice: while the Store is unreachable, the journal is back for a
// moment: the grace period still begins with the first loss (threats V14).
func TestManager_OutlivesAJournalLostTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		m := f.all[0]
		_, c := signIn(t, m, zhangsan)
		allows(t, m, c.Value)
		f.store.set(errors.New("connection refused"), false)
		f.journal.Cut()
		for range 3 {
			time.Sleep(time.Second)
			f.journal.Mend()
			synctest.Wait()
			time.Sleep(time.Second)
			f.journal.Cut()
			synctest.Wait()
			allows(t, m, c.Value)
		}
		time.Sleep(m.Config.StoreGrace)
		refuses(t, m, ErrStore, c.Value)
	})
}

// TestManager_OneWaitsForASilentStore: of the requests of a session that continues while the Store
// does not answer, one in two seconds waits for it.
func TestManager_OneWaitsForASilentStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		m := f.all[0]
		_, c := signIn(t, m, zhangsan)
		allows(t, m, c.Value)
		f.store.set(nil, true) // hangs
		f.journal.Cut()
		time.Sleep(trustDisconnected)
		waited := 0
		for range 30 {
			began := time.Now()
			allows(t, m, c.Value)
			if time.Since(began) > 0 {
				waited++
			}
			time.Sleep(100 * time.Millisecond)
		}
		if waited == 0 || waited > 2 {
			t.Errorf("%d of 30 requests in three seconds waited, want one or two", waited)
		}
		f.store.set(nil, false)
	})
}
