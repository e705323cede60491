package manifesttest

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	ingress "k8s.io/api/networking/v1"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

const everything = `
existingSecret: mine
fullnameOverride: sso
config: {public_url: "https://app.example.com:8443", listen: ":4180", admin: {listen: ":9180"}, session: {store: redis}, dingtalk: {client_id: a, corp_id: b}}
networkPolicy: {gateFrom: [{namespaceSelector: {matchLabels: {a: b}}}]}
serviceMonitor: {enabled: true, labels: {a: b}}
prometheusRule: {enabled: true, labels: {a: b}, runbooks: "https://docs.example.com/runbooks.html"}
dashboard: {enabled: true, annotations: {grafana_folder: sign-in}}
autoscaling: {enabled: true}
ingress: {enabled: true, className: nginx, annotations: {a: b}, tls: [{secretName: app-tls, hosts: [app.example.com]}]}
httpRoute: {enabled: true, parentRefs: [{name: gateway, namespace: gateway-system}]}
podAnnotations: {a: b}
podLabels: {team: web}
priorityClassName: system-cluster-critical
extraVolumes: [{name: accounts, secret: {secretName: accounts}}]
extraVolumeMounts: [{name: accounts, mountPath: /etc/accounts, readOnly: true}]
extraEnv: [{name: DINGGATE_REDIS_URL, valueFrom: {secretKeyRef: {name: redis, key: url}}}]
nodeSelector: {a: b}
tolerations: [{key: a, operator: Exists}]
affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname,
    labelSelector: {matchLabels: {app.kubernetes.io/name: dinggate, app.kubernetes.io/instance: gate}}}]}}
imagePullSecrets: [{name: a}]
serviceAccount: {annotations: {a: b}}
`

// chartObjects renders the chart and decodes every object strictly.
func chartObjects(t *testing.T, values string) (objects []any, kinds []string) {
	t.Helper()
	text, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range documents([]byte(text)) {
		object, err := decode(doc)
		if err != nil {
			t.Errorf("%v in\n%s", err, doc)
			continue
		}
		var head struct{ Kind string }
		if err := yaml.Unmarshal(doc, &head); err != nil {
			t.Fatal(err)
		}
		objects, kinds = append(objects, object), append(kinds, head.Kind)
	}
	return objects, kinds
}

// only returns the single object of its type.
func only[T any](t *testing.T, objects []any) (found T) {
	t.Helper()
	n := 0
	for _, o := range objects {
		if o, ok := o.(T); ok {
			found = o
			n++
		}
	}
	if n != 1 {
		t.Fatalf("the chart makes %d objects %T, want 1", n, found)
	}
	return found
}

func TestChart(t *testing.T) {
	for _, c := range []struct {
		name, values string
		kinds        string
	}{
		{"existing secret", "existingSecret: mine",
			"NetworkPolicy PodDisruptionBudget ServiceAccount ConfigMap Service Deployment Pod"},
		{"own secret", "secret: {dingtalkSecret: a, cookieSecret: b}",
			"NetworkPolicy PodDisruptionBudget ServiceAccount Secret ConfigMap Service Deployment Pod"},
		{"everything", everything,
			"NetworkPolicy PodDisruptionBudget ServiceAccount ConfigMap ConfigMap Service Service Deployment " +
				"HorizontalPodAutoscaler Ingress HTTPRoute PrometheusRule ServiceMonitor Pod"},
		{"a volume", "{existingSecret: mine, persistence: {enabled: true, storageClass: ssd}}",
			"NetworkPolicy PodDisruptionBudget ServiceAccount ConfigMap PersistentVolumeClaim Service Deployment Pod"},
		{"a volume that is there", "{existingSecret: mine, persistence: {enabled: true, existingClaim: mine}}",
			"NetworkPolicy PodDisruptionBudget ServiceAccount ConfigMap Service Deployment Pod"},
		{"an SSO service and Redis",
			"{existingSecret: mine, config: {dingtalk: null, sso: {url: https://sso.example.com, client_id: " +
				"app}, session: {store: redis}}, extraEnv: [{name: DINGGATE_REDIS_URL, valueFrom: {secretKeyRef: " +
				"{name: redis, key: url}}}]}",
			"NetworkPolicy PodDisruptionBudget ServiceAccount ConfigMap Service Deployment Pod"},
		{
			"little", "{existingSecret: mine, podDisruptionBudget: {enabled: false}, networkPolicy: {enabled: " +
				"false}, serviceAccount: {create: false}}", "ConfigMap Service Deployment Pod",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, kinds := chartObjects(t, c.values)
			if strings.Join(kinds, " ") != c.kinds {
				t.Errorf("the chart makes %q, want %q", strings.Join(kinds, " "), c.kinds)
			}
			checkPod(t, c.name, only[*apps.Deployment](t, objects).Spec.Template.Spec)
			for _, o := range objects {
				if o, ok := o.(*core.ConfigMap); ok && o.Data["dinggate.json"] == "" &&
					!strings.Contains(o.Data["config.yaml"], "public_url: https://app.example.com") {
					t.Errorf("the ConfigMap holds %q", o.Data)
				}
			}
		})
	}
}

