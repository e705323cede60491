package redisstore

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"dinggate/internal/realtool"
	"dinggate/store/storetest"
)

// TestClusterJournal: each of three masters is unavailable for 10 s in turn. The journal stays
// live, entries are appended and received all the time, and a follower that begins meanwhile is
// live too; with two masters unavailable it reports that it is not.
func TestClusterJournal(t *testing.T) {
	url, masters := realtool.StartCluster(t, 3, time.Minute, "no")
	a, b := open(t, url, impatient), open(t, url, impatient)
	where := map[int]bool{}
	for _, name := range a.streams {
		where[slotOf(name)*3/slotCount] = true
	}
	if len(where) != 3 {
		t.Fatalf("the streams %q are on %d masters, want 3", a.streams, len(where))
	}
	l := storetest.Listen(t, b)
	l.Live(t)
	for i, r := range masters {
		r.Kill()
		failed, longest := 0, time.Duration(0)
		tick := time.NewTicker(100 * time.Millisecond)
		for n := range 100 { // 10 s
			<-tick.C
			begin, entry := time.Now(), fmt.Sprintf("%d/%d", i, n)
			if err := a.Append(t.Context(), []byte(entry)); err != nil {
				failed++
				t.Logf("Append(%s) = %v", entry, err)
				continue
			}
			longest = max(longest, time.Since(begin))
			l.Receives(t, entry)
			if n == 50 {
				storetest.Listen(t, open(t, url, impatient)).Live(t)
			}
		}
		tick.Stop()
		t.Logf("master %d away for 10 s: %d of 100 appends failed, the longest took %v", i, failed, longest)
		if failed > 0 {
			t.Errorf("master %d away: %d of 100 appends failed, want none", i, failed)
		}
		l.Wait(t, "live all the time", func(_ []string, lives []bool) bool {
			if len(lives) != 1 {
				t.Errorf("master %d away: live was %v, want it once", i, lives)
			}
			return true
		})
		r.Start()
		r.Await("all slots", func() bool { return a.Ping(t.Context()) == nil })
		later := open(t, url, impatient) // whose streams are all live before the next master stops
		storetest.Listen(t, later).Live(t)
		r.Await("the third stream", func() bool { return b.client.XLen(t.Context(), b.streams[slotStream(b, i)]).Val() > 1 })
		followers := 1 + 2*(i+1) // b and, for each master so far, two that began during and after its outage
		r.Await("every follower at this stream again", func() bool {
			_, blocked, _ := strings.Cut(r.Do("INFO", "clients"), "blocked_clients:")
			n, _ := strconv.Atoi(strings.Fields(blocked + " 0")[0])
			return n >= followers
		})
	}
	masters[0].Kill()
	masters[1].Kill()
	l.Wait(t, "live(false) with two of three away", ends(false))
	if err := a.Append(t.Context(), []byte("one of three")); err == nil {
		t.Error("Append with two of three masters away = nil")
	}
	masters[0].Start()
	l.Live(t)
	masters[1].Start()
	masters[1].Await("all slots", func() bool { return a.Ping(t.Context()) == nil })
}

// slotStream is the stream on master i of three.
func slotStream(s *Store, i int) int {
	for n, name := range s.streams {
		if slotOf(name)*3/slotCount == i {
			return n
		}
	}
	return -1
}

// TestStreamsHang: a master that hangs delays a call by no more than one operation, and the
// entries of one writer stay in order.
func TestStreamsHang(t *testing.T) {
	url, masters := realtool.StartCluster(t, 3, time.Minute, "no")
	a, b := open(t, url, impatient), open(t, url, impatient)
	l := storetest.Listen(t, b)
	l.Live(t)
	masters[1].Hang()
	for n := range 5 {
		begin := time.Now()
		if err := a.Append(t.Context(), fmt.Append(nil, n)); err != nil {
			t.Errorf("Append with a master that hangs = %v", err)
		}
		t.Logf("Append with a master that hangs: %v", time.Since(begin))
		l.Receives(t, fmt.Sprint(n))
	}
	masters[1].Wake()
}
