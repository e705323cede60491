package main

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/proxy"
)

// TestControlBehindARoute checks that no route leads to the control socket: its author would end
// sessions, change bindings and copy the store.
func TestControlBehindARoute(t *testing.T) {
	link := filepath.Join(t.TempDir(), "app.sock") // a path in which check does not see the socket
	h := servertest.New(t, func(c *config.Config) {
		for _, host := range []proxy.PassHost{"false", "true", "control"} {
			route := config.DefaultRoute()
			route.Path, route.StripPrefix, route.Upstream, route.PassHost = "/"+string(host)+"/", "/"+string(host), "unix:"+link, host
			c.Routes = append([]config.Route{route}, c.Routes...)
		}
	})
	socket := serveControl(t, &admin.Control{Grants: h.State.Grants(), Log: h.Kit.Log})
	if err := os.Symlink(socket, link); err != nil {
		t.Fatal(err)
	}
	v := h.NewClient()
	v.SignIn(h.URL+"/", "zhangsan")
	for _, path := range []string{"/false/grants", "/true/grants", "/control/grants"} {
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			if a := v.Do(method, h.URL+path, ""); a.StatusCode != http.StatusForbidden {
				t.Errorf("%s %s = %d, want 403", method, path, a.StatusCode)
			}
		}
	}
	if out, errs, code := servertest.RunControlApart(t, socket, "grants", "list"); code != 0 {
		t.Errorf("grants list = %d %q %q", code, out, errs)
	}
}
