package main

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

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/realtool"
	"dinggate/session"

	"github.com/alicebob/miniredis/v2"
	"go.yaml.in/yaml/v3"
)

const monitoring = "../../deploy/monitoring/"

// query is an expression of the dashboard or of an alert, and where it stands.
type query struct{ where, expr, legend string }

type dashboardPanel struct {
	ID      int
	Title   string
	Type    string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr, LegendFormat string }

	FieldConfig struct{ Defaults struct{ Unit string } }
}

func dashboard(t testing.TB) (panels []dashboardPanel) {
	data, err := os.ReadFile(monitoring + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct{ Panels []dashboardPanel }
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d.Panels
}

func queries(t testing.TB) (all []query) {
	for _, p := range dashboard(t) {
		for _, target := range p.Targets {
			all = append(all, query{p.Title, target.Expr, target.LegendFormat})
		}
	}
	data, err := os.ReadFile(monitoring + "alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(data, &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all = append(all, query{r.Alert, r.Expr, r.Annotations["summary"]})
		}
	}
	if len(all) < 40 {
		t.Fatalf("%d expressions: something is wrong with this test", len(all))
	}
	return all
}

// metered is an environment with everything that has metrics: Redis, events, a
// certificate, a reload.
func metered(t *testing.T) *testEnv {
	h := newTestEnv(t, func(c *config.Config) {
		c.Session.Store, c.Redis.URL = "redis", conf.NewSecret("redis://"+miniredis.RunT(t).Addr())
	})
	again, err := server.New(h.cfg, h.state)
	if err != nil {
		t.Fatal(err)
	}
	h.state.Serve(again) // as in a reload: what is registered anew replaces the old
	h.state.Serve(h.gate)
	if _, err := server.LimitConnections(nil, h.cfg, h.kit); err != nil {
		t.Fatal(err)
	}
	h.kit.Metrics.Reloaded(true)
	h.kit.Metrics.Configured(func() bool { return true }, time.Now)
	h.kit.Metrics.Certificate(func() time.Time { return time.Now().Add(30 * 24 * time.Hour) })
	return h
}

var (
	metricName = regexp.MustCompile(`\b(dinggate_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matchLabel = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	grouping   = regexp.MustCompile(`by \(([^)]*)\)`)
	legendHole = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}`)
)

// TestMonitoringNames: every metric and every label that the dashboard and the
// alerts name is one that the program really has.
func TestMonitoringNames(t *testing.T) {
	names := metered(t).kit.Metrics.Names()
	if len(names) < 30 {
		t.Errorf("%d metrics are known: something is wrong with this test", len(names))
	}
	for name := range offered(t) {
		if _, ok := names[name]; !ok {
			t.Errorf("the program offers %s in some circumstances; metered must be in them", name)
		}
	}
	used := map[string]bool{}
	for _, q := range queries(t) {
		labels := []string{"instance", "job", "le"} // Prometheus's own
		for _, m := range metricName.FindAllStringSubmatch(q.expr, -1) {
			name := m[1]
			own, ok := names[name]
			if !ok {
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					if base, cut := strings.CutSuffix(name, suffix); cut && !ok {
						own, ok = names[base]
						name = base
					}
				}
			}
			if !ok {
				t.Errorf("%s: there is no metric %s", q.where, m[1])
				continue
			}
			used[name] = true
			labels = append(labels, own...)
			for _, label := range matchLabel.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(own, label[1]) && label[1] != "job" && label[1] != "instance" {
					t.Errorf("%s: %s has no label %s", q.where, m[1], label[1])
				}
			}
		}
		for _, by := range grouping.FindAllStringSubmatch(q.expr, -1) {
			for label := range strings.SplitSeq(by[1], ",") {
				if label = strings.TrimSpace(label); !slices.Contains(labels, label) {
					t.Errorf("%s: groups by %s, which none of its metrics has", q.where, label)
				}
			}
		}
		for _, hole := range legendHole.FindAllStringSubmatch(q.legend, -1) {
			if !slices.Contains(labels, hole[1]) {
				t.Errorf("%s: its text shows %s, which none of its metrics has", q.where, hole[1])
			}
		}
	}
	for _, file := range []string{"operating.md", "operating.zh-CN.md"} {
		page, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for name := range names {
			if !strings.Contains(string(page), "`"+name+"`") {
				t.Errorf("docs/%s does not tell of %s", file, name)
			}
		}
		for _, m := range regexp.MustCompile("`(dinggate_[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
			if _, ok := names[m[1]]; !ok {
				t.Errorf("docs/%s tells of %s, which there is not", file, m[1])
			}
		}
	}
	for name := range names {
		if !used[name] &&
			!slices.Contains([]string{"dinggate_rechecks_running", "dinggate_events_last_seconds", "dinggate_directory_mirror_people",
				"dinggate_store_requests_total", "dinggate_config_last_reload_success_timestamp_seconds"}, name) {
			t.Errorf("nobody looks at %s: show it, or name it here", name)
		}
	}
}

