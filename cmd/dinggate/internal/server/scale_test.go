package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/dingtalk/simulator"
	"dinggate/session"
)

// TestScaleArrivals: 33 people arrive each second for five minutes, where 20 calls
// a second and API are answered: everybody gets in, nobody is refused; also when a
// replica dies in the middle.
func TestScaleArrivals(t *testing.T) {
	scale(t)
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprintf("kill=%v", kill), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { arrivals(t, kill) })
		})
	}
}

func arrivals(t *testing.T, kill bool) {
	const rate, span = 33, 5 * time.Minute
	f := newFleet(t, 3, nil)
	began := time.Now()
	var mu sync.Mutex
	var waits []time.Duration
	var ends []time.Time
	refused, again := 0, 0
	var all sync.WaitGroup
	if kill {
		all.Go(func() {
			time.Sleep(span / 2)
			f.replicas[1].stop()
		})
	}
	for i := range rate * int(span/time.Second) {
		all.Go(func() {
			time.Sleep(time.Duration(i) * time.Second / rate)
			b := &browser{f: f, address: fmt.Sprintf("198.18.%d.%d", i%100, i/100%250), cookies: map[string]string{}}
			o := b.signIn(fmt.Sprintf("m%05d", i%scalePeople+1), 30*time.Minute)
			mu.Lock()
			defer mu.Unlock()
			refused += o.refused
			if !o.in {
				t.Errorf("m%05d is not in: %+v", i+1, o)
				return
			}
			if o.attempts > 1 {
				again++
			}
			waits, ends = append(waits, o.waited), append(ends, time.Now())
		})
	}
	all.Wait()
	total := time.Since(began)
	slices.Sort(waits)
	slices.SortFunc(ends, time.Time.Compare)
	slowest := len(ends) // sign-ins in any ten seconds while people wait
	for from := 10 * time.Second; from+20*time.Second < total; from += time.Second {
		n := 0
		for _, at := range ends {
			if d := at.Sub(began); d >= from && d < from+10*time.Second {
				n++
			}
		}
		slowest = min(slowest, n)
	}
	t.Logf("%d of %d in, %d refusals, %d went to DingTalk twice; %.1f sign-ins/s over %v, %.1f/s in the slowest ten "+
		"seconds; waited %v median, %v p99, %v at most", len(waits), rate*int(span/time.Second), refused, again,
		float64(len(waits))/total.Seconds(), total.Round(time.Second), float64(slowest)/10, quantile(waits, 0.5),
		quantile(waits, 0.99), quantile(waits, 1))
	f.report(total)
	most := 0
	if kill {
		most = 5 // whose codes the replica was spending when it died: they begin again
	}
	if refused > most {
		t.Errorf("%d refusals, want at most %d", refused, most)
	}
	if got := float64(len(waits)) / total.Seconds(); got < 16.5 {
		t.Errorf("%.1f sign-ins a second, want 17", got)
	}
}

// TestScaleRechecks: 10,000 people at work for an hour cost no request and no late
// confirmation.
func TestScaleRechecks(t *testing.T) {
	scale(t)
	for _, tt := range []struct {
		name     string
		replicas int
		change   func(*config.Config)
		missing  []string
		oldest   time.Duration // 0: only told
	}{
		{"mirror, 3 replicas", 3, nil, nil, 6 * time.Minute},
		{"mirror, 10 replicas", 10, nil, nil, 6 * time.Minute},
		{"without the permission, 3 replicas", 3, nil, []string{"qyapi_get_department_member"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, tt.replicas, tt.change)
				cookies := f.work()
				err := f.platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) { a.Missing = tt.missing })
				if err != nil {
					t.Fatal(err)
				}
				f.hour(cookies, tt.oldest)
			})
		})
	}
}

// work signs everybody in, over five minutes.
func (f *fleet) work() (cookies []string) {
	for i, u := range f.people()[:scalePeople] {
		_, c, err := f.replicas[i%len(f.replicas)].gate.Sessions.Begin(f.t.Context(), session.SignIn{User: u})
		if err != nil {
			f.t.Fatal(err)
		}
		cookies = append(cookies, c.Value)
		time.Sleep(5 * time.Minute / scalePeople)
	}
	return cookies
}

