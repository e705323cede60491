package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/i18n"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the generated files anew")

// generated compares a file of the repository with the generated content.
func generated(t *testing.T, name string, want []byte) {
	t.Helper()
	path := filepath.Join("../../../..", name)
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code says (%v): go test ./cmd/dinggate/internal/config -run %s -update", name,
			err, t.Name())
	}
}

func compiled(t *testing.T, text []byte) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("dinggate.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("dinggate.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON converts YAML as the schema check of an editor does; ok is false for invalid YAML
// and for a duplicate key.
func asJSON(t *testing.T, text []byte) (value any, ok bool) {
	t.Helper()
	var node yaml.Node
	if yaml.Unmarshal(text, &node) != nil || len(node.Content) == 0 {
		return nil, false
	}
	quoteDates(&node)
	if node.Decode(&value) != nil {
		return nil, false
	}
	return plainMaps(value), true
}

// quoteDates converts dates to text, since JSON has no dates.
func quoteDates(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!timestamp" {
		n.Tag = "!!str"
	}
	for _, below := range n.Content {
		quoteDates(below)
	}
}

func plainMaps(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plainMaps(v[k])
		}
	case map[any]any:
		out := map[string]any{}
		for k, below := range v {
			name, _ := k.(string)
			out[name] = plainMaps(below)
		}
		return out
	case []any:
		for i := range v {
			v[i] = plainMaps(v[i])
		}
	}
	return v
}

func TestSchemaFile(t *testing.T) {
	generated(t, SchemaID, Schema())
	generated(t, RoutesSchemaID, RoutesSchema())

	// The chart's schema has the top-level keys.
	const chart = "deploy/helm/dinggate/values.schema.json"
	text, err := os.ReadFile(filepath.Join("../../../..", chart))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range fieldsOf(reflect.TypeFor[Config]()) {
		names = append(names, strconv.Quote(f.name))
	}
	slices.Sort(names)
	list := regexp.MustCompile(`"propertyNames": \{"enum": \[[^\]]*\]\}`)
	if n := len(list.FindAll(text, -1)); n != 1 {
		t.Fatalf("%s has %d lists of property names, want that of config", chart, n)
	}
	generated(t, chart, list.ReplaceAll(text, []byte(`"propertyNames": {"enum": [`+strings.Join(names, ", ")+`]}`)))
}

// TestRoutesSchema checks that a file of conf.d can contain routes only.
func TestRoutesSchema(t *testing.T) {
	s := compiled(t, RoutesSchema())
	for text, want := range map[string]bool{
		"routes: [{path: /a/, access: {users: [zs]}, timeout: 5s}]": true,
		"routes: []":                        true,
		"routes: [{path: /a/, access: {}}]": false,
		"routes: [{path: a}]":               false,
		"routes: [{acces: public}]":         false,
		"routes: {path: /a/}":               false,
		"listen: :0":                        false,
	} {
		if v, ok := asJSON(t, []byte(text)); !ok || (s.Validate(v) == nil) != want {
			t.Errorf("the schema takes %q: %t, want %t: %v", text, !want, want, s.Validate(v))
		}
	}
}