// offered are the metrics that the source registers anywhere.
func offered(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, pattern := range []string{"*.go", "internal/*/*.go", "../../internal/telemetry/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range registers.FindAllSubmatch(text, -1) {
				if !strings.HasSuffix(file, "_test.go") {
					all["dinggate_"+string(m[1])] = true
				}
			}
		}
	}
	if len(all) < 30 {
		t.Errorf("%d metrics in the source: something is wrong with this test", len(all))
	}
	return all
}

var registers = regexp.MustCompile(`\.(?:Gauge|GaugeOf|Count|Moment|counter|histogram|named)\("([a-z_]+)"`)

// prometheus is a real one that scrapes a gateway every second.
type prometheus struct {
	t    testing.TB
	base string
}

func startPrometheus(t *testing.T, h *testEnv) *prometheus {
	path := realtool.Path(t, "prometheus")
	admin := httptest.NewServer(h.kit.Metrics.Handler())
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
	eventually(t, "Prometheus has scraped", func() bool {
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

// ask evaluates a dashboard's expression now, or, with a range, over the time from start on.
func (p *prometheus) ask(expr string, start time.Time) []series {
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

// bustle is a morning in short: people come, work, are kept out, leave; DingTalk
// is busy for a while; an application is down.
func (h *testEnv) bustle(until context.Context, pause time.Duration) {
	people := []string{"zhangsan", "lisi", "wangwu", "zhaoliu", "zhouba", "sunqi", "wujiu"}
	visitors := map[string]*visitor{}
	for i := 0; until.Err() == nil; i++ {
		who := people[i%len(people)]
		v := visitors[who]
		if v == nil {
			v = h.visitor()
			v.signIn(h.base+"/", who)
			visitors[who] = v
		}
		for range 1 + i%4 {
			v.get(h.base + "/reports")
			v.get(h.base+"/oauth2/auth", "X-Original-Url: "+h.base+"/admin/", "X-Forwarded-For: 192.0.2.7")
			v.get(h.base+"/oauth2/forward-auth", "X-Forwarded-Uri: /", "X-Forwarded-Method: GET",
				"X-Forwarded-Host: "+strings.TrimPrefix(h.base, "http://"), "X-Forwarded-Proto: http")
		}
		v.get(h.base + "/admin/")
		h.visitor().get(h.base + "/public/")
		if i == 400 {
			people = slices.DeleteFunc(people, func(id string) bool { return id == "wangwu" })
			if err := h.platform.Leave("wangwu"); err != nil {
				h.t.Fatal(err)
			}
		}
		switch i % 120 {
		case 15, 45, 75, 105:
			v.do(http.MethodPost, h.base+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin")
			delete(visitors, who)
		case 60:
			h.platform.Fault(simulator.Fault{On: "/topapi/v2/user/get", Do: simulator.Code(90018), Times: 1})
			delete(visitors, "lisi")
		case 9, 29, 49, 69, 89, 109:
			h.gate.Sessions.RecheckUser(session.Person{UserID: "zhangsan"})
		case 35, 95:
			delete(visitors, "zhangsan")
		}
		select {
		case <-until.Done():
		case <-time.After(pause):
		}
	}
}

// TestMonitoringInPrometheus: a real Prometheus takes the rules, and answers
// every expression of the dashboard with data from an environment under load.
func TestMonitoringInPrometheus(t *testing.T) {
	realtool.Path(t, "prometheus")
	h := metered(t)
	p := startPrometheus(t, h)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	h.bustle(ctx, 50*time.Millisecond)
	quiet := regexp.MustCompile(`上游错误|审计、日志与重载问题|提前结束的会话|存储耗时|OIDC 请求|镜像的时间|^Dinggate`) // nothing of that kind goes on here
	for _, q := range queries(t) {
		got := p.ask(q.expr, time.Time{})
		if len(got) == 0 && !quiet.MatchString(q.where) {
			t.Errorf("%s: no data for %s", q.where, q.expr)
		}
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

// TestAlertRunbooks: every alert links to a section of the runbooks that names it, in
// both languages.
func TestAlertRunbooks(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	english, chinese := read("../../docs/runbooks.md"), read("../../docs/runbooks.zh-CN.md")
	sections := map[string]string{}
	for part := range strings.SplitSeq(english, "\n## ") {
		title, _, _ := strings.Cut(part, "\n")
		sections[strings.ReplaceAll(strings.ToLower(title), " ", "-")] = part
	}
	alerts := regexp.MustCompile(`(?s)- alert: (\w+)\n(.*?)(?:\n\n|$)`)
	found := alerts.FindAllStringSubmatch(read("../../deploy/monitoring/alerts.yaml"), -1)
	if len(found) < 20 {
		t.Fatalf("%d alerts found: something is wrong with this test", len(found))
	}
	for _, m := range found {
		_, anchor, _ := strings.Cut(m[2], "runbook_url: docs/runbooks.md#")
		anchor, _, _ = strings.Cut(anchor, "\n")
		if !strings.Contains(sections[anchor], m[1]) || !strings.Contains(chinese, m[1]) {
			t.Errorf("%s links to section %q, which does not name it", m[1], anchor)
		}
	}
}

// TestAlertsFire: each alert fires on what it is for, and none in health.
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
		delete(r, "annotations") // promtool would compare every word of them
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
