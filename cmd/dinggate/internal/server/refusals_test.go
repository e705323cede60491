package server

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/keyring"
	"dinggate/store/storetest"
)

func testKeyring(t *testing.T, secrets ...string) *keyring.Keyring {
	t.Helper()
	var list []conf.Secret
	for _, s := range secrets {
		list = append(list, conf.NewSecret(base64.StdEncoding.EncodeToString([]byte(s+strings.Repeat("x", 32-len(s))))))
	}
	k, err := keyring.New(list)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// pendingNow counts the refusals that are not written yet.
func (r *refusals) pendingNow() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending)
}

func aRefusal(user string, at time.Time) refusal {
	return refusal{At: at.UnixNano(), Name: "张三", User: user, UserID: user, Code: "not_allowed", Host: "app.example.com",
		Route: "/admin/", Client: netip.MustParseAddr("192.0.2.1"), Device: "Chrome · Linux"}
}

func names(list []refusal) (all []string) {
	for _, one := range list {
		all = append(all, one.User)
	}
	return all
}

// TestRefusals_Replicas checks that each replica lists the refusals of all replicas in the
// last day, once, the newest first.
func TestRefusals_Replicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := storetest.NewFaulty(), testKeyring(t, "one")
		a, b := newRefusals(s), newRefusals(s)
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { a.run(ctx, k) })
		all.Go(func() { b.run(ctx, k) })
		began := time.Now()
		for i := range 6 {
			time.Sleep(time.Millisecond)
			[]*refusals{a, b}[i%2].add(aRefusal("user"+strconv.Itoa(i), time.Now()))
		}
		want := []string{"user5", "user4", "user3", "user2", "user1", "user0"}
		if got, err := a.list(t.Context(), k, time.Now()); err != nil || !slices.Equal(names(got), []string{"user4", "user2", "user0"}) {
			t.Errorf("before anything is written a lists %v, %v", names(got), err)
		}
		time.Sleep(2 * refusalFlush)
		for name, r := range map[string]*refusals{"a": a, "b": b, "a later one": newRefusals(s)} {
			got, err := r.list(t.Context(), k, time.Now())
			if err != nil || !slices.Equal(names(got), want) {
				t.Errorf("%s lists %v, %v, want %v", name, names(got), err, want)
			}
		}
		if got, _ := a.list(t.Context(), k, time.Now()); got[0] != aRefusal("user5", began.Add(6*time.Millisecond)) {
			t.Errorf("an entry is %+v", got[0])
		}
		if got, err := a.list(t.Context(), testKeyring(t, "two"), time.Now()); err != nil || len(got) != 0 {
			t.Errorf("with another secret %v, %v, want none", names(got), err)
		}
		if got, err := a.list(t.Context(), testKeyring(t, "two", "one"), time.Now()); err != nil || len(got) != 6 {
			t.Errorf("with a new secret before the old one %v, %v, want all", names(got), err)
		}
		if got, _ := a.list(t.Context(), k, time.Now().Add(refusalsFor-time.Millisecond)); len(got) >= 6 {
			t.Errorf("a day later %v are listed", names(got))
		}
		b.add(aRefusal("last", time.Now()))
		stop() // the end of the process writes pending refusals
		all.Wait()
		if got, _ := a.list(t.Context(), k, time.Now()); len(got) != 7 {
			t.Errorf("after the end of b %v are listed", names(got))
		}
	})
}

// TestRefusals_StoreAway checks that no refusal is lost while the Store does not answer,
// and that the list is reported as incomplete.
func TestRefusals_StoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, k := storetest.NewFaulty(), testKeyring(t, "one")
		r := newRefusals(s)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go r.run(ctx, k)
		s.Away.Store(true)
		r.add(aRefusal("lisi", time.Now()))
		time.Sleep(time.Minute)
		if got, err := r.list(t.Context(), k, time.Now()); err == nil || len(got) != 1 {
			t.Errorf("while the store is away %v, %v, want the entry and an error", names(got), err)
		}
		for range 2 * refusalsMax {
			r.add(aRefusal("flood", time.Now()))
		}
		if got, _ := r.list(t.Context(), k, time.Now()); r.pendingNow() > refusalsMax || len(got) > refusalsMax {
			t.Errorf("%d are pending and %d listed, more than %d", r.pendingNow(), len(got), refusalsMax)
		}
		s.Away.Store(false)
		time.Sleep(2 * refusalRetry)
		if n := r.pendingNow(); n != 0 {
			t.Errorf("%d are pending after the store came back", n)
		}
		stop()
		synctest.Wait()
	})
}

// TestRefusals_Ring checks that the newest refusals are stored, in records that every store
// accepts, and that replicas that write at the same time lose none.
func TestRefusals_Ring(t *testing.T) {
	s, k := storetest.NewFaulty(), testKeyring(t, "one")
	at := time.Now()
	var all sync.WaitGroup
	const replicas, each = 4, 450 // the ring holds about 680 of this size
	for n := range replicas {
		r := newRefusals(s)
		all.Go(func() {
			for i := range each {
				one := aRefusal(fmt.Sprintf("r%d-%d", n, i), at.Add(time.Duration(i*replicas+n)))
				one.Name = strings.Repeat("<", 100) // six bytes each in JSON
				r.add(one)
				for i%50 == 49 && r.flush(t.Context(), k) != nil { // contended: retry
				}
			}
		})
	}
	all.Wait()
	got, err := newRefusals(s).list(t.Context(), k, at)
	if err != nil || len(got) < 400 || len(got) > refusalsMax {
		t.Fatalf("%d are listed, %v", len(got), err)
	}
	newest := map[string]int{}
	for _, one := range got {
		var n, i int
		if _, err := fmt.Sscanf(one.User, "r%d-%d", &n, &i); err != nil {
			t.Fatal(err)
		}
		newest[strconv.Itoa(n)] = max(newest[strconv.Itoa(n)], i)
	}
	total := 0
	for space := range refusalSlots {
		spaces, _ := (&refusalLog{}).spaces(k)
		raw, err := s.Get(t.Context(), spaces[0]+strconv.Itoa(space))
		if err != nil || len(raw) > 64<<10 {
			t.Errorf("slot %d has %d bytes, %v", space, len(raw), err)
		}
		total += len(raw)
	}
	t.Logf("%d of %d stored, %d bytes, the newest of each replica %v", len(got), replicas*each, total, newest)
}
