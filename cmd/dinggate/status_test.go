package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
	"dinggate/session"
)

func (h *house) admin() http.Handler {
	var ready atomic.Bool
	ready.Store(true)
	return adminHandler(&ready, h.stores.Reads, func() string { return "" }, h.kit.metrics, &status{kit: h.kit, started: time.Now(), gate: func() *gate { return h.gate }, stores: h.stores})
}

func askAdmin(h http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func (h *house) statusReport(t testing.TB) (r statusReport) {
	w := askAdmin(h.admin(), "/status", "Accept: application/json")
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("/status = %d %v: %s", w.Code, err, w.Body)
	}
	return r
}

// TestStatus: the page tells what happened, as JSON and in both languages, and
// names nobody.
func TestStatus(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.TrustedProxies = nil; c.DingTalk.Events = false })
	h.visitor().signIn(h.base+"/", "zhangsan")
	h.visitor().signIn(h.base+"/", "lisi")
	h.visitor().signIn(h.base+"/", "zhouba")
	h.platform.Fault(simulator.Fault{On: "/topapi/v2/user/get", Do: simulator.Code(60011), Times: 1})
	h.visitor().signIn(h.base+"/", "wangwu")
	h.visitor().get(h.base+"/public/", "X-Forwarded-For: 192.0.2.1")
	h.visitor().get(h.base + "/public/")
	if err := h.gate.sessions.RevokeUser(t.Context(), session.Person{UserID: "lisi"}, "left"); err != nil {
		t.Fatal(err)
	}
	r := h.statusReport(t)
	if r.Today.SignIns != 2 || r.Today.Refused["external_contact"] != 1 || r.Today.Refused["permission_missing"] != 1 || len(r.Today.Refused) != 2 {
		t.Errorf("today is %+v", r.Today)
	}
	if r.Sessions.Revoked != 1 || r.Stream != nil || r.Store.Kind != "memory" || !r.Store.Up || !r.Reload.Successful || r.Reload.At != nil {
		t.Errorf("sessions %+v, stream %v, store %+v, reload %+v", r.Sessions, r.Stream, r.Store, r.Reload)
	}
	ill := ""
	for _, c := range r.DingTalk {
		if c.Ailing {
			ill += c.Call + " " + c.Result + " " + c.Code
		}
	}
	if ill != "/topapi/v2/user/get refused 60011" || len(r.DingTalk) < 5 {
		t.Errorf("ill at DingTalk is %q of %d calls", ill, len(r.DingTalk))
	}
	if len(r.Untrusted) != 1 || r.Untrusted[0].Peer != "127.0.0.1" || r.Untrusted[0].Times != 1 {
		t.Errorf("not believed: %+v", r.Untrusted)
	}
	h.kit.metrics.Reloaded(false, time.Now())
	if r := h.statusReport(t); r.Reload.Successful || r.Reload.At == nil {
		t.Errorf("after a refused reload it says %+v", r.Reload)
	}
	for language, want := range map[string]string{"en": "the last reload was REFUSED", "zh": "最近一次重新加载被拒绝"} {
		w := askAdmin(h.admin(), "/status", "Accept: text/html", "Accept-Language: "+language)
		page := w.Body.String()
		if !strings.Contains(page, want) || !strings.Contains(page, "external_contact") || !strings.Contains(page, "60011") || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("the page in %s lacks something: %d\n%s", language, w.Code, page)
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(page, "style=") || strings.Contains(page, "<script") {
			t.Errorf("policy %q", policy)
		}
		for _, name := range []string{"zhangsan", "lisi", "张三", canary} {
			if strings.Contains(page, name) {
				t.Errorf("the page names %s", name)
			}
		}
	}
	if w := askAdmin(h.admin(), "/status"); w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("a shell gets %s", w.Header().Get("Content-Type"))
	}
	if a := h.visitor().get(h.base + "/status"); a.StatusCode != http.StatusFound {
		t.Errorf("/status at the gate = %d, want what any page is", a.StatusCode)
	}
}

// TestStatusTexts: every word that the page asks for is there in both languages.
func TestStatusTexts(t *testing.T) {
	page, err := os.ReadFile("status.html")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`\.T "(\w+)"`).FindAllStringSubmatch(string(page), -1) {
		used[m[1]] = true
		if w := statusTexts[m[1]]; w.en == "" || w.zh == "" {
			t.Errorf("the page asks for %q, which is missing", m[1])
		}
	}
	for name := range statusTexts {
		if !used[name] {
			t.Errorf("nobody asks for %q", name)
		}
	}
}