// TestChartReplicas checks that there is one replica unless Redis shares the sign-outs.
func TestChartReplicas(t *testing.T) {
	const redis = "config: {session: {store: redis}}"
	for _, c := range []struct {
		values string
		want   int32 // -1: unset, an autoscaler decides
	}{
		{"{existingSecret: mine}", 1},
		{"{existingSecret: mine, " + redis + "}", 2},
		{"{existingSecret: mine, replicas: 3}", 3},
		{"{existingSecret: mine, replicas: 0}", 0},
		{"{existingSecret: mine, replicas: 1, " + redis + "}", 1},
		{"{existingSecret: mine, autoscaling: {enabled: true}, " + redis + "}", -1},
		{"{existingSecret: mine, persistence: {enabled: true}}", 1},
	} {
		objects, _ := chartObjects(t, c.values)
		got := int32(-1)
		if n := only[*apps.Deployment](t, objects).Spec.Replicas; n != nil {
			got = *n
		}
		if got != c.want {
			t.Errorf("%s makes %d replicas, want %d", c.values, got, c.want)
		}
	}
}

// TestChartMemory checks that the runtime's memory limit follows the container's.
func TestChartMemory(t *testing.T) {
	for _, c := range []struct{ values, want string }{
		{"{existingSecret: mine}", "241591910"}, // 256Mi × 9 / 10
		{"{existingSecret: mine, resources: {limits: {memory: 1Gi}}}", "966367641"},
		{"{existingSecret: mine, resources: {limits: {memory: 500M}}}", "450000000"},
		// The program reads the limit of the control group itself.
		{"{existingSecret: mine, resources: {limits: {memory: 0.5Gi}}}", ""},
		{"{existingSecret: mine, resources: {limits: {memory: null}}}", ""},
		{"{existingSecret: mine, goMemLimit: 200MiB}", "200MiB"},
	} {
		objects, _ := chartObjects(t, c.values)
		got := ""
		for _, e := range only[*apps.Deployment](t, objects).Spec.Template.Spec.Containers[0].Env {
			if e.Name == "GOMEMLIMIT" {
				got = e.Value
			}
		}
		if got != c.want {
			t.Errorf("%s sets GOMEMLIMIT=%s, want %s", c.values, got, c.want)
		}
	}
}

