package browser

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	engine "dinggate/internal/realtool/browser"

	"github.com/chromedp/chromedp"
)

// chromium starts Chromium behind a proxy, like the other engines.
func chromium(t testing.TB, proxy string) *engine.Browser {
	ctx := browser(t.(*testing.T), "zh-CN", chromedp.ProxyServer("socks5://"+proxy),
		chromedp.Flag("ignore-certificate-errors", true))
	return engine.New(t, "Chromium", func(_ context.Context, address string) error {
		return chromedp.Do(ctx, chromedp.Navigate(address))
	}, func(_ context.Context, script string) (string, error) {
		return chromedp.Run(ctx, chromedp.Evaluate[string](script))
	})
}

// engines are the supported browser engines.
var engines = []struct {
	name  string
	start func(testing.TB, string) *engine.Browser
}{{"Chromium", chromium}, {"Firefox", engine.Firefox}, {"WebKit", engine.WebKit}}

// newNamedEnv starts a dinggate with local accounts whose address in browsers is origin.
func newNamedEnv(t testing.TB, origin string) *servertest.Env {
	file := t.TempDir() + "/htpasswd"
	servertest.WriteHtpasswd(t, file, "zs", "mallory")
	h := servertest.New(t, func(c *config.Config) {
		c.PublicURL, c.TrustedProxies = origin, nil
		c.Accounts.HtpasswdFile, c.Accounts.Binding = file, account.Required
	})
	if err := h.Platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) {
		a.Redirects = append(a.Redirects, origin+"/oauth2/callback")
	}); err != nil {
		t.Fatal(err)
	}
	return h
}

// newFormsEnv returns a newNamedEnv and the address of its listener. With bare, the fetch
// metadata of the browser is removed: WebKit before 16.4 sends none on https either.
func newFormsEnv(t testing.TB, origin string, bare bool) (h *servertest.Env, base string) {
	h = newNamedEnv(t, origin)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if bare {
			for name := range r.Header {
				if strings.HasPrefix(name, "Sec-Fetch-") {
					r.Header.Del(name)
				}
			}
		}
		h.State.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	return h, front.URL
}

// foreign is a page of another site or of a sibling host; its buttons submit the forms of
// dinggate.
func foreign(public string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Referrer-Policy", strings.TrimPrefix(r.URL.Path, "/"))
		io.WriteString(w, `<!doctype html><title>x</title>
<form method="post" action="`+public+`/oauth2/sign_out"><button id="out">x</button></form>
<form method="post" action="`+public+
			`/oauth2/sign_in?rd=%2F"><input name="username" value="mallory"><input name="password" `+
			`value="pw-mallory"><button id="in">x</button></form>`)
	}
}

// TestBrowserForms: a person signs in, binds, unbinds and signs out with our forms in
// every engine. This works with plain http on a host that is not loopback, with https, and
// with https without fetch metadata. The same forms on a page of a sibling host have no
// effect (threats W13, S15).
func TestBrowserForms(t *testing.T) {
	for _, one := range engines {
		t.Run(one.name, func(t *testing.T) {
			origins := map[string]string{}
			envs := map[string]*servertest.Env{}
			places := []string{"http://gate.corp.test", "https://gate.corp.test", "https://old.corp.test"}
			for _, public := range places {
				envs[public], origins[public] = newFormsEnv(t, public, strings.Contains(public, "old"))
				site := httptest.NewServer(foreign(public))
				t.Cleanup(site.Close)
				origins[strings.Replace(public, "://", "://evil-", 1)] = site.URL
			}
			b := one.start(t, engine.Names(t, origins))
			for _, public := range places {
				signInAndOut(t, b, envs[public], public)
			}
		})
	}
}

func signInAndOut(t *testing.T, b *engine.Browser, h *servertest.Env, public string) {
	t.Helper()
	sibling := strings.Replace(public, "://", "://evil-", 1)
	submit := func(name, password string) {
		t.Helper()
		b.Type("#username", name)
		b.Type("#password", password)
		b.Click("form button")
	}
	application := func(target string) {
		t.Helper()
		b.Until(`document.body.textContent.includes("UPSTREAM-MARK GET ` + target + `")`)
		if got := h.Upstream.Last(t).Header.Get("X-Forwarded-User"); got != "zs" {
			t.Errorf("%s, %s: the application sees %q, want zs", b.Name, public, got)
		}
	}
	signOut := func() {
		t.Helper()
		b.Open(public + "/oauth2/sign_out")
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

	refused("#in") // an attacker signs the victim in with the attacker's account
	b.Open(public + "/deep?x=1")
	submit("zs", "wrong")
	b.Until(`document.querySelector("#wrong")`)
	submit("zs", "pw-zs")
	application("/deep?x=1")
	refused("#out")
	b.Open(public + "/still")
	application("/still")
	signOut()

	b.Open(public + "/bound?x=1")
	b.Click("a.button") // with DingTalk
	b.Click("#person-zhangsan")
	b.Click("a.button") // bind
	submit("zs", "pw-zs")
	application("/bound?x=1")
	if all, err := h.Stores.Bindings.List(t.Context()); err != nil || len(all) != 1 || all[0].Username != "zs" {
		t.Errorf("%s, %s: bound are %v, %v, want zs", b.Name, public, all, err)
	}
	signOut()

	b.Open(public + "/after?x=1") // the next sign-in shows the binding, and the page removes it (threats T33)
	submit("zs", "pw-zs")
	b.Until(`document.querySelector("#news")&&document.querySelector("#binding").textContent.includes("张三 (zhangsan)")`)
	b.Click("#continue")
	application("/after?x=1")
	b.Open(public + "/oauth2/userinfo")
	b.Until(`document.querySelector("#unbind")&&!document.querySelector("#news")`)
	b.Click("#unbind")
	b.Until(`document.querySelector("#heading")&&!document.querySelector("#unbind")`)
	if all, err := h.Stores.Bindings.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%s, %s: after the form bound are %v, %v", b.Name, public, all, err)
	}
	signOut()
	b.Open(public + "/")
	b.Until(`document.querySelector("#password")`)
}
