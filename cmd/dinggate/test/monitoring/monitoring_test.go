package monitoring

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/conf"

	"github.com/alicebob/miniredis/v2"
	"go.yaml.in/yaml/v3"
)

const monitoring = "../../../../deploy/monitoring/"

// query is an expression of the dashboard or of an alert, and its place.
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

// metered is an environment with every source of metrics: Redis, events, a certificate, a
// reload.
func metered(t *testing.T) *servertest.Env {
	h := servertest.New(t, func(c *config.Config) {
		c.Session.Store, c.Redis.URL = "redis", conf.NewSecret("redis://"+miniredis.RunT(t).Addr())
	})
	again, err := server.New(h.Config, h.State)
	if err != nil {
		t.Fatal(err)
	}
	h.State.Serve(again) // as in a reload: a new registration replaces the old one
	h.State.Serve(h.Gateway)
	if _, err := server.LimitConnections(nil, h.Config, h.Kit); err != nil {
		t.Fatal(err)
	}
	h.Kit.Metrics.Reloaded(true)
	h.Kit.Metrics.Configured(func() bool { return true }, time.Now)
	h.Kit.Metrics.Certificate(func() time.Time { return time.Now().Add(30 * 24 * time.Hour) })
	return h
}

var (
	metricName  = regexp.MustCompile(`\b(dinggate_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matchLabel  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	grouping    = regexp.MustCompile(`by \(([^)]*)\)`)
	legendLabel = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}`)
)

// TestMonitoringNames checks that every metric and every label in the dashboard and in the
// alerts exists in the program.
func TestMonitoringNames(t *testing.T) {
	names := metered(t).Kit.Metrics.Names()
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
		for _, label := range legendLabel.FindAllStringSubmatch(q.legend, -1) {
			if !slices.Contains(labels, label[1]) {
				t.Errorf("%s: its text shows %s, which none of its metrics has", q.where, label[1])
			}
		}
	}
	for _, file := range []string{"operating.md", "operating.zh-CN.md"} {
		page, err := os.ReadFile("../../../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for name := range names {
			if !strings.Contains(string(page), "`"+name+"`") {
				t.Errorf("docs/%s does not name %s", file, name)
			}
		}
		for _, m := range regexp.MustCompile("`(dinggate_[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
			if _, ok := names[m[1]]; !ok {
				t.Errorf("docs/%s names %s, which does not exist", file, m[1])
			}
		}
	}
	for name := range names {
		if !used[name] &&
			!slices.Contains([]string{"dinggate_rechecks_running", "dinggate_events_last_seconds", "dinggate_directory_mirror_people",
				"dinggate_store_requests_total", "dinggate_config_last_reload_success_timestamp_seconds"}, name) {
			t.Errorf("no panel or alert uses %s: show it, or name it here", name)
		}
	}
}

// offered returns the metrics that the source registers.
func offered(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, pattern := range []string{"../../*.go", "../../internal/*/*.go", "../../../../internal/telemetry/*.go"} {
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

// TestAlertRunbooks checks that every alert links to a section of the runbooks that names
// it, in both languages.
func TestAlertRunbooks(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	english, chinese := read("../../../../docs/runbooks.md"), read("../../../../docs/runbooks.zh-CN.md")
	sections := map[string]string{}
	for part := range strings.SplitSeq(english, "\n## ") {
		title, _, _ := strings.Cut(part, "\n")
		sections[strings.ReplaceAll(strings.ToLower(title), " ", "-")] = part
	}
	alerts := regexp.MustCompile(`(?s)- alert: (\w+)\n(.*?)(?:\n\n|$)`)
	found := alerts.FindAllStringSubmatch(read("../../../../deploy/monitoring/alerts.yaml"), -1)
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
