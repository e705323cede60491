package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/ratelimit"

	"golang.org/x/crypto/bcrypt"
)

// from sends one request to dinggate's handler as the client of a trusted proxy.
func (h *testEnv) from(client, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	return h.fromWith(h.t.Context(), client, method, path, body, headers...)
}

func (h *testEnv) fromWith(ctx context.Context, client, method, path, body string,
	headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, method, h.base+path, strings.NewReader(body))
	r.RemoteAddr, r.RequestURI = "127.0.0.1:1", path
	r.Header.Set("X-Forwarded-For", client)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.state.ServeHTTP(w, r)
	return w
}

// formFrom posts the sign-in form as the client of a trusted proxy.
func (h *testEnv) formFrom(client, name, password string) *httptest.ResponseRecorder {
	return h.formWith(h.t.Context(), client, name, password)
}

func (h *testEnv) formWith(ctx context.Context, client, name, password string) *httptest.ResponseRecorder {
	return h.fromWith(ctx, client, "POST", "/oauth2/sign_in?rd=%2F",
		url.Values{"username": {name}, "password": {password}}.Encode(),
		"Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin", "Accept: text/html")
}

// addressOf is an address of its own for each number.
func addressOf(i int) string {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
}

// TestOneNetworkIsOneClient: a /48 is one party's: its 65,536 networks guess as
// often as one address may.
func TestOneNetworkIsOneClient(t *testing.T) {
	h, _ := accountEnv(t, account.Off)
	verified := 0
	for i := range 200 {
		if w := h.formFrom(fmt.Sprintf("2001:db8:7:%x::1", i), "zs", "guess"); w.Code == 401 {
			verified++
		}
	}
	if verified > 12 {
		t.Errorf("one /48 guessed %d passwords of one account, want 10", verified)
	}
	if w := h.formFrom("2001:db8:8::1", "zs", "pw-zs"); w.Code != 303 {
		t.Errorf("another /48 = %d, want 303", w.Code)
	}
}

// TestWrongSecretsPastTheTable: more addresses than the table of guesses holds
// slow down anyone who guesses, known or new, and nobody else (threats T5).
func TestWrongSecretsPastTheTable(t *testing.T) {
	h, p := ssoTestEnv(t)
	try := func(client, secret string) *httptest.ResponseRecorder {
		return h.from(client, "POST", "/dingtalk/token", "code=x&state=y", "Content-Type: text/plain",
			"Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(p.id+":"+secret)))
	}
	// As many as want to guess at once: past 64 that wait at one address the others are 429.
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
		if w := try(addressOf(i), "wrong"); w.Code != 401 {
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
	if w := try("203.0.113.10", p.secret); w.Code != 400 {
		t.Errorf("the right secret from elsewhere = %d, want 400 for the code alone", w.Code)
	}
}

// TestCrowdOfWrongPasswords: ninety addresses that guess without a pause have more
// work for bcrypt than there is time; people who sign in meanwhile do not wait
// for them.
func TestCrowdOfWrongPasswords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	var lines strings.Builder
	for _, name := range []string{"zs", "ls", "ci"} {
		hash, err := bcrypt.GenerateFromPassword([]byte("pw-"+name), 9)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "%s:%s\n", name, hash)
	}
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newTestEnv(t, func(c *config.Config) { c.APITokens, c.Accounts.HtpasswdFile = true, file })
	const crowd, office = 90, "198.51.100.20"
	if w := h.formFrom(office, "zs", "pw-zs"); w.Code != 303 {
		t.Fatalf("before the crowd = %d", w.Code)
	}
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer all.Wait()
	defer stop()
	for i := range crowd {
		h.formFrom(addressOf(i), "zs", "guess")
		for k := range 6 {
			all.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					name := fmt.Sprint("name", k, "-", n)
					if n%3 == 0 {
						name = "zs"
					}
					if h.formWith(ctx, addressOf(i), name, "guess").Code == 429 {
						return
					}
				}
			})
		}
	}
	waitFor(t, "a crowd that waits", func() bool { return h.state.InFlight.Load() > crowd })
	if w := h.formFrom("192.0.2.30", "ls", "pw-ls"); w.Code != 303 {
		t.Errorf("somebody new beside the crowd = %d, want 303", w.Code)
	}
	if w := h.formFrom(office, "zs", "pw-zs"); w.Code != 303 {
		t.Errorf("the account that is guessed at, where it signed in before = %d, want 303", w.Code)
	}
	if w := h.formFrom("192.0.2.31", "zs", "pw-zs"); w.Code != 303 {
		t.Errorf("the account that is guessed at, from elsewhere = %d, want 303", w.Code)
	}
	if w := h.from("192.0.2.32", "GET", "/api/x", "", basic("ci", "pw-ci")); w.Code != 200 {
		t.Errorf("an API client beside the crowd = %d, want 200", w.Code)
	}
}
