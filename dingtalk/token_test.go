package dingtalk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/identity"
)

// script answers requests without a socket, so that time can be virtual.
type script func(*http.Request) (status int, body string)

func (s script) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := s(r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status,
		Header:     http.Header{},
		Body:       io.NopCloser(bytes.NewReader([]byte(body))),
		Request:    r,
	}, nil
}

// tokens is a DingTalk that only issues tokens, numbered.
type tokens struct {
	mu    sync.Mutex
	count int
	life  string
	down  bool
	slow  time.Duration
}

func (s *tokens) answer(*http.Request) (int, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	time.Sleep(s.slow) // virtual
	if s.down {
		return 503, ""
	}
	return 200, fmt.Sprintf(`{"accessToken":"t%d",%s}`, s.count, s.life)
}

func TestTokenLife(t *testing.T) {
	for _, c := range []struct {
		life string
		at   time.Duration
		want string
	}{
		{`"expireIn":7200`, 0, "t1"}, {`"expireIn":7200`, 109 * time.Minute, "t1"},
		{`"expireIn":7200`, 111 * time.Minute, "t2"}, {`"expireIn":7200`, 3 * time.Hour, "t2"},
		{`"expiresIn":3600`, 49 * time.Minute, "t1"}, {`"expiresIn":3600`, 51 * time.Minute, "t2"},
		{`"expireIn":"7200"`, 109 * time.Minute, "t1"}, {`"x":0`, 109 * time.Minute, "t1"},
		{`"x":0`, 111 * time.Minute, "t2"},
		{`"expireIn":-5`, 109 * time.Minute, "t1"}, {`"expireIn":1`, 29 * time.Second, "t1"},
		{`"expireIn":1`, 31 * time.Second, "t2"},
		{`"expireIn":9000000000000000000`, 25 * time.Hour, "t2"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &tokens{life: c.life}
			client := &Client{Transport: script(s.answer)}
			if _, err := client.appToken(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(c.at)
			if got, err := client.appToken(t.Context()); got != c.want {
				t.Errorf("appToken of %s after %v = %s, %v, want %s", c.life, c.at, got, err, c.want)
			}
		})
	}
}

// An early renewal that fails leaves the old token, and is not repeated on every call.
func TestTokenRenewalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{life: `"expireIn":7200`}
		client := &Client{Transport: script(s.answer)}
		client.appToken(t.Context())
		s.down = true
		time.Sleep(115 * time.Minute)
		for range 10 {
			if got, err := client.appToken(t.Context()); got != "t1" {
				t.Errorf("appToken = %s, %v, want t1", got, err)
			}
		}
		if s.count != 2 {
			t.Errorf("%d calls, want 2", s.count)
		}
		time.Sleep(6 * time.Minute)
		_, err := client.appToken(t.Context())
		if f, ok := errors.AsType[*identity.Failure](err); !ok || f.Class != identity.Later {
			t.Errorf("appToken after its end = %v, want a Failure of class Later", err)
		}
	})
}

// An early renewal without an answer delays calls by at most half a second, since the old token
// is valid, and ends as one that fails.
func TestTokenRenewalHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{life: `"expireIn":7200`}
		client := &Client{Transport: script(s.answer)}
		client.appToken(t.Context())
		s.slow = time.Minute
		time.Sleep(115 * time.Minute)
		for range 10 {
			began := time.Now()
			if got, err := client.appToken(t.Context()); got != "t1" || time.Since(began) > 500*time.Millisecond {
				t.Errorf("appToken = %s, %v after %v, want t1 after half a second at most", got, err, time.Since(began))
			}
		}
		time.Sleep(75 * time.Second)
		began := time.Now()
		if got, err := client.appToken(t.Context()); got != "t1" || time.Since(began) > 0 || s.count != 2 {
			t.Errorf("afterwards: %s, %v after %v and %d calls, want t1 at once and 2", got, err, time.Since(began), s.count)
		}
	})
}

// A hundred callers share one call; a caller that gives up does not cancel it for the
// others.
func TestTokenSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{life: `"expireIn":7200`, slow: 2 * time.Second}
		client := &Client{Transport: script(s.answer)}
		first, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() {
			if _, err := client.appToken(first); !errors.Is(err, context.Canceled) {
				t.Errorf("appToken of the one who left = %v, want context.Canceled", err)
			}
		})
		synctest.Wait() // this caller starts the call
		for range 100 {
			wait.Go(func() {
				if got, err := client.appToken(t.Context()); got != "t1" {
					t.Errorf("appToken = %s, %v, want t1", got, err)
				}
			})
		}
		time.Sleep(time.Second)
		cancel()
		wait.Wait()
		if s.count != 1 {
			t.Errorf("%d calls, want 1", s.count)
		}
	})
}

