package manifesttest

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	ingress "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

const chart = "../../../deploy/helm/dinggate"

// tool returns the path of a program that scripts/tools has built, by NAME@VERSION. This is a
// separate module, so that the types of a dozen gateways are not dependencies of the product.
func tool(t *testing.T, name string) string {
	t.Helper()
	program, _, _ := strings.Cut(name, "@")
	path := filepath.Join(cmp.Or(os.Getenv("XDG_CACHE_HOME"), os.Getenv("HOME")+"/.cache"), "dinggate-tools", name,
		program)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if os.Getenv("TEST_TOOLS") == "required" {
		t.Fatalf("%s is not built: run `make tools`", name)
	}
	t.Skipf("SKIPPED: %s is not built; `make test` builds it", name)
	return ""
}

func helm(t *testing.T) string { return tool(t, "helm@v3.22.0") }

// render returns the output of `helm template` for the chart with these values in addition to its
// defaults. The order is the order of installation.
func render(t *testing.T, values string) (string, error) {
	t.Helper()
	cmd := exec.Command(helm(t), "template", "gate", chart, "--namespace", "auth", "--kube-version", "1.33.0",
		"--values", "testdata/given.yaml", "--values", "-")
	cmd.Stdin = strings.NewReader(values)
	var out, failure strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &failure
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("helm template: %w: %s", err, &failure)
	}
	if failure.Len() > 0 { // such as notices about symbolic links
		t.Errorf("helm template prints %q", &failure)
	}
	return out.String(), nil
}

// TestChartLint checks the chart with helm, including its values.schema.json.
func TestChartLint(t *testing.T) {
	out, err := exec.Command(helm(t), "lint", "--strict", chart, "--values", "testdata/given.yaml", "--set",
		"existingSecret=mine").CombinedOutput()
	if err != nil || strings.Contains(string(out), "symbolic link") {
		t.Errorf("helm lint --strict: %v\n%s", err, out)
	}
	for _, c := range []struct{ values, want string }{
		{"{}", "existingSecret"},                               // no secret at all
		{"{existingSecret: mine, replicas: many}", "replicas"}, // the schema checks types
		{"{existingSecret: mine, config: {sso: {url: https://sso.example.com}}}", "oneOf"},
		{"{existingSecret: mine, replicaz: 2}", "replicaz"}, // and names
		{"{existingSecret: mine, image: {name: x}}", "name"},
		{"{existingSecret: mine, config: {listne: x}}", "listne"}, // and the names of the configuration
		{"{existingSecret: mine, config: {cookie: {secrets: [x]}}}", "secrets"},
		// A required value.
		{"{existingSecret: mine, config: {public_url: ''}}", "config.public_url is missing"},
		{"{existingSecret: mine, config: {dingtalk: {client_id: ''}}}", "config.dingtalk.client_id is missing"},
		{"{existingSecret: mine, config: {dingtalk: {corp_id: dingcorpxxxxxxxx}}}", "config.dingtalk.corp_id is missing"},
		{"{secret: {dingtalkSecret: x}}", "secret.cookieSecret"},
		{"{existingSecret: mine, persistence: {enabled: true}, replicas: 2}", "one replica"},
		{"{existingSecret: mine, persistence: {enabled: true}, autoscaling: {enabled: true}}", "one replica"},
		{"{existingSecret: mine, httpRoute: {enabled: true}}", "parentRefs"},
		// The Service would no longer select its pods.
		{"{existingSecret: mine, podLabels: {app.kubernetes.io/name: other}}", "app.kubernetes.io/name"},
	} {
		if _, err := render(t, c.values); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("helm template with %s = %v, want a mistake that names %s", c.values, err, c.want)
		}
	}
}

// TestChartFiles checks that the chart contains the files that it installs. helm prints a notice
// for each symbolic link, and a package must not contain links.
func TestChartFiles(t *testing.T) {
	for _, name := range []string{"dashboard.json", "alerts.yaml"} {
		if string(read(t, chart+"/files/"+name)) != string(read(t, "../../../deploy/monitoring/"+name)) {
			t.Errorf("%s/files/%s is not deploy/monitoring/%s: copy it", chart, name, name)
		}
	}
}

