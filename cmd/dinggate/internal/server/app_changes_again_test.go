package server

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/simulator"
)

// TestAppChanges_Again changes the app's visible range ten times within two seconds, of which any
// replica receives the events. The person whom the first change leaves out, and the one whom the
// last one does, are out in time, and all changes together cost two rounds.
func TestAppChanges_Again(t *testing.T) {
	for _, tt := range []struct {
		people, replicas int
		lists            bool          // whether the app may read the lists of the directory
		within           time.Duration // of the change
		lookups          int           // at most, of one person each
	}{
		{20, 1, true, 5 * time.Second, 2 * 36},
		{20, 3, true, 5 * time.Second, 90},
		{400, 2, true, 15 * time.Second, 60},
		{400, 2, false, 30 * time.Second, 2 * 430},
		{scalePeople, 3, true, 3 * time.Minute, 200},
		{scalePeople, 3, false, 11 * time.Minute, scalePeople * 11 / 10},
	} {
		t.Run(fmt.Sprintf("%d people, %d replicas, lists %v", tt.people, tt.replicas, tt.lists), func(t *testing.T) {
			if tt.people == scalePeople {
				scale(t)
			}
			synctest.Test(t, func(t *testing.T) {
				f := newFleetOf(t, tt.people, tt.replicas, func(c *config.Config) {
					c.DingTalk.Events = true
					c.Session.Recheck, c.Session.Lifetime = 72*time.Hour, 30*24*time.Hour
				})
				var missing []string
				if !tt.lists {
					missing = []string{"qyapi_get_department_member"}
				}
				if err := f.platform.Join(simulator.Person{ID: "last", Record: simulator.Record{Name: "最后", Departments: []int64{43}}}); err != nil {
					t.Fatal(err)
				}
				cookies := f.signedIn(missing)
				f.connected(tt.replicas)
				time.Sleep(10 * time.Minute)
				f.reset()
				began := time.Now()
				for i := range 10 {
					f.changeRange(i)
					time.Sleep(200 * time.Millisecond)
				}
				for person, after := range map[string]time.Duration{"human": 0, "last": 9 * 200 * time.Millisecond} {
					for f.in(dayEnd{}, cookies[person]) && time.Since(began) < after+2*tt.within {
						time.Sleep(50 * time.Millisecond)
					}
				}
				took := time.Since(began)
				if took > tt.within+9*200*time.Millisecond {
					t.Errorf("both are out after %v, want at most %v", took, tt.within)
				}
				time.Sleep(12 * time.Minute)
				if !f.in(dayEnd{}, cookies["m00009"]) {
					t.Error("a person who lost nothing is out")
				}
				f.mu.Lock()
				lookups := maps.Clone(f.received)
				f.mu.Unlock()
				t.Logf("both out after %v; %d lookups of %d people, %d pages of lists", took.Round(10*time.Millisecond),
					lookups["/topapi/v2/user/get"], len(cookies), lookups["/topapi/v2/user/list"])
				if n := lookups["/topapi/v2/user/get"]; n > tt.lookups {
					t.Errorf("%d lookups of %d people, want at most %d", n, len(cookies), tt.lookups)
				}
				if !tt.lists && f.refused["/topapi/v2/user/get"] > 0 {
					t.Errorf("DingTalk throttled %d calls", f.refused["/topapi/v2/user/get"])
				}
			})
		})
	}
}

// changeRange makes one of ten changes: the first leaves out department 44, the last also 43, the
// others change nothing.
func (f *fleet) changeRange(i int) {
	f.t.Helper()
	scope := []int64{42, 43}
	if i == 9 {
		scope = []int64{42}
	}
	for id := range int64(10) {
		scope = append(scope, 100_000+id)
	}
	err := f.platform.ChangeApp("", func(a *simulator.App) {
		a.Scope, a.Range, a.RangeUsers = scope, scope, []string{fmt.Sprint(i)}
	})
	if err != nil {
		f.t.Fatal(err)
	}
}