// -1 is retried three times, with growing delays, within the deadline.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		client := &Client{Transport: script(func(r *http.Request) (int, string) {
			if r.URL.Path == pathAppToken {
				return 200, `{"accessToken":"t"}`
			}
			calls++
			return 200, `{"errcode":-1,"errmsg":"系统繁忙"}`
		})}
		began := time.Now()
		_, err := (&Directory{Client: client}).Person(t.Context(), "u1")
		if took := time.Since(began); err == nil || calls != 4 || took < 875*time.Millisecond ||
			took > 1750*time.Millisecond {
			t.Errorf("Person = %v after %d calls in %v, want an error after 4 in about 1s", err, calls, took)
		}
	})
}

// The circuit of a throttled path is closed by a single successful call, and stays open
// twice as long if that call fails; other paths are not affected (threats V3).
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttled, calls := true, map[string]int{}
		client := &Client{Transport: script(func(r *http.Request) (int, string) {
			calls[r.URL.Path]++
			switch {
			case r.URL.Path == pathAppToken:
				return 200, `{"accessToken":"t"}`
			case r.URL.Path == pathUserGet && throttled:
				return 200, `{"errcode":90018,"errmsg":"x"}`
			case r.URL.Path == pathUserGet:
				return 200, `{"errcode":0,"result":{"userid":"p1","unionid":"u1","active":true}}`
			}
			return 200, `{"errcode":0,"result":{"contact_type":0,"userid":"p1"}}`
		})}
		dir := &Directory{Client: client}
		code := func() string {
			_, err := dir.Person(t.Context(), "u1")
			if f, ok := errors.AsType[*identity.Failure](err); ok {
				return f.Code
			}
			return ""
		}
		for _, c := range []struct {
			wait  time.Duration
			still bool
			want  string
			calls int
		}{
			{0, true, "throttled", 1}, {0, true, "throttled", 1}, {900 * time.Millisecond, true, "throttled", 1},
			{400 * time.Millisecond, true, "throttled", 2}, {1900 * time.Millisecond, true, "throttled", 2},
			{time.Second, true, "throttled", 3},
			{5 * time.Second, false, "", 4}, {0, false, "", 5},
		} {
			time.Sleep(c.wait)
			throttled = c.still
			if got := code(); got != c.want || calls[pathUserGet] != c.calls {
				t.Errorf("Person after %v = %q, %d calls, want %q, %d", c.wait, got, calls[pathUserGet], c.want,
					c.calls)
			}
		}
		if calls[pathGetByUnionID] != 8 {
			t.Errorf("%d calls of getbyunionid, want 8: its circuit breaker is another", calls[pathGetByUnionID])
		}
	})
}

// A half-open call whose outcome is unknown allows the next one; only one call at a time.
func TestCircuitBreakerTries(t *testing.T) {
	var g circuitBreaker
	now := time.Now()
	g.record("a", now, throttled)
	later := now.Add(2 * time.Second)
	for i, c := range []struct {
		enter bool
		after outcome
		want  bool
	}{{true, -1, true}, {true, -1, false}, {false, unknown, true}, {true, -1, true}, {false, answered, true},
		{true, -1, true}, {true, -1, true}} {
		if c.enter {
			if got := g.allow("a", later); got != c.want {
				t.Errorf("step %d: enter = %v, want %v", i, got, c.want)
			}
			continue
		}
		g.record("a", later, c.after)
	}
	if len(g.states) != 0 {
		t.Errorf("%d circuit breakers are open, want 0", len(g.states))
	}
}

// No more concurrent calls than InFlight; the others wait within their deadline.
func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most, late := 0, 0, 0
		client := &Client{InFlight: 3, Transport: script(func(*http.Request) (int, string) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return 400, `{"code":"invalidCode"}`
		})}
		login := &WebLogin{Client: client}
		var wait sync.WaitGroup
		for range 30 {
			wait.Go(func() {
				if _, _, err := login.Exchange(t.Context(), "the-code", ""); errors.Is(err, context.DeadlineExceeded) {
					mu.Lock()
					late++
					mu.Unlock()
				}
			})
		}
		wait.Wait()
		if most != 3 || late < 6 || late > 9 {
			t.Errorf("%d calls at once, %d too late, want 3 and what 3 a second leave over after 8s", most, late)
		}
	})
}
