package manifesttest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const chart = "../helm/dinggate"

// render does what `helm template` does with the few functions our templates use.
func render(t *testing.T, values map[string]any) (text string, err error) {
	t.Helper()
	root := template.New("chart").Option("missingkey=zero")
	root.Funcs(template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var out bytes.Buffer
			err := root.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"toYaml": func(v any) (string, error) {
			out, err := yaml.Marshal(v)
			return strings.TrimSuffix(string(out), "\n"), err
		},
		"nindent": func(n int, s string) string {
			return "\n" + strings.Repeat(" ", n) + strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", n))
		},
		"quote": func(v any) string { return fmt.Sprintf("%q", fmt.Sprint(v)) },
		"default": func(d, v any) any {
			if v == nil || v == "" {
				return d
			}
			return v
		},
		"required": func(text string, v any) (any, error) {
			if v == nil || v == "" {
				return nil, fmt.Errorf("required: %s", text)
			}
			return v, nil
		},
		"sha256sum": func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) },
	})
	var names []string
	if err := filepath.WalkDir(filepath.Join(chart, "templates"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, err := root.New(path).Parse(string(source)); err != nil {
			return err
		}
		if strings.HasSuffix(path, ".yaml") {
			names = append(names, path)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, name := range names {
		if err := root.ExecuteTemplate(&out, name, map[string]any{"Values": values,
			"Release": map[string]any{"Name": "gate", "Namespace": "auth", "Service": "Helm"}, "Chart": map[string]any{"AppVersion": "1.0.0"}}); err != nil {
			return "", err
		}
		out.WriteString("\n---\n")
	}
	return out.String(), nil
}

// values are the defaults with changes on top, key by key.
func values(t *testing.T, changes string) map[string]any {
	t.Helper()
	var base, over map[string]any
	for _, part := range []struct {
		text []byte
		into *map[string]any
	}{{read(t, chart+"/values.yaml"), &base}, {[]byte(changes), &over}} {
		if err := yaml.UnmarshalStrict(part.text, part.into); err != nil {
			t.Fatal(err)
		}
	}
	merge(base, over)
	return base
}

func merge(base, over map[string]any) {
	for key, value := range over {
		inner, ok := value.(map[string]any)
		if old, both := base[key].(map[string]any); ok && both {
			old = maps.Clone(old)
			merge(old, inner)
			value = old
		}
		base[key] = value
	}
}

func TestChart(t *testing.T) {
	for _, c := range []struct {
		name, values string
		kinds        string // in the order of the files
	}{
		{"existing secret", "existingSecret: mine", "ConfigMap Deployment PodDisruptionBudget Service ServiceAccount Pod"},
		{"own secret", "secret: {dingtalkSecret: a, cookieSecret: b}", "ConfigMap Deployment PodDisruptionBudget Secret Service ServiceAccount Pod"},
		{"everything", "{existingSecret: mine, networkPolicy: {enabled: true}, serviceMonitor: {enabled: true, labels: {a: b}}, podAnnotations: {a: b}, nodeSelector: {a: b}, tolerations: [{key: a, operator: Exists}], affinity: {nodeAffinity: {}}, imagePullSecrets: [{name: a}], serviceAccount: {annotations: {a: b}}}",
			"ConfigMap Deployment NetworkPolicy PodDisruptionBudget Service Service ServiceAccount ServiceMonitor Pod"},
		{"little", "{existingSecret: mine, podDisruptionBudget: {enabled: false}, serviceAccount: {create: false}}", "ConfigMap Deployment Service Pod"},
	} {
		text, err := render(t, values(t, c.values))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for _, doc := range documents([]byte(text)) {
			object, err := decode(doc)
			if err != nil {
				t.Errorf("%s: %v in\n%s", c.name, err, doc)
				continue
			}
			var head struct{ Kind string }
			if err := yaml.Unmarshal(doc, &head); err != nil {
				t.Fatal(err)
			}
			got = append(got, head.Kind)
			switch o := object.(type) {
			case *apps.Deployment:
				checkPod(t, c.name, o.Spec.Template.Spec)
			case *core.ConfigMap:
				if !strings.Contains(o.Data["config.yaml"], "public_url: https://app.example.com") {
					t.Errorf("%s: the ConfigMap holds %q", c.name, o.Data)
				}
			}
		}
		if strings.Join(got, " ") != c.kinds {
			t.Errorf("%s makes %q, want %q", c.name, strings.Join(got, " "), c.kinds)
		}
	}
	if _, err := render(t, values(t, "{}")); err == nil {
		t.Error("a chart without any secret renders, want a mistake")
	}
}
