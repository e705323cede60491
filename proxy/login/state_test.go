package login

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"dinggate/internal/web"
	"dinggate/session"
)

// FuzzAttempt: an attempt is read from a browser as it was written, and no other text is accepted.
func FuzzAttempt(f *testing.F) {
	f.Add("app.test", "/a?b=1", int64(1_700_000_000_000), 0)
	f.Add("", "", int64(0), 7)
	f.Add("[::1]", "https://route.test/"+strings.Repeat("a", 900), int64(-1), 80)
	h := flow(f, plan{})
	name := h.attempts().slotName(0)
	f.Fuzz(func(t *testing.T, host, target string, issued int64, at int) {
		if len(host) > 260 || len(target) > web.MaxReturn {
			return
		}
		a := newAttempt("", "ding-app", host, target, time.UnixMilli(issued))
		text, err := h.Keyring.Seal(attemptPurpose, name, a.encode())
		if err != nil || len(text) > 3500 {
			t.Fatalf("Seal() = %d bytes, %v", len(text), err)
		}
		plain, _, err := h.Keyring.Open(attemptPurpose, name, text)
		if err != nil {
			t.Fatalf("Open() = %v", err)
		}
		if got, ok := decodeAttempt(plain); !ok || got != a {
			t.Errorf("decodeAttempt() = %+v, %v, want %+v", got, ok, a)
		}
		at = int(uint(at) % uint(len(text)))
		if strings.IndexByte(alphabet, text[at]) >= 0 {
			if _, _, err := h.Keyring.Open(attemptPurpose, name, flip(text, at)); err == nil {
				t.Errorf("Open() with byte %d changed = nil, want an error", at)
			}
		}
		if _, _, err := h.Keyring.Open(attemptPurpose, name, text[:at]); err == nil {
			t.Errorf("Open() of the first %d bytes = nil, want an error", at)
		}
	})
}

// FuzzDecodeAttempt: encoding inverts decoding.
func FuzzDecodeAttempt(f *testing.F) {
	a := newAttempt("", "ding-app", "app.test", "/a", time.UnixMilli(1_700_000_000_000))
	f.Add(a.encode())
	f.Add([]byte{1})
	f.Add(append(a.encode(), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok := decodeAttempt(b); ok && !bytes.Equal(a.encode(), b) {
			t.Errorf("decodeAttempt(%x) is written %x", b, a.encode())
		}
	})
}

// FuzzState: a state has one spelling.
func FuzzState(f *testing.F) {
	a := newAttempt("", "", "", "", time.Time{})
	f.Add(a.stateText())
	f.Add(strings.Repeat("A", 42) + "B")
	f.Add(strings.Repeat("A", 20) + "\n" + strings.Repeat("A", 22))
	f.Fuzz(func(t *testing.T, text string) {
		if state, ok := parseState(text); ok {
			if again := (&attempt{state: state}).stateText(); again != text {
				t.Errorf("parseState(%q) is written %q", text, again)
			}
		}
	})
}

// FuzzParseCallback: no panic, and accepted values are plain.
func FuzzParseCallback(f *testing.F) {
	for _, s := range []string{"code=a&state=b", "authCode=a&code=a", "error=&code=x", "code=%0a", "&&=&", "state=a&state=b", "attempt=a?code=b&state=c",
		"attempt=?"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := parseCallback(query, "")
		if err == nil && (len(q.code) > maxCode || strings.ContainsAny(q.code, "\r\n\x00 ")) {
			t.Errorf("parseCallback(%q) = %+v", query, q)
		}
		parseCallback(query, "attempt")
		if _, again := parseCallback(query+"&state="+q.state+"&state=x", ""); err == nil && again == nil {
			t.Errorf("parseCallback(%q) with another state is accepted", query)
		}
	})
}

// TestCookieNames: every cookie that a sign-in sets is recognised as ours, so that applications
// neither receive nor set one; no other cookie is.
func TestCookieNames(t *testing.T) {
	for _, f := range []*Flow{flow(t, plan{}).Flow, {Sessions: &session.Manager{}, Origins: must(web.NewOrigins("http://app.test", nil, nil, ""))}} {
		list := []string{f.Sessions.CookieName(), f.links().Cookie, f.attempts().signedOutName(), "dinggate-lang"}
		for slot := range slots {
			list = append(list, f.attempts().slotName(slot))
		}
		for _, name := range list {
			h := http.Header{"Cookie": {"a=1; " + name + "=x; my" + strings.TrimPrefix(name, "__Host-") + "=y; " + name + "er=z"}}
			want := "a=1; my" + strings.TrimPrefix(name, "__Host-") + "=y; " + name + "er=z"
			if web.StripCookies(h); h.Get("Cookie") != want || !web.OurCookieName(name+"=x; Path=/") || web.OurCookieName(name+"er=x") {
				t.Errorf("%s: an application gets %q, want %q, and may set it: %v", name, h.Get("Cookie"), want, !web.OurCookieName(name+"=x"))
			}
		}
	}
}
