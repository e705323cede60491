package monitoring

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/realtool"
	"dinggate/session"

	"go.yaml.in/yaml/v3"
)

// prometheus is a real Prometheus that scrapes a gateway every second.
type prometheus struct {
	t    testing.TB
	base string
}

func startPrometheus(t *testing.T, h *servertest.Env) *prometheus {
	path := realtool.Path(t, "prometheus")
	admin := httptest.NewServer(h.Kit.Metrics.Handler())
	t.Cleanup(admin.Close)
	dir := t.TempDir()
	config := fmt.Sprintf(
		"global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%s]\nscrape_configs: [{job_name: "+
			"dinggate, static_configs: [{targets: [%q]}]}]\n",
		absolute(t, monitoring+"alerts.yaml"), strings.TrimPrefix(admin.URL, "http://"),
	)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &prometheus{t, "http://" + realtool.FreeAddr(t)}
	cmd := exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+dir+"/data",
		"--web.listen-address="+strings.TrimPrefix(p.base, "http://"), "--log.level=error")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	servertest.Eventually(t, "Prometheus has scraped", func() bool {
		res, err := http.Get(p.base + "/api/v1/query?query=dinggate_build_info")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		var got answerOfPrometheus
		return json.NewDecoder(res.Body).Decode(&got) == nil && len(got.Data.Result) > 0
	})
	return p
}

func absolute(t testing.TB, name string) string {
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

type answerOfPrometheus struct {
	Status, Error string
	Data          struct {
		Result []series
	}
}

type series struct {
	Metric map[string]string
	Value  [2]any
	Values [][2]any
}

// query evaluates an expression of the dashboard for now or, with a range, for the time
// since start.
func (p *prometheus) query(expr string, start time.Time) []series {
	p.t.Helper()
	expr = strings.NewReplacer("$job", "dinggate", "$instance", ".*", "$__rate_interval", "5s", "[1h]",
		"[20s]").Replace(expr)
	path := "/api/v1/query?query=" + url.QueryEscape(expr)
	if !start.IsZero() {
		path = fmt.Sprintf("/api/v1/query_range?query=%s&start=%d&end=%d&step=1", url.QueryEscape(expr), start.Unix(),
			time.Now().Unix())
	}
	res, err := http.Get(p.base + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	var got answerOfPrometheus
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || got.Status != "success" {
		p.t.Errorf("Prometheus on %s: %v %s", expr, err, got.Error)
	}
	return got.Data.Result
}

// traffic is the traffic of a short morning: people sign in, send requests, are refused and
// sign out; DingTalk throttles for a while; an application is unavailable. On a busy machine
// it lasts longer: until each of these has happened.
func traffic(h *servertest.Env, until context.Context, pause time.Duration) {
	people := []string{"zhangsan", "lisi", "wangwu", "zhaoliu", "zhouba", "sunqi", "wujiu"}
	visitors := map[string]*servertest.Client{}
	for i := 0; until.Err() == nil || i < 120; i++ {
		who := people[i%len(people)]
		v := visitors[who]
		if v == nil {
			v = h.NewClient()
			v.SignIn(h.URL+"/", who)
			visitors[who] = v
		}
		for range 1 + i%4 {
			v.Get(h.URL + "/reports")
			v.Get(h.URL+"/oauth2/auth", "X-Original-Url: "+h.URL+"/admin/", "X-Forwarded-For: 192.0.2.7")
			v.Get(h.URL+"/oauth2/forward-auth", "X-Forwarded-Uri: /", "X-Forwarded-Method: GET",
				"X-Forwarded-Host: "+strings.TrimPrefix(h.URL, "http://"), "X-Forwarded-Proto: http")
		}
		v.Get(h.URL + "/admin/")
		h.NewClient().Get(h.URL + "/public/")
		if i == 400 {
			people = slices.DeleteFunc(people, func(id string) bool { return id == "wangwu" })
			if err := h.Platform.Leave("wangwu"); err != nil {
				h.T.Fatal(err)
			}
		}
		switch i % 120 {
		case 15, 45, 75, 105:
			v.Do(http.MethodPost, h.URL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
			delete(visitors, who)
		case 60:
			h.Platform.Fault(simulator.Fault{On: "/topapi/v2/user/get", Do: simulator.Code(90018), Times: 1})
			delete(visitors, "lisi")
		case 9, 29, 49, 69, 89, 109:
			h.Gateway.Sessions.RecheckUser(session.Person{UserID: "zhangsan"})
		case 35, 95:
			delete(visitors, "zhangsan")
		}
		h.Kit.Metrics.AccessRequest("granted", 3*time.Minute)
		select {
		case <-until.Done():
		case <-time.After(pause):
		}
	}
}

// TestMonitoringInPrometheus checks that a real Prometheus loads the rules, and evaluates
// every expression of the dashboard to data from an environment under load.
func TestMonitoringInPrometheus(t *testing.T) {
	realtool.Path(t, "prometheus")
	h := metered(t)
	p := startPrometheus(t, h)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	traffic(h, ctx, 50*time.Millisecond)
	quiet := regexp.MustCompile(`上游错误|审计、日志与重载问题|提前结束的会话|存储耗时|OIDC 请求|镜像的时间|^Dinggate`) // nothing of that kind occurs here
	missing := slices.DeleteFunc(queries(t), func(q query) bool { return quiet.MatchString(q.where) })
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(20 * time.Second); len(missing) > 0 && time.Now().Before(end); <-again.C { // until the last scrapes
		missing = slices.DeleteFunc(missing, func(q query) bool { return len(p.query(q.expr, time.Time{})) > 0 })
	}
	for _, q := range missing {
		t.Errorf("%s: no data for %s", q.where, q.expr)
	}
	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	res, err := http.Get(p.base + "/api/v1/rules")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&rules); err != nil || len(rules.Data.Groups) != 1 {
		t.Fatalf("Prometheus's rules: %v %+v", err, rules)
	}
	for _, r := range rules.Data.Groups[0].Rules {
		if r.Health != "ok" {
			t.Errorf("alert %s is %s: %s", r.Name, r.Health, r.LastError)
		}
	}
}

// TestAlertsFire checks that each alert fires for its condition, and that none fires
// without a problem.
func TestAlertsFire(t *testing.T) {
	promtool := realtool.Path(t, "promtool")
	dir := t.TempDir()
	data, err := os.ReadFile(monitoring + "alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string           `yaml:"name"`
			Rules []map[string]any `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(data, &rules); err != nil {
		t.Fatal(err)
	}
	cases, err := os.ReadFile("testdata/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules.Groups[0].Rules {
		delete(r, "annotations") // promtool would compare their whole text
		if n := strings.Count(string(cases), fmt.Sprint(r["alert"])); n != 3 {
			t.Errorf(
				"alertname %s is in testdata/alerts_test.yaml %d times, want 3: a case with its name, and health",
				r["alert"], n,
			)
		}
	}
	bare, err := yaml.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"alerts.yaml": bare, "alerts_test.yaml": cases} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(promtool, "test", "rules", "alerts_test.yaml")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