// hour has everybody ask for something each minute.
func (f *fleet) hour(cookies []string, limit time.Duration) {
	const span = time.Hour
	f.reset()
	random := rand.New(rand.NewPCG(1, 2))
	var ages []time.Duration
	var mu sync.Mutex
	served, refused := 0, 0
	reasons := map[string]int{}
	worst := time.Duration(0)
	began := time.Now()
	var all sync.WaitGroup
	for minute := time.Duration(0); minute < span; minute += time.Minute {
		random.Shuffle(len(cookies), func(i, j int) { cookies[i], cookies[j] = cookies[j], cookies[i] })
		for i, text := range cookies {
			on := f.replicas[random.IntN(len(f.replicas))].gate.Sessions
			time.Sleep(time.Until(began.Add(minute + time.Duration(i)*time.Minute/time.Duration(len(cookies)))))
			all.Go(func() {
				ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
				defer cancel()
				s, err := on.Load(ctx, []string{text}, gatewayMaxWait)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					refused++
					reasons[whyRefused(err)]++
					return
				}
				served++
				age := time.Since(s.Checked)
				worst = max(worst, age)
				if i%100 == 0 {
					ages = append(ages, age)
				}
			})
		}
	}
	all.Wait()
	slices.Sort(ages)
	f.t.Logf("%d requests, %d refused %v; the age of a confirmation: %v median, %v p99, %v at most", served, refused, reasons,
		quantile(ages, 0.5), quantile(ages, 0.99), worst.Round(time.Second))
	for i, r := range f.replicas {
		f.t.Logf("replica %d: %+v", i, r.gate.Sessions.Mirror.Stats())
	}
	f.report(span)
	if refused > 0 && limit > 0 {
		f.t.Errorf("%d requests refused, want none", refused)
	}
	if limit > 0 && worst >= limit {
		f.t.Errorf("a confirmation was %v old, want less than %v", worst, limit)
	}
}

func whyRefused(err error) string {
	for _, e := range []error{session.ErrNone, session.ErrExpired, session.ErrRevoked, session.ErrForged, session.ErrStore,
		session.ErrUnconfirmed} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return err.Error()
}

// TestScaleOneAddress: behind one address 600 pages a second are loaded without a
// session for a minute, and 50 colleagues sign in.
func TestScaleOneAddress(t *testing.T) {
	scale(t)
	synctest.Test(t, func(t *testing.T) {
		const loads, span = 600, time.Minute
		f := newFleet(t, 3, func(c *config.Config) { c.DingTalk.Directory = dingtalk.DirectoryLookup })
		const office = "203.0.113.9"
		var mu sync.Mutex
		answers := map[int]int{}
		var waits []time.Duration
		refused := 0
		var all sync.WaitGroup
		all.Go(func() {
			began := time.Now()
			for i := range loads * int(span/time.Second) {
				time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / loads)))
				b := &browser{f: f, address: office, cookies: map[string]string{}}
				res := b.get("/")
				answers[res.StatusCode]++
			}
		})
		for i := range 50 {
			all.Go(func() {
				time.Sleep(5*time.Second + time.Duration(i)*time.Second)
				b := &browser{f: f, address: office, cookies: map[string]string{}}
				o := b.signIn(fmt.Sprintf("m%05d", i+1), 5*time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if refused += o.refused; !o.in {
					t.Errorf("colleague %d is not in: %+v", i+1, o)
				}
				waits = append(waits, o.waited)
			})
		}
		all.Wait()
		slices.Sort(waits)
		t.Logf("page loads by status: %v; 50 colleagues: %d refusals, waited %v median, %v at most", answers, refused,
			quantile(waits, 0.5), quantile(waits, 1))
		if refused > 0 {
			t.Errorf("%d refusals of colleagues, want none", refused)
		}
	})
}
