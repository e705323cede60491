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

// TestScaleArrivals: 33 people arrive per second for five minutes, while DingTalk answers
// 20 calls per second and API. All of them sign in, none is refused, also if a replica
// ends in the middle.
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
		most = 5 // whose codes the replica was redeeming when it ended: they start again
	}
	if refused > most {
		t.Errorf("%d refusals, want at most %d", refused, most)
	}
	if got := float64(len(waits)) / total.Seconds(); got < 16.5 {
		t.Errorf("%.1f sign-ins a second, want 17", got)
	}
}

// TestScaleRechecks: 10,000 people at work for an hour cause no refused request and no
// late confirmation. Without the permission to list members, confirmations become older,
// and no request is refused either.
func TestScaleRechecks(t *testing.T) {
	scale(t)
	for _, tt := range []struct {
		name     string
		replicas int
		change   func(*config.Config)
		missing  []string
		oldest   time.Duration
	}{
		{"mirror, 3 replicas", 3, nil, nil, 6 * time.Minute},
		{"mirror, 10 replicas", 10, nil, nil, 6 * time.Minute},
		{"without the permission, 3 replicas", 3, nil, []string{"qyapi_get_department_member"}, 13 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, tt.replicas, tt.change)
				f.hour(f.work(tt.missing), tt.oldest)
			})
		})
	}
}

// work signs everyone in within five minutes; the app lacks these permissions.
func (f *fleet) work(missing []string) (cookies []string) {
	people := f.people()[:f.size]
	err := f.platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) { a.Missing = missing })
	if err != nil {
		f.t.Fatal(err)
	}
	for i, u := range people {
		_, c, err := f.replicas[i%len(f.replicas)].gateway.Sessions.Begin(f.t.Context(), session.SignIn{User: u})
		if err != nil {
			f.t.Fatal(err)
		}
		cookies = append(cookies, c.Value)
		time.Sleep(5 * f.minute / time.Duration(len(people)))
	}
	return cookies
}

// hour makes each person send a request every minute, except one in fifty, who returns
// after half an hour.
func (f *fleet) hour(cookies []string, limit time.Duration) {
	span := time.Duration(f.minutes) * f.minute
	f.reset()
	random := rand.New(rand.NewPCG(1, 2))
	people := random.Perm(len(cookies))
	var ages, back []time.Duration
	var mu sync.Mutex
	served, refused := 0, 0
	reasons := map[string]int{}
	var worst, oldest time.Duration // of people at work; of those who return
	gauge, overdue := time.Duration(0), 0
	began := time.Now()
	var all sync.WaitGroup
	for minute := range f.minutes {
		random.Shuffle(len(people), func(i, j int) { people[i], people[j] = people[j], people[i] })
		for i, person := range people {
			away := person%50 == 0
			if away && (minute+person/50)%30 != 0 {
				continue
			}
			on := f.replicas[random.IntN(len(f.replicas))].gateway.Sessions
			time.Sleep(time.Until(began.Add(time.Duration(minute)*f.minute + time.Duration(i)*f.minute/time.Duration(len(people)))))
			all.Go(func() {
				ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
				defer cancel()
				sent := time.Now()
				s, err := on.Load(ctx, []string{cookies[person]}, gatewayMaxWait)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					refused++
					reasons[whyRefused(err)]++
					return
				}
				served++
				age := time.Since(s.Checked)
				if away {
					back, oldest = append(back, time.Since(sent)), max(oldest, age)
					return
				}
				worst = max(worst, age)
				if i%100 == 0 {
					ages = append(ages, age)
				}
			})
		}
		for _, r := range f.replicas {
			known := r.gateway.Sessions.Stats()
			gauge, overdue = max(gauge, known.Oldest), max(overdue, known.Overdue)
		}
	}
	all.Wait()
	slices.Sort(ages)
	slices.Sort(back)
	f.t.Logf("%d requests, %d refused %v; the age of a confirmation: %v median, %v p99, %v at most", served, refused, reasons,
		quantile(ages, 0.5), quantile(ages, 0.99), worst.Round(time.Second))
	f.t.Logf("the gauges: oldest confirmation %v, people overdue %d at most; %d requests after half an hour waited %v median, "+
		"%v p99, %v at most, their confirmations were %v old at most", gauge.Round(time.Second), overdue, len(back),
		quantile(back, 0.5), quantile(back, 0.99), quantile(back, 1), oldest.Round(time.Second))
	for i, r := range f.replicas {
		f.t.Logf("replica %d: %+v", i, r.gateway.Sessions.Mirror.Stats())
	}
	f.report(span)
	if refused > 0 {
		f.t.Errorf("%d requests refused, want none", refused)
	}
	if worst >= limit {
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

// TestScaleOneAddress: from one address, 600 pages per second are loaded without a session
// for a minute, while 50 colleagues sign in.
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
