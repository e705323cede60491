package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/i18n"
	"dinggate/session"
)

func getAdmin(h http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func statusReport(h *servertest.Env, t testing.TB) (r admin.StatusReport) {
	w := getAdmin(h.AdminHandler(), "/status", "Accept: application/json")
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != 200 ||
		w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("/status = %d %v: %s", w.Code, err, w.Body)
	}
	if r.Host != "gate-1" || r.Version == "" || r.Started.IsZero() {
		t.Errorf("/status is of %q, version %q, started %v", r.Host, r.Version, r.Started)
	}
	return r
}

// TestStatus checks the page as JSON and in both languages. It contains the latest events
// and no name of a person.
func TestStatus(t *testing.T) {
	h := servertest.New(t, func(c *config.Config) { c.TrustedProxies = nil; c.DingTalk.Events = false })
	h.NewClient().SignIn(h.URL+"/", "zhangsan")
	h.NewClient().SignIn(h.URL+"/", "lisi")
	h.NewClient().SignIn(h.URL+"/", "zhouba")
	h.Platform.Fault(simulator.Fault{On: "/topapi/v2/user/get", Do: simulator.Code(60011), Times: 1})
	h.NewClient().SignIn(h.URL+"/", "wangwu")
	h.NewClient().Get(h.URL+"/public/", "X-Forwarded-For: 192.0.2.1")
	h.NewClient().Get(h.URL + "/public/")
	if err := h.Gateway.Sessions.RevokeUser(t.Context(), session.Person{UserID: "lisi"}, "left"); err != nil {
		t.Fatal(err)
	}
	r := statusReport(h, t)
	if r.Today.SignIns != 2 || r.Today.Refused["external_contact"] != 1 ||
		r.Today.Refused["permission_missing"] != 1 || len(r.Today.Refused) != 2 {
		t.Errorf("today is %+v", r.Today)
	}
	if r.Sessions.Revoked != 1 || r.Stream != nil || r.Store.Kind != "memory" || !r.Store.Up || !r.Reload.Successful {
		t.Errorf("sessions %+v, stream %v, store %+v, reload %+v", r.Sessions, r.Stream, r.Store, r.Reload)
	}
	failing := ""
	for _, c := range r.DingTalk {
		if c.Failing {
			failing += c.Call + " " + c.Result + " " + c.Code
		}
	}
	if failing != "/topapi/v2/user/get refused 60011" || len(r.DingTalk) < 5 {
		t.Errorf("failing at DingTalk is %q of %d calls", failing, len(r.DingTalk))
	}
	if len(r.Untrusted) != 1 || r.Untrusted[0].Peer != "127.0.0.1" || r.Untrusted[0].Times != 1 {
		t.Errorf("not believed: %+v", r.Untrusted)
	}
	for language, want := range map[string]string{"en": "sign-ins", "zh": "登录成功"} {
		w := getAdmin(h.AdminHandler(), "/status", "Accept: text/html", "Accept-Language: "+language)
		page := w.Body.String()
		if !strings.Contains(page, want) || !strings.Contains(page, "external_contact") ||
			!strings.Contains(page, "60011") || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("the page in %s lacks something: %d\n%s", language, w.Code, page)
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy,
			"default-src 'none'; style-src 'sha256-") || strings.Contains(page, "style=") ||
			strings.Contains(page, "<script") {
			t.Errorf("policy %q", policy)
		}
		for _, name := range []string{"zhangsan", "lisi", "张三", servertest.Canary} {
			if strings.Contains(page, name) {
				t.Errorf("the page names %s", name)
			}
		}
	}
	if w := getAdmin(h.AdminHandler(), "/status"); w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("a shell gets %s", w.Header().Get("Content-Type"))
	}
	if a := h.NewClient().Get(h.URL + "/status"); a.StatusCode != http.StatusFound {
		t.Errorf("/status at dinggate = %d, want what any page is", a.StatusCode)
	}
}

// TestStatusOfReloads checks that the page reports the result of the last change, the
// reason for a refusal, and the keys that wait for a restart, in the reader's language.
func TestStatusOfReloads(t *testing.T) {
	s := servertest.NewFileEnv(t, "")
	report := func() (r admin.StatusReload) {
		_, body := servertest.Fetch(t, http.DefaultClient, s.Admin+"/status")
		var all admin.StatusReport
		if err := json.Unmarshal([]byte(body), &all); err != nil {
			t.Fatal(err)
		}
		return all.Reload
	}
	page := func(language string) string {
		r, err := http.NewRequest("GET", s.Admin+"/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Accept-Language", language)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	start := report()
	if !start.Successful || start.At != nil || start.Serving.IsZero() || len(start.Problems)+len(start.Restart) > 0 ||
		!strings.Contains(page("en"), "unchanged since the start") {
		t.Errorf("at the start: %+v", start)
	}
	s.Configure(t,
		"session: {store: redis, lifetime: 1h}\nredis: {url: \"redis://127.0.0.1:1\"}\nlog: {level: debug}\n")
	servertest.Eventually(t, "a change is taken", func() bool { return report().At != nil })
	taken := report()
	if !taken.Successful || strings.Join(taken.Restart, " ") != "session.store redis.url" ||
		taken.Serving.Before(start.Serving) {
		t.Errorf("after a change that needs a restart in parts: %+v", taken)
	}
	s.Configure(t, "log: {level: loud}\nno_such_key: 1\n")
	servertest.Eventually(t, "a change is refused", func() bool { return !report().Successful })
	refused := report()
	if len(refused.Problems) != 2 || !strings.Contains(refused.Problems[0], "config.yaml:6: log.level") ||
		!strings.Contains(refused.Problems[1], "config.yaml:7: no_such_key") ||
		!refused.Serving.Equal(taken.Serving) || refused.At == nil || len(refused.Restart) != 2 {
		t.Errorf("after a refused change: %+v", refused)
	}
	for language, want := range map[string][]string{
		"en": {"is REFUSED, the old one stays in use", "log.level is", "session.store<br>"},
		"zh": {"新配置被拒绝，仍使用旧配置", "log.level 不是", "需要重启才生效"},
	} {
		body := page(language)
		for _, text := range want {
			if !strings.Contains(body, text) {
				t.Errorf("the page in %s lacks %q:\n%s", language, text, body)
			}
		}
	}
	s.Configure(t, "")
	servertest.Eventually(t,
		"the mended one is taken", func() bool {
			r := report()
			return r.Successful && r.Problems == nil && r.Restart == nil
		})
}

// TestStatusTexts checks that both languages have every text of the page.
func TestStatusTexts(t *testing.T) {
	page, err := os.ReadFile("../admin/status.html")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`\.T "(\w+)"`).FindAllStringSubmatch(string(page), -1) {
		used[m[1]] = true
		if w := admin.StatusTexts[m[1]]; w[i18n.English] == "" || w[i18n.Chinese] == "" {
			t.Errorf("the page reads %q, which is missing", m[1])
		}
	}
	for name := range admin.StatusTexts {
		if !used[name] {
			t.Errorf("no page reads %q", name)
		}
	}
}