// TestChartEverything checks the names by which objects refer to each other.
func TestChartEverything(t *testing.T) {
	objects, _ := chartObjects(t, everything)
	deployment := only[*apps.Deployment](t, objects)
	pod := deployment.Spec.Template
	if deployment.Name != "sso" || pod.Labels["team"] != "web" ||
		pod.Spec.PriorityClassName != "system-cluster-critical" {
		t.Errorf("the Deployment is %s with pods %v of class %s", deployment.Name, pod.Labels,
			pod.Spec.PriorityClassName)
	}
	if target := only[*autoscaling.HorizontalPodAutoscaler](t, objects).Spec.ScaleTargetRef; target.Name != "sso" ||
		target.Kind != "Deployment" {
		t.Errorf("the autoscaler scales %v", target)
	}
	mounted := false
	for _, m := range pod.Spec.Containers[0].VolumeMounts {
		mounted = mounted || m.Name == "accounts" && m.MountPath == "/etc/accounts"
	}
	if !mounted || pod.Spec.Volumes[len(pod.Spec.Volumes)-1].Name != "accounts" {
		t.Error("extraVolumes are not mounted")
	}
	rule := only[*ingress.Ingress](t, objects).Spec.Rules[0]
	if b := rule.HTTP.Paths[0].Backend.Service; rule.Host != "app.example.com" || b.Name != "sso" ||
		b.Port.Name != "gate" {
		t.Errorf("the Ingress forwards %s to %v", rule.Host, b)
	}
	route := only[*gatewayapi.HTTPRoute](t, objects).Spec
	if b := route.Rules[0].BackendRefs[0]; route.Hostnames[0] != "app.example.com" || b.Name != "sso" ||
		*b.Port != 4180 {
		t.Errorf("the HTTPRoute forwards %s to %v", route.Hostnames, b)
	}
	rules := only[*resource[prometheusRule]](t, objects).Spec
	if len(rules.Groups) == 0 || len(rules.Groups[0].Rules) < 10 ||
		!strings.Contains(rules.Groups[0].Rules[0].Expr, `job="dinggate"`) {
		t.Errorf("the PrometheusRule has %d groups", len(rules.Groups))
	}
	for _, r := range rules.Groups[0].Rules {
		if u := r.Annotations["runbook_url"]; r.Alert != "" && !strings.HasPrefix(u, "https://docs.example.com/runbooks.html#") {
			t.Errorf("runbook_url of %s = %q, want an address below prometheusRule.runbooks", r.Alert, u)
		}
	}
	// The value of this label is dinggate.
	if m := only[*resource[serviceMonitor]](t, objects).Spec; m.JobLabel != "app.kubernetes.io/name" {
		t.Errorf("the ServiceMonitor names the job by %s", m.JobLabel)
	}
	dashboard := ""
	for _, o := range objects {
		if o, ok := o.(*core.ConfigMap); ok && o.Labels["grafana_dashboard"] == "1" {
			dashboard = o.Data["dinggate.json"]
		}
	}
	if want := string(read(t,
		"../../../deploy/monitoring/dashboard.json")); strings.TrimSpace(dashboard) != strings.TrimSpace(want) {
		t.Error("the ConfigMap of the dashboard is not deploy/monitoring/dashboard.json")
	}
}

// TestChartState checks that the volume is mounted where the configuration expects it, and that
// one process at a time uses it.
func TestChartState(t *testing.T) {
	objects, _ := chartObjects(t, "{existingSecret: mine, persistence: {enabled: true}}")
	deployment := only[*apps.Deployment](t, objects)
	if deployment.Spec.Strategy.Type != apps.RecreateDeploymentStrategyType {
		t.Errorf("the strategy is %v: two pods would open one file", deployment.Spec.Strategy)
	}
	if text := only[*core.ConfigMap](t, objects).Data["config.yaml"]; !strings.Contains(text,
		"state_dir: /var/lib/dinggate") {
		t.Errorf("the configuration has no state_dir:\n%s", text)
	}
	if claim := only[*core.PersistentVolumeClaim](t, objects); claim.Name != "gate" ||
		claim.Annotations["helm.sh/resource-policy"] != "keep" {
		t.Errorf("the claim is %s, %v", claim.Name, claim.Annotations)
	}
}

// TestKubeScore checks the chart with default values and with all features, and the manifests,
// with kube-score.
func TestKubeScore(t *testing.T) {
	score := tool(t, "kube-score@v1.20.0")
	checkScore := func(name, text string) {
		t.Helper()
		cmd := exec.Command(score, "score", "--output-format", "ci", "-")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "[CRITICAL]") || strings.Contains(string(out), "[WARNING]") {
			t.Errorf("kube-score of %s: %v\n%s", name, err, out)
		}
	}
	for name, values := range map[string]string{"the chart": "existingSecret: mine", "everything": everything,
		"a volume": "{existingSecret: mine, persistence: {enabled: true}}"} {
		text, err := render(t, values)
		if err != nil {
			t.Fatal(err)
		}
		checkScore(name, text)
	}
	var standalone []string
	files, err := filepath.Glob("../../../deploy/kubernetes/standalone/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if base := filepath.Base(file); base != "config.yaml" && base != "kustomization.yaml" {
			standalone = append(standalone, string(read(t, file)))
		}
	}
	// kustomize adds the version to the image.
	checkScore("deploy/kubernetes/standalone",
		strings.ReplaceAll(strings.Join(standalone, "\n---\n"), "image: dinggate\n", "image: dinggate:1.0.0\n"))
}
