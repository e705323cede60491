package login

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/internal/ratelimit"
)

// queue gives a turn to the listed places.
type queue struct {
	mu     sync.Mutex
	let    bool
	ahead  int
	places []string
}

func (q *queue) Enter(_ context.Context, id string, _ time.Duration) (ratelimit.Turn, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.places = append(q.places, id)
	return ratelimit.Turn{Mine: q.let, Ahead: q.ahead, Wait: time.Duration(q.ahead) * time.Second}, nil
}

func (q *queue) open(let bool, ahead int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.let, q.ahead = let, ahead
}

func waitingSite(t *testing.T) (*queue, *env) {
	q := &queue{ahead: 12}
	return q, build(t, plan{change: func(f *Flow) { f.Queue = q }})
}

// waits checks that a callback redirects to a URL without its code.
func (b *browser) waits(a answer, code string) string {
	b.t.Helper()
	at := a.Header.Get("Location")
	if a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(at, "/oauth2/callback?waiting=") || strings.Contains(at, code) || b.session() != "" {
		b.t.Fatalf("a callback before its turn = %d to %q, want 303 to the page that waits", a.StatusCode, at)
	}
	return at
}

// TestWaiting: the code is not spent before its turn, the page shows how many people are ahead and
// reloads, and the person finally reaches the requested page.
func TestWaiting(t *testing.T) {
	q, site := waitingSite(t)
	b := site.browser()
	at := b.waits(b.back("zhangsan", b.stateOf(b.visit("/page?x=1"))), "zhangsan")
	for _, ahead := range []int{12, 3} {
		q.open(false, ahead)
		a := b.visit(at)
		if a.StatusCode != http.StatusOK || !strings.Contains(a.text, fmt.Sprint(ahead)) || !strings.Contains(a.text, `<meta http-equiv="refresh"`) {
			t.Errorf("the page = %d %s, want %d before me and a refresh", a.StatusCode, a.text, ahead)
		}
		if strings.Contains(a.text, "zhangsan") {
			t.Error("the page shows the code")
		}
	}
	if n := b.provider.calls.Load(); n != 0 {
		t.Fatalf("%d exchanges before the turn", n)
	}
	q.open(true, 0)
	if a := b.visit(at); a.StatusCode != http.StatusFound || a.Header.Get("Location") != "/page?x=1" || b.session() == "" {
		t.Errorf("its turn = %d to %q, want the page and a session", a.StatusCode, a.Header.Get("Location"))
	}
	if n := b.provider.calls.Load(); n != 1 {
		t.Errorf("%d exchanges, want 1", n)
	}
	for _, id := range q.places {
		if id != q.places[0] {
			t.Errorf("another place on the way: %v", q.places)
		}
	}
}

// TestWaitingClaims: a waiting code is claimed once, and only its own browser can claim it.
func TestWaitingClaims(t *testing.T) {
	for _, tt := range []struct {
		name string
		use  func(mine, other *browser, state, at string) answer
	}{
		{"the address in another browser", func(_, other *browser, _, at string) answer { return other.visit(at) }},
		{"the code under another attempt of another browser", func(_, other *browser, _, _ string) answer {
			return other.back("zhangsan", other.stateOf(other.visit("/")))
		}},
		{"another code under the same attempt", func(mine, _ *browser, state, _ string) answer { return mine.back("lisi", state) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, site := waitingSite(t)
			mine, other := site.browser(), site.browser()
			state := mine.stateOf(mine.visit("/page"))
			at := mine.waits(mine.back("zhangsan", state), "zhangsan")
			q.open(true, 0)
			if a := tt.use(mine, other, state, at); a.StatusCode != http.StatusForbidden || other.session() != "" || mine.session() != "" {
				t.Errorf("= %d to %q, want 403 and no session", a.StatusCode, a.Header.Get("Location"))
			}
			if n := site.provider.calls.Load(); n != 0 {
				t.Errorf("%d exchanges, want none", n)
			}
			if a := mine.visit(at); a.StatusCode != http.StatusFound || mine.session() == "" {
				t.Errorf("the person's own turn after that = %d, want a session", a.StatusCode)
			}
			if a := mine.visit(at); a.StatusCode == http.StatusFound && site.provider.calls.Load() != 1 {
				t.Errorf("a second claim = %d after %d exchanges", a.StatusCode, site.provider.calls.Load())
			}
		})
	}
}

