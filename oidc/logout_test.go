package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestHangingReceiver: no other receiver waits for one that hangs (threats E16).
func TestHangingReceiver(t *testing.T) {
	e := newEnv(t)
	release := make(chan struct{})
	var calls atomic.Int32
	e.Deliver = func(ctx context.Context, uri, _ string) error {
		if strings.Contains(uri, "app.test") {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return errors.New("it hangs")
		}
		calls.Add(1)
		return nil
	}
	cookie := e.login(zhangsan)
	e.tokens(redemption(e.code(cookie)), "app", appSecret)
	e.tokens(
		redemption(
			e.code(cookie, "client_id", "other", "redirect_uri", "https://other.test/cb"),
			"redirect_uri",
			"https://other.test/cb",
		),
		"other",
		"another-secret-of-another",
	)
	e.revoke(t.Context(), cookie)
	e.Provider.people().endings(t.Context())
	for limit := time.Now().Add(time.Minute); calls.Load() == 0 && time.Now().Before(limit); {
		e.call("GET", PathJWKS, "")
	}
	if calls.Load() != 1 {
		t.Errorf("the other receiver was notified %d times", calls.Load())
	}
	close(release)
	e.Provider.logouts.shutdown()
}

// TestPost checks the logout request.
func TestPost(t *testing.T) {
	e := newEnv(t)
	var got atomic.Value
	status := atomic.Int32{}
	status.Store(200)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		got.Store(r.Method + " " + r.Header.Get("Content-Type") + " " + r.PostForm.Get("logout_token"))
		w.Header().Set("Location", e.url)
		w.WriteHeader(int(status.Load()))
	}))
	defer receiver.Close()
	for code, want := range map[int32]bool{200: true, 204: true, 302: false, 400: false, 500: false} {
		status.Store(code)
		if err := e.Provider.logouts.post(t.Context(), receiver.URL, "T"); (err == nil) != want {
			t.Errorf("an answer %d: %v", code, err)
		}
	}
	if got.Load() != "POST application/x-www-form-urlencoded T" {
		t.Errorf("posted %q", got.Load())
	}
}
