package server_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/ratelimit"

	"golang.org/x/crypto/bcrypt"
)

// formFrom submits the sign-in form as the client of a trusted proxy.
func formFrom(h *servertest.Env, client, name, password string) *httptest.ResponseRecorder {
	return formWith(h, h.T.Context(), client, name, password)
}

func formWith(h *servertest.Env, ctx context.Context, client, name, password string) *httptest.ResponseRecorder {
	return h.FromWith(ctx, client, "POST", "/oauth2/sign_in?rd=%2F",
		url.Values{"username": {name}, "password": {password}}.Encode(),
		"Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin", "Accept: text/html")
}

// TestOneNetworkIsOneClient: a /48 belongs to one party. Its 65,536 networks share the
// limit of one address.
func TestOneNetworkIsOneClient(t *testing.T) {
	h, _ := servertest.NewWithAccounts(t, account.Off)
	verified := 0
	for i := range 200 {
		if w := formFrom(h, fmt.Sprintf("2001:db8:7:%x::1", i), "zs", "guess"); w.Code == 401 {
			verified++
		}
	}
	if verified > 12 {
		t.Errorf("one /48 guessed %d passwords of one account, want 10", verified)
	}
	if w := formFrom(h, "2001:db8:8::1", "zs", "pw-zs"); w.Code != 303 {
		t.Errorf("another /48 = %d, want 303", w.Code)
	}
}

// TestWrongSecretsPastTheTable: more addresses than the table of failed attempts can hold
// slow down every client with a wrong secret, known or new, and no other client (threats
// T5).
func TestWrongSecretsPastTheTable(t *testing.T) {
	h, p := servertest.NewSSO(t)
	try := func(client, secret string) *httptest.ResponseRecorder {
		return h.From(client, "POST", "/dingtalk/token", "code=x&state=y", "Content-Type: text/plain",
			"Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(p.ID+":"+secret)))
	}
	// Many attempts at once: beyond 64 that wait at one address, the others get 429.
	flood := func(client string) (limited int) {
		codes := make(chan int, 100)
		for range cap(codes) {
			go func() { codes <- try(client, "wrong").Code }()
		}
		for range cap(codes) {
			if <-codes == 429 {
				limited++
			}
		}
		return limited
	}
	for i := range ratelimit.MaxKeys + 100 {
		if w := try(servertest.AddressOf(i), "wrong"); w.Code != 401 {
			t.Fatalf("wrong secret number %d = %d", i, w.Code)
		}
	}
	const newcomer = "203.0.113.9"
	for range 20 {
		try(newcomer, "wrong")
	}
	if n := flood(newcomer); n == 0 {
		t.Errorf("a newcomer past the table's size guesses as fast as it likes")
	}
	if w := try("203.0.113.10", p.Secret); w.Code != 400 {
		t.Errorf("the right secret from elsewhere = %d, want 400 for the code alone", w.Code)
	}
}

// TestWrongPasswordsOfManyAddresses: ninety addresses that send wrong passwords without a pause
// cause more work for bcrypt than there is time. People who sign in meanwhile do not wait
// for these attempts.
func TestWrongPasswordsOfManyAddresses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	var lines strings.Builder
	cost := 9
	if raceEnabled { // the race detector makes bcrypt about ten times slower
		cost = 6
	}
	for _, name := range []string{"zs", "ls", "ci"} {
		hash, err := bcrypt.GenerateFromPassword([]byte("pw-"+name), cost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "%s:%s\n", name, hash)
	}
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	h := servertest.New(t, func(c *config.Config) { c.APITokens, c.Accounts.HtpasswdFile = true, file })
	const clients, office = 90, "198.51.100.20"
	if w := formFrom(h, office, "zs", "pw-zs"); w.Code != 303 {
		t.Fatalf("before the attack = %d", w.Code)
	}
	var all sync.WaitGroup
	var guesses atomic.Int64 // verified
	ctx, stop := context.WithCancel(t.Context())
	defer all.Wait()
	defer stop()
	for i := range clients {
		formFrom(h, servertest.AddressOf(i), "zs", "guess")
		for k := range 6 {
			all.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					name := fmt.Sprint("name", k, "-", n)
					if n%3 == 0 {
						name = "zs"
					}
					switch formWith(h, ctx, servertest.AddressOf(i), name, "guess").Code {
					case 401:
						guesses.Add(1)
					case 429:
						return
					}
				}
			})
		}
	}
	servertest.Eventually(t, "attackers that wait", func() bool { return h.State.InFlight.Load() > clients })
	for _, one := range []struct{ who, from, name string }{
		{"another user", "192.0.2.30", "ls"},
		{"the account that is guessed at, where it signed in before", office, "zs"},
		{"the account that is guessed at, from elsewhere", "192.0.2.31", "zs"},
	} {
		servertest.Eventually(t, one.who, func() bool {
			before := guesses.Load()
			w := formFrom(h, one.from, one.name, "pw-"+one.name)
			ahead := guesses.Load() - before
			slow := w.Code == 503 && ahead < 8 // the machine verified hardly anything meanwhile: try again
			if w.Code != 303 && !slow {
				t.Errorf("%s during the attack = %d, want 303; %d guesses were verified meanwhile", one.who, w.Code, ahead)
			}
			return !slow
		})
	}
	servertest.Eventually(t, "an API client beside the crowd is served", func() bool { // 503: the machine is busy, try again
		w := h.From("192.0.2.32", "GET", "/api/x", "", servertest.BasicAuth("ci", "pw-ci"))
		if w.Code != 200 && w.Code != 503 {
			t.Errorf("an API client beside the crowd = %d, want 200", w.Code)
		}
		return w.Code == 200
	})
}