// TestWaitingReload: a reload of the callback continues the same wait.
func TestWaitingReload(t *testing.T) {
	q, site := waitingSite(t)
	b := site.browser()
	state := b.stateOf(b.visit("/page"))
	first := b.waits(b.back("zhangsan", state), "zhangsan")
	if again := b.waits(b.back("zhangsan", state), "zhangsan"); again != first {
		t.Errorf("again = %q, want %q", again, first)
	}
	q.open(true, 0)
	if a := b.back("zhangsan", state); a.StatusCode != http.StatusFound || b.session() == "" {
		t.Errorf("the callback at its turn = %d, want a session", a.StatusCode)
	}
}

// TestWaitingTooLong: a code that has become too old is dropped, and the browser is redirected to
// DingTalk without losing its place.
func TestWaitingTooLong(t *testing.T) {
	q, site := waitingSite(t)
	b := site.browser()
	at := b.waits(b.back("zhangsan", b.stateOf(b.visit("/page"))), "zhangsan")
	site.ahead.Store(int64(3 * time.Minute))
	if a := b.visit(at); a.StatusCode != http.StatusOK {
		t.Fatalf("after 3 minutes = %d, want the page", a.StatusCode)
	}
	site.ahead.Store(int64(codeLife + time.Second))
	state := b.stateOf(b.visit(at)) // 302 to DingTalk
	at = b.waits(b.back("zhangsan-2", state), "zhangsan")
	site.ahead.Store(int64(2 * codeLife))
	q.open(true, 0)
	if a := b.visit(at); a.StatusCode != http.StatusFound || a.Header.Get("Location") != "/page" || b.session() == "" {
		t.Errorf("its turn = %d to %q, want the page and a session", a.StatusCode, a.Header.Get("Location"))
	}
	for _, id := range q.places {
		if id != q.places[0] {
			t.Errorf("the place was lost: %v", q.places)
		}
	}
}

// TestWaitingAsleep: a browser that returns with a code that has expired does not spend it, even if
// it is its turn by then.
func TestWaitingAsleep(t *testing.T) {
	q, site := waitingSite(t)
	b := site.browser()
	at := b.waits(b.back("zhangsan", b.stateOf(b.visit("/page"))), "zhangsan")
	site.ahead.Store(int64(codeLife + time.Second))
	q.open(true, 0)
	state := b.stateOf(b.visit(at)) // 302 to DingTalk
	if n := site.provider.calls.Load(); n != 0 {
		t.Fatalf("%d exchanges of the expired code", n)
	}
	if a := b.back("zhangsan-2", state); a.StatusCode != http.StatusFound || a.Header.Get("Location") != "/page" || b.session() == "" {
		t.Errorf("with a new code = %d to %q, want the page and a session", a.StatusCode, a.Header.Get("Location"))
	}
	if len(q.places) != 2 || q.places[1] != q.places[0] {
		t.Errorf("the place was lost: %v", q.places)
	}
}

// TestWaitingStoreFails: without the store nothing is bound, and nothing used up.
func TestWaitingStoreFails(t *testing.T) {
	_, site := waitingSite(t)
	b := site.browser()
	state := b.stateOf(b.visit("/page"))
	site.store.Away.Store(true)
	b.refused("a callback", b.back("zhangsan", state), 503, "store_unavailable", 0)
	site.store.Away.Store(false)
	b.waits(b.back("zhangsan", state), "zhangsan")
}

// FuzzWaitingAttempt: encoding inverts decoding.
func FuzzWaitingAttempt(f *testing.F) {
	a := newAttempt("", "ding-app", "app.test", "/page", time.Unix(1_700_000_000, 0))
	f.Add(a.encode())
	a.queued, a.code, a.coded = "place", "code", time.Unix(1_700_000_100, 0)
	f.Add(a.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok := decodeAttempt(b); ok {
			if again, ok := decodeAttempt(a.encode()); !ok || again.state != a.state || again.code != a.code || again.queued != a.queued {
				t.Errorf("%x decodes to %+v, then %+v", b, a, again)
			}
		}
	})
}