// TestChartReadme checks that both READMEs list every value and nothing else.
func TestChartReadme(t *testing.T) {
	var values map[string]any
	if err := yaml.Unmarshal(read(t, chart+"/values.yaml"), &values); err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([^`]+)`")
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		shown := map[string]bool{}
		for _, m := range row.FindAllStringSubmatch(string(read(t, chart+"/"+name)), -1) {
			shown[m[1]] = true
			at, ok := any(values), true
			for part := range strings.SplitSeq(m[1], ".") {
				section, _ := at.(map[string]any)
				if at, ok = section[part]; !ok {
					t.Errorf("%s: %s is no value", name, m[1])
					break
				}
			}
		}
		for key, value := range values {
			section, _ := value.(map[string]any)
			if key == "config" || key == "resources" || key == "test" || key == "affinity" || len(section) == 0 {
				section = map[string]any{"": nil}
			}
			for below := range section {
				if path := strings.TrimSuffix(key+"."+below, "."); !shown[path] {
					t.Errorf("%s: %s is missing", name, path)
				}
			}
		}
	}
}

// TestChartNetworkPolicy checks that the pod of `helm test` may connect to the port that the
// Service selects, and that another pod of the namespace may not.
func TestChartNetworkPolicy(t *testing.T) {
	text, err := render(t,
		"{existingSecret: mine, networkPolicy: {gateFrom: [{namespaceSelector: {matchLabels: "+
			"{kubernetes.io/metadata.name: ingress}}}]}}")
	if err != nil {
		t.Fatal(err)
	}
	var rules *ingress.NetworkPolicy
	var test *core.Pod
	var service *core.Service
	for _, doc := range documents([]byte(text)) {
		object, err := decode(doc)
		if err != nil {
			t.Fatal(err)
		}
		switch o := object.(type) {
		case *ingress.NetworkPolicy:
			rules = o
		case *core.Pod:
			test = o
		case *core.Service:
			service = o
		}
	}
	if rules == nil || test == nil || service == nil {
		t.Fatalf("the chart makes no NetworkPolicy, no test or no Service:\n%s", text)
	}
	port := service.Spec.Ports[0].TargetPort
	if !permits(rules, test.Labels, port) {
		t.Errorf("the NetworkPolicy denies the chart's test with the labels %v:\n%s", test.Labels, text)
	}
	for _, labels := range []map[string]string{nil, {"app.kubernetes.io/name": "dinggate-test"},
		{"app.kubernetes.io/name": "dinggate-test", "app.kubernetes.io/instance": "other"},
		{"app.kubernetes.io/name": "app", "app.kubernetes.io/instance": "gate"}} {
		if permits(rules, labels, port) {
			t.Errorf("the NetworkPolicy allows a pod of the namespace with the labels %v", labels)
		}
	}
	if permits(rules, test.Labels, intstr.FromString("admin")) {
		t.Error("the NetworkPolicy allows the test to reach the admin port")
	}
	if !slices.Contains(test.Spec.Containers[0].Command, "Host: app.example.com") {
		t.Errorf("the test requests with %q, want the host of public_url", test.Spec.Containers[0].Command)
	}
	selected := true
	for name, value := range service.Spec.Selector {
		selected = selected && test.Labels[name] == value
	}
	if selected {
		t.Errorf("the Service selects the test's own pod: %v", service.Spec.Selector)
	}
}

// TestChartTLS checks that the test pod uses https if dinggate has its own certificate.
func TestChartTLS(t *testing.T) {
	text, err := render(t, "{existingSecret: mine, config: {tls: {cert_file: /tls/tls.crt, key_file: /tls/tls.key}}}")
	if err != nil || !strings.Contains(text, `--no-check-certificate`) || !strings.Contains(text, `"https://gate:4180/oauth2/sign_in"`) {
		t.Errorf("the test of a chart with TLS: %v\n%s", err, text)
	}
}

// permits reports whether a pod of the policy's namespace may connect to the port.
func permits(policy *ingress.NetworkPolicy, pod map[string]string, port intstr.IntOrString) bool {
	for _, rule := range policy.Spec.Ingress {
		if !slices.ContainsFunc(rule.Ports, func(p ingress.NetworkPolicyPort) bool { return *p.Port == port }) {
			continue
		}
		for _, peer := range rule.From {
			if peer.NamespaceSelector != nil || peer.PodSelector == nil {
				continue
			}
			matches := true
			for name, value := range peer.PodSelector.MatchLabels {
				matches = matches && pod[name] == value
			}
			if matches && len(peer.PodSelector.MatchLabels) > 0 {
				return true
			}
		}
	}
	return false
}
