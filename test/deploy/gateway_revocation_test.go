package deploy_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
)

// accessLoss is a way in which a person behind a gateway loses access.
type accessLoss struct {
	name, person string
	path         string // a path that the person may open until then
	status       int    // the status of the path afterwards
	do           func(*gatewayEnv, *gatewayVisitor) error
}

const lossRecheck = "1h" // no periodic recheck happens during the test

var accessLosses = []accessLoss{
	{"lost a role", "zhaoliu", "/money/x", 403, func(h *gatewayEnv, _ *gatewayVisitor) error { return h.platform.SetRoles("zhaoliu") }},
	{"moved to another department", "wangwu", "/admin/x", 403, func(h *gatewayEnv, _ *gatewayVisitor) error {
		return h.platform.Move("wangwu", 43)
	}},
	{"sign-out", "wangwu", "/x", 302, func(_ *gatewayEnv, v *gatewayVisitor) error {
		if a := v.do("POST", "/oauth2/sign_out", "", acceptHTML, "Sec-Fetch-Site: same-origin"); a.StatusCode != 303 {
			return fmt.Errorf("the sign-out = %d %s", a.StatusCode, a.body)
		}
		return nil
	}},
	{"left the organisation", "lisi", "/x", 302, func(h *gatewayEnv, _ *gatewayVisitor) error { return h.platform.Leave("lisi") }},
	{"account disabled, with an event", "wangwu", "/x", 302, func(h *gatewayEnv, _ *gatewayVisitor) error {
		return simulator.DisableTold(h.platform, "wangwu")
	}},
	{"account migrated, with an event", "zhaoliu", "/x", 302, func(h *gatewayEnv, _ *gatewayVisitor) error {
		if err := h.platform.Migrate("zhaoliu", ""); err != nil {
			return err
		}
		h.platform.Emit("user_modify_org", map[string]any{"userId": []string{"zhaoliu"}})
		return nil
	}},
	{"rule changed (reload)", "zhangsan", "/admin/x", 403, func(h *gatewayEnv, _ *gatewayVisitor) error {
		return h.reconfigure("departments: [42]", "departments: [43]")
	}},
	{"key removed (reload)", "zhangsan", "/x", 302, func(h *gatewayEnv, _ *gatewayVisitor) error {
		return h.reconfigure(cookieSecret("old"), cookieSecret("new"))
	}},
	{"outside the app's scope", "zhangsan", "/x", 302, func(h *gatewayEnv, _ *gatewayVisitor) error {
		return h.platform.ChangeApp("", func(a *simulator.App) { a.Scope, a.Range = []int64{44}, []int64{44} })
	}},
	{"app stopped", "zhaoliu", "/x", 302, func(h *gatewayEnv, _ *gatewayVisitor) error {
		return h.platform.ChangeApp("", func(a *simulator.App) { a.Stopped = true })
	}},
}

// reconfigure changes the configuration file of dinggate and reloads it.
func (h *gatewayEnv) reconfigure(old, changed string) error {
	text, err := os.ReadFile(h.config)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), old) {
		return fmt.Errorf("the configuration has no %q", old)
	}
	if err := os.WriteFile(h.config, []byte(strings.ReplaceAll(string(text), old, changed)), 0o600); err != nil {
		return err
	}
	return h.dinggate.cmd.Process.Signal(syscall.SIGHUP)
}

// TestGatewayRevocation checks that each real gateway refuses a person within 5 s after each way to lose
// access, including the effects of its cache and its kept connections. Other people keep their
// access.
func TestGatewayRevocation(t *testing.T) {
	text, err := os.ReadFile(exampleFile("config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const routes, roles = "\nroutes:\n", "  - {path: /money/, access: {roles: [财务]}}\n"
	changed := strings.Replace(string(text), routes, "\ncookie: {secrets: ["+cookieSecret("old")+"]}\n"+routes+roles, 1)
	if !strings.Contains(changed, roles) {
		t.Fatal("deploy/config.yaml has no routes")
	}
	for _, g := range realGateways {
		t.Run(g.name, func(t *testing.T) {
			h := newGatewayEnv(t, g)
			h.config = filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(h.config, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			h.startDinggate("DINGGATE_SESSION_RECHECK="+lossRecheck, "DINGGATE_DINGTALK_EVENTS=true")
			if err := h.platform.WaitStreams(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			line := "| " + g.name + " |"
			for _, loss := range accessLosses {
				line += fmt.Sprintf(" %d ms |", loss.measure(t, h).Milliseconds())
			}
			t.Log(line)
		})
	}
}

// measure signs the person in, removes their access and returns the time until the refusal.
func (loss accessLoss) measure(t *testing.T, h *gatewayEnv) time.Duration {
	t.Helper()
	v := h.visitor()
	v.signIn(loss.path, loss.person)
	if a := v.page(loss.path); a.StatusCode != http.StatusOK {
		t.Fatalf("%s: the page = %d before the loss of access", loss.name, a.StatusCode)
	}
	cookies := v.cookies() // a browser that does not process the sign-out response
	other := h.visitor()
	began := time.Now()
	if err := loss.do(h, v); err != nil {
		t.Fatalf("%s: %v", loss.name, err)
	}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	status := 0
	for time.Since(began) < 5*time.Second {
		if status = other.page(loss.path, cookies).StatusCode; status == loss.status {
			took := time.Since(began)
			h.app.takeRequests()
			other.page(loss.path, cookies)
			if got := h.app.takeRequests(); len(got) > 0 {
				t.Errorf("%s: refused, but the application got %v", loss.name, got)
			}
			return took
		}
		<-again.C
	}
	t.Errorf("%s: still %d after 5 s, want %d", loss.name, status, loss.status)
	return 5 * time.Second
}