// TestSchema checks that the schema accepts every file that Load accepts, and refuses most
// of the files that Load refuses. The exceptions are listed.
func TestSchema(t *testing.T) {
	s := compiled(t, Schema())
	for _, pattern := range []string{"config.example.yaml", "deploy/config.yaml", "deploy/*/config.yaml",
		"deploy/kubernetes/*/config.yaml"} {
		names, err := filepath.Glob(filepath.Join("../../../..", pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v, no file", pattern, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(text, []byte("public_url:")) { // a configuration of the gateway
				continue
			}
			if v, ok := asJSON(t, text); !ok || s.Validate(v) != nil {
				t.Errorf("%s: the schema says %v", name, s.Validate(v))
			}
		}
	}
	archive, err := txtar.ParseFile("testdata/mistakes.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var unseen []string
	refused := 0
	for _, file := range archive.Files {
		v, ok := asJSON(t, file.Data)
		wrong := false
		for line := range strings.Lines(string(file.Data)) {
			_, text, marked := strings.Cut(line, "#! ")
			wrong = wrong || marked && !strings.HasPrefix(text, "warning: ")
		}
		switch {
		case !ok:
		case s.Validate(v) != nil && !wrong:
			t.Errorf("%s: the schema refuses what check takes: %v", file.Name, s.Validate(v))
		case s.Validate(v) != nil:
			refused++
		case wrong:
			unseen = append(unseen, file.Name)
		}
	}
	if !slices.Equal(unseen, schemaBlind) {
		t.Errorf("the schema does not see the mistakes in\n%s\nwant\n%s", strings.Join(unseen, "\n"),
			strings.Join(schemaBlind, "\n"))
	}
	if refused < 40 {
		t.Errorf("the schema refuses %d files, want most", refused)
	}
}

// schemaBlind are the files of mistakes.txtar whose mistakes the schema does not cover:
// missing keys, which may come from the environment; limits of durations; other files;
// conditions between keys.
var schemaBlind = []string{
	"merge-key.yaml", "sso.yaml", "sso-login-api.yaml", "oidc-paths-behind-sso.yaml", "redis-user.yaml", "redis-host.yaml", "redis-hosts.yaml",
	"redis-db.yaml", "redis-master.yaml", "redis-path.yaml", "redis-query.yaml", "redis-socket.yaml",
	"redis-password-twice.yaml", "redis-tls.yaml", "redis-pair.yaml", "sso-server-without-clients.yaml",
	"sso-server-prefix.yaml", "assertion.yaml", "assertion-header.yaml", "htpasswd-nowhere.yaml",
	"api-token-clients.yaml", "templates.yaml", "public-url-host.yaml", "corp-id-missing.yaml", "api-url.yaml",
	"secret-of-the-example.yaml", "secret-repeated.yaml", "secret-file-missing.yaml", "domain.yaml",
	"domain-half.yaml", "same-site-none.yaml", "idle.yaml", "upstream-user.yaml",
	"route-strip.yaml", "route-strip-elsewhere.yaml", "header-hop.yaml", "header-ours.yaml",
	"header-folded.yaml", "logo.yaml", "admin-same.yaml", "admin-covered.yaml",
	"envoy-grpc-covered.yaml", "envoy-grpc-same.yaml", "upstream-self.yaml", "upstream-own-listeners.yaml", "tls-half.yaml", "tracing.yaml",
	"audit.yaml", "drain.yaml",
	"console-networks.yaml",
}

func TestReferencePages(t *testing.T) {
	generated(t, "docs/configuration.md", Document(i18n.English))
	generated(t, "docs/configuration.zh-CN.md", Document(i18n.Chinese))
}

// TestConstraints checks that the values that schema and reference allow are those that
// Check accepts.
func TestConstraints(t *testing.T) {
	types := map[string]reflect.Type{}
	for _, k := range Keys() {
		types[k.Path] = k.typ
	}
	takes := func(path, value string) bool {
		parts := strings.Split(path, ".")
		text := ""
		for i, part := range parts {
			text += strings.Repeat("  ", i) + part + ":"
			if i < len(parts)-1 {
				text += "\n"
			}
		}
		_, problems := loadText(text+" "+value+"\n", nil, required)
		return !slices.ContainsFunc(problems, func(p conf.Problem) bool {
			return p.Key == path && !p.Warning && !strings.Contains(p.Text.Format, "audit.file")
		})
	}
	for path, typ := range types {
		c := constraints[path]
		var good, bad []string
		switch {
		case typ == durationType:
			good, bad = []string{"1m"}, []string{"-1s", "8"}
			if c.positive || c.min > 0 {
				bad = append(bad, "0s")
			}
			if c.max > 0 {
				good = append(good, Short(max(c.min, time.Second)), Short(c.max))
				bad = append(bad, (c.max + time.Second).String())
			}
		case typ.Kind() == reflect.Int && c.high > 0:
			good, bad = []string{strconv.Itoa(c.low), strconv.Itoa(c.high)},
				[]string{strconv.Itoa(c.low - 1), strconv.Itoa(c.high + 1), "x"}
		case c.values != nil && typ.Kind() == reflect.String:
			for _, v := range c.values {
				good = append(good, strconv.Quote(v))
			}
			bad = []string{"no-such-word"}
		case c.length > 0:
			good, bad = []string{strings.Repeat("x", c.length)}, []string{strings.Repeat("x", c.length+1)}
		}
		for _, v := range good {
			if !takes(path, v) {
				t.Errorf("check refuses %s: %s", path, v)
			}
		}
		for _, v := range bad {
			if takes(path, v) {
				t.Errorf("check takes %s: %s", path, v)
			}
		}
	}
}
