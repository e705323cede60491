package browser

import (
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	engine "dinggate/internal/realtool/browser"
)

// TestBrowserUsesAnotherAccount runs in every engine, because the engines' policies for
// forms also apply to the redirects that follow them.
func TestBrowserUsesAnotherAccount(t *testing.T) {
	for _, one := range engines {
		t.Run(one.name, func(t *testing.T) {
			const public = "http://gate.corp.test"
			h := servertest.New(t, func(c *config.Config) { c.PublicURL, c.TrustedProxies = public, nil })
			if err := h.Platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) {
				a.Redirects = append(a.Redirects, public+"/oauth2/callback")
			}); err != nil {
				t.Fatal(err)
			}
			b := one.start(t, engine.Names(t, map[string]string{public: h.URL}))
			b.Open(public + "/admin/x?q=1")
			b.Click("#person-zhaoliu")
			b.Until(`document.body.textContent.includes("赵六 (zhaoliu)")`)
			b.Click("a.button")
			b.Click("form button")
			b.Click("#person-zhangsan")
			b.Until(`document.body.textContent.includes("UPSTREAM-MARK GET /admin/x?q=1")`)
			if got := h.Upstream.Last(t).Header.Get("X-Forwarded-User"); got != "zhangsan" {
				t.Errorf("%s: the application sees %q, want zhangsan", b.Name, got)
			}
		})
	}
}
