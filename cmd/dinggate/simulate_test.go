package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
)

// TestSimulate checks that the printed configuration signs people in, and that they are
// sent back to the hosts in --callback.
func TestSimulate(t *testing.T) {
	for _, tt := range []struct {
		callbacks []string
		back      map[string]bool // whether people are sent back there
	}{
		{nil, map[string]bool{"http://127.0.0.1:4180": true, "http://localhost:1": true,
			"https://app.example.com": false}},
		{[]string{"app.example.com", "https://b.test:8443/oauth2/callback"},
			map[string]bool{"https://app.example.com": true, "http://app.example.com:81": true,
				"https://b.test:8443": true, "https://b.test": false, "https://evil.test": false,
				"http://127.0.0.1:4180": true}},
		{[]string{"any"}, map[string]bool{"https://app.example.com": true, "https://anything.test:1": true}},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- runSimulate(ctx, "127.0.0.1:0", tt.callbacks, 0, w); w.Close() }()
		var text strings.Builder
		for scan := bufio.NewScanner(r); scan.Scan(); {
			text.WriteString(scan.Text() + "\n")
			if strings.HasPrefix(scan.Text(), "# public_url:") {
				break
			}
		}
		_, keys, _ := strings.Cut(text.String(), "\n\n")
		file := filepath.Join(t.TempDir(), "config.yaml")
		yaml := "public_url: http://127.0.0.1:4180\ncookie: {secrets: [" + config.NewSecret() +
			"]}\nupstream: http://127.0.0.1:8080\n" + keys
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		read := server.LoadAll(&config.Flags{File: file}, nil)
		if config.Mistakes(read.Problems) > 0 {
			t.Fatalf("the keys have mistakes: %v\n%s", read.Problems, yaml)
		}
		at := regexp.MustCompile(`http://[0-9.:]+`).FindString(text.String())
		d := read.Cfg.DingTalk
		if d.LoginURL != at || d.APIURL != at || d.OAPIURL != at {
			t.Errorf("the keys name %q, %q and %q, and the simulator is at %s", d.LoginURL, d.APIURL, d.OAPIURL, at)
		}
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
		for origin, ok := range tt.back {
			q := url.Values{"client_id": {d.ClientID}, "redirect_uri": {origin + "/oauth2/callback"},
				"response_type": {"code"}, "scope": {"openid"}, "prompt": {"consent"}, "state": {"s"},
				"person": {"zhangsan"}}
			a, err := client.Get(at + "/oauth2/auth?" + q.Encode())
			if err != nil {
				t.Fatal(err)
			}
			a.Body.Close()
			if to := a.Header.Get("Location"); strings.HasPrefix(to, origin+"/oauth2/callback?") != ok {
				t.Errorf("--callback %q: a sign-in from %s = %d to %q, want it accepted: %v", tt.callbacks, origin,
					a.StatusCode, to, ok)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("it ended with %v", err)
		}
	}
}

// TestSimulateBeyondLoopback: the simulator's people need no password.
func TestSimulateBeyondLoopback(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1": false, "::1": false, "0.0.0.0": true, "::": true,
		"192.0.2.1": true} {
		var out strings.Builder
		warnOfNetwork(&out, &net.TCPAddr{IP: net.ParseIP(address)})
		if got := out.String() != ""; got != want {
			t.Errorf("warnOfNetwork(%s) = %q, want a warning: %v", address, out.String(), want)
		}
	}
}
