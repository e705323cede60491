package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/simulator"
	engine "dinggate/internal/realtool/browser"

	"github.com/chromedp/chromedp"
)

// chromium is Chromium behind a proxy, as the other engines are started.
func chromium(t testing.TB, proxy string) *engine.Browser {
	ctx := browser(t.(*testing.T), "zh-CN", chromedp.ProxyServer("socks5://"+proxy),
		chromedp.Flag("ignore-certificate-errors", true))
	return engine.New(t, "Chromium", func(_ context.Context, address string) error {
		return chromedp.Do(ctx, chromedp.Navigate(address))
	}, func(_ context.Context, script string) (string, error) {
		return chromedp.Run(ctx, chromedp.Evaluate[string](script))
	})
}

// engines are the browsers that people have.
var engines = []struct {
	name  string
	start func(testing.TB, string) *engine.Browser
}{{"Chromium", chromium}, {"Firefox", engine.Firefox}, {"WebKit", engine.WebKit}}

// namedGate is a dinggate with local accounts that browsers reach as origin.
func namedGate(t testing.TB, origin string) *testEnv {
	file := t.TempDir() + "/htpasswd"
	htpasswd(t, file, "zs", "mallory")
	h := newTestEnv(t, func(c *config.Config) {
		c.PublicURL, c.TrustedProxies = origin, nil
		c.Accounts.HtpasswdFile, c.Accounts.Binding = file, account.Required
	})
	if err := h.platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) {
		a.Redirects = append(a.Redirects, origin+"/oauth2/callback")
	}); err != nil {
		t.Fatal(err)
	}
	return h
}

// formsGate is one and the address it listens at. With bare, the fetch metadata
// that the browser sends is lost on the way: a WebKit before 16.4 has none on
// https either.
func formsGate(t testing.TB, origin string, bare bool) (h *testEnv, base string) {
	h = namedGate(t, origin)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if bare {
			for name := range r.Header {
				if strings.HasPrefix(name, "Sec-Fetch-") {
					r.Header.Del(name)
				}
			}
		}
		h.state.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	return h, front.URL
}

// foreign is a page of another site's, or of a sibling host's: its buttons post
// the forms of dinggate.
func foreign(gate string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Referrer-Policy", strings.TrimPrefix(r.URL.Path, "/"))
		io.WriteString(w, `<!doctype html><title>x</title>
<form method="post" action="`+gate+`/oauth2/sign_out"><button id="out">x</button></form>
<form method="post" action="`+gate+
			`/oauth2/sign_in?rd=%2F"><input name="username" value="mallory"><input name="password" `+
			`value="pw-mallory"><button id="in">x</button></form>`)
	}
}

// TestBrowserForms: a person signs in, binds, unbinds and signs out by our forms in every
// engine, on plain http under a host that is not loopback, over https, and over
// https without fetch metadata; the same forms on a page of a sibling host
// change nothing (threats W13, S15).
func TestBrowserForms(t *testing.T) {
	for _, one := range engines {
		t.Run(one.name, func(t *testing.T) {
			origins := map[string]string{}
			houses := map[string]*testEnv{}
			gates := []string{"http://gate.corp.test", "https://gate.corp.test", "https://old.corp.test"}
			for _, gate := range gates {
				houses[gate], origins[gate] = formsGate(t, gate, strings.Contains(gate, "old"))
				site := httptest.NewServer(foreign(gate))
				t.Cleanup(site.Close)
				origins[strings.Replace(gate, "://", "://evil-", 1)] = site.URL
			}
			b := one.start(t, engine.Names(t, origins))
			for _, gate := range gates {
				signInAndOut(t, b, houses[gate], gate)
			}
		})
	}
}

func signInAndOut(t *testing.T, b *engine.Browser, h *testEnv, gate string) {
	t.Helper()
	sibling := strings.Replace(gate, "://", "://evil-", 1)
	submit := func(name, password string) {
		t.Helper()
		b.Type("#username", name)
		b.Type("#password", password)
		b.Click("form button")
	}
	application := func(target string) {
		t.Helper()
		b.Until(`document.body.textContent.includes("UPSTREAM-MARK GET ` + target + `")`)
		if got := h.app.last(t).Header.Get("X-Forwarded-User"); got != "zs" {
			t.Errorf("%s, %s: the application sees %q, want zs", b.Name, gate, got)
		}
	}
	signOut := func() {
		t.Helper()
		b.Open(gate + "/oauth2/sign_out")
		b.Click("form button")
		b.Until(`document.querySelector(".icon.done")`)
	}
	refused := func(button string) {
		t.Helper()
		for _, policy := range []string{"no-referrer", "unsafe-url"} {
			b.Open(sibling + "/" + policy)
			b.Click(button)
			b.Until(`document.querySelector("main dd:last-child code").textContent==="cross_site"`)
		}
	}

	refused("#in") // signing somebody in as oneself
	b.Open(gate + "/deep?x=1")
	submit("zs", "wrong")
	b.Until(`document.querySelector("#wrong")`)
	submit("zs", "pw-zs")
	application("/deep?x=1")
	refused("#out")
	b.Open(gate + "/still")
	application("/still")
	signOut()

	b.Open(gate + "/bound?x=1")
	b.Click("a.button") // with DingTalk
	b.Click("#person-zhangsan")
	b.Click("a.button") // bind
	submit("zs", "pw-zs")
	application("/bound?x=1")
	if all, err := h.stores.Bindings.List(t.Context()); err != nil || len(all) != 1 || all[0].Username != "zs" {
		t.Errorf("%s, %s: bound are %v, %v, want zs", b.Name, gate, all, err)
	}
	signOut()

	b.Open(gate + "/after?x=1") // the next sign-in shows what was bound, and the page removes it (threats T33)
	submit("zs", "pw-zs")
	b.Until(`document.querySelector("#news")&&document.querySelector("#binding").textContent.includes("张三 (zhangsan)")`)
	b.Click("#continue")
	application("/after?x=1")
	b.Open(gate + "/oauth2/userinfo")
	b.Until(`document.querySelector("#unbind")&&!document.querySelector("#news")`)
	b.Click("#unbind")
	b.Until(`document.querySelector("#heading")&&!document.querySelector("#unbind")`)
	if all, err := h.stores.Bindings.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%s, %s: after the form bound are %v, %v", b.Name, gate, all, err)
	}
	signOut()
	b.Open(gate + "/")
	b.Until(`document.querySelector("#password")`)
}
