package browser

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	engine "dinggate/internal/realtool/browser"
)

// embeds is a page whose frame, image, script and style are the start of a sign-in; its
// link is one too.
func embeds(public string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Referrer-Policy", "no-referrer")
		io.WriteString(w,
			strings.ReplaceAll(`<!doctype html><title>x</title><link rel="stylesheet" href="GATE/oauth2/start?style">
<iframe src="GATE/oauth2/start?iframe"></iframe><iframe src="GATE/page?frame"></iframe><img src="GATE/oauth2/start?image">
<script src="GATE/oauth2/start?script"></script>
<a id="link" href="GATE/oauth2/start?rd=%2Fdeep">x</a>`, "GATE", public))
	}
}

// TestBrowserStarts checks that in every engine an embedded resource starts no sign-in and
// sets no cookie, that a link does, and that a refused callback leaves no code in the
// address (threats S10, S14).
func TestBrowserStarts(t *testing.T) {
	for _, one := range engines {
		t.Run(one.name, func(t *testing.T) {
			const public = "https://gate.corp.test"
			h := newNamedEnv(t, public)
			site := httptest.NewServer(embeds(public))
			t.Cleanup(site.Close)
			var mu sync.Mutex
			got := map[string]string{} // by query: status and cookies
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				h.State.ServeHTTP(rec, r)
				mu.Lock()
				got[r.URL.RawQuery] = fmt.Sprint(rec.Code, len(rec.Header()["Set-Cookie"]))
				mu.Unlock()
				for name, values := range rec.Header() {
					w.Header()[name] = values
				}
				w.WriteHeader(rec.Code)
				w.Write(rec.Body.Bytes())
			}))
			t.Cleanup(front.Close)
			b := one.start(t,
				engine.Names(t, map[string]string{public: front.URL, "https://evil-gate.corp.test": site.URL}))

			b.Open("https://evil-gate.corp.test/")
			seen := func() (list []string) {
				mu.Lock()
				defer mu.Unlock()
				for query, what := range got {
					list = append(list, query+" "+what)
				}
				slices.Sort(list)
				return list
			}
			servertest.Eventually(t, "what the page embeds", func() bool { return len(seen()) >= 5 })
			if want := []string{"frame 401 0", "iframe 403 0", "image 403 0", "script 403 0",
				"style 403 0"}; !slices.Equal(seen(), want) {
				t.Errorf("%s: what a page embeds = %q, want %q", b.Name, seen(), want)
			}
			b.Click("#link")
			b.Until(`document.querySelector("#person-zhangsan")`)
			h.Platform.Fault(simulator.Fault{On: "/v1.0/oauth2/userAccessToken", Do: simulator.Status(503), Times: 9})
			b.Click("#person-zhangsan")
			shows(t, b, "unavailable", "authCode=")
			b.Open(public + "/oauth2/callback?authCode=CODE&state=x")
			shows(t, b, "state_unknown", "CODE")
		})
	}
}

// shows waits for an error page with that code, at an address that does not contain never.
func shows(t *testing.T, b *engine.Browser, code, never string) {
	t.Helper()
	b.Until(`location.search.includes("refused=")&&document.querySelector("main dd:last-child code").textContent===` +
		`"` + code + `"`)
	if at := b.Location(); strings.Contains(at, never) {
		t.Errorf("%s shows %s at %s", b.Name, code, at)
	}
}
