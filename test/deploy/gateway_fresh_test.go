package deploy_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestGatewayFresh checks a route with fresh behind nginx and Traefik. The route is accessible
// after a sign-in, redirects to the sign-in once the time is over, and is accessible again after
// that sign-in. Other routes stay accessible in the meantime.
func TestGatewayFresh(t *testing.T) {
	text, err := os.ReadFile(exampleFile("config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const routes, recent = "\nroutes:\n", "  - {path: /recent/, access: {fresh: 6s}}\n"
	changed := strings.Replace(string(text), routes, routes+recent, 1)
	if !strings.Contains(changed, recent) {
		t.Fatal("deploy/config.yaml has no routes")
	}
	for _, name := range []string{"nginx", traefikGateway().name} {
		t.Run(name, func(t *testing.T) {
			i := slices.IndexFunc(realGateways, func(g realGateway) bool { return g.name == name })
			h := newGatewayEnv(t, realGateways[i])
			h.config = filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(h.config, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			h.startDinggate("DINGGATE_COOKIE_SECRETS=" + cookieSecret("old"))
			gatewayFresh(t, h)
		})
	}
}

func gatewayFresh(t *testing.T, h *gatewayEnv) {
	v := h.visitor()
	for range 2 {
		if at := v.signIn("/recent/x?a=1", "zhangsan"); at != h.base+"/recent/x?a=1" {
			t.Fatalf("the sign-in leads to %s, want the page", at)
		}
		if a := v.page("/recent/x?a=1"); a.StatusCode != http.StatusOK {
			t.Fatalf("the page after a sign-in = %d to %q, want 200", a.StatusCode, a.Header.Get("Location"))
		}
		again := time.NewTicker(200 * time.Millisecond)
		for deadline := time.Now().Add(30 * time.Second); v.page("/recent/x").StatusCode == http.StatusOK; <-again.C {
			if time.Now().After(deadline) {
				t.Fatal("the page is still served after the time was over")
			}
		}
		again.Stop()
		if a := v.page("/other"); a.StatusCode != http.StatusOK {
			t.Errorf("a page of another route = %d, want 200", a.StatusCode)
		}
		if a := v.do(http.MethodGet, "/recent/x", "", "Accept: application/json"); a.StatusCode != 401 {
			t.Errorf("a call = %d %s, want 401", a.StatusCode, a.body)
		}
	}
}
