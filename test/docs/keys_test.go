package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// section is what stands in place of a default where a key has keys below it.
const section = "{…}"

// exampleKeys are the keys of config.example.yaml, which cmd/dinggate compares
// with the program, and their defaults.
func exampleKeys(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "config.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	var walk func(prefix string, n *yaml.Node)
	walk = func(prefix string, n *yaml.Node) {
		keys[strings.TrimSuffix(prefix, ".")] = n.Value
		if n.Kind == yaml.MappingNode {
			keys[strings.TrimSuffix(prefix, ".")] = section
		} else {
			return
		}
		for i := 0; i < len(n.Content); i += 2 {
			walk(prefix+n.Content[i].Value+".", n.Content[i+1])
		}
	}
	walk("", node.Content[0])
	if len(keys) < 80 {
		t.Fatalf("found %d keys: something is wrong with this test", len(keys))
	}
	return keys
}

// TestKeys: a key that a page names is one.
func TestKeys(t *testing.T) {
	keys := exampleKeys(t)
	named := regexp.MustCompile("`([a-z_]+(?:\\.[a-z_]+)+)(?:: [^`]*)?`")
	checked := 0
	for name, p := range pages(t) {
		if strings.HasPrefix(name, "CHANGELOG") || strings.HasPrefix(name, "docs/from-oauth2-proxy") ||
			strings.HasPrefix(name, "docs/threats") {
			continue // keys of the past, keys of another program, hosts
		}
		text := fence.ReplaceAllString(p.text, "")
		for _, entries := range []string{"\n## Keys of an entry of ", "\n## 列表项的键"} { // named without their list
			text, _, _ = strings.Cut(text, entries)
		}
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			top, _, _ := strings.Cut(m[1], ".")
			if _, ok := keys[top]; !ok || top == "dinggate" {
				continue
			}
			checked++
			if _, ok := keys[m[1]]; !ok && top != "routes" && top != "headers" && !strings.HasSuffix(m[1], ".html") {
				t.Errorf("%s names the key %s, which there is not", name, m[1])
			}
		}
	}
	if checked < 250 {
		t.Errorf("checked %d keys: something is wrong with this test", checked)
	}
}

// TestDefaults: the default in brackets behind a key is the key's.
func TestDefaults(t *testing.T) {
	keys := exampleKeys(t)
	stated := regexp.MustCompile(
		"`([a-z_]+(?:\\.[a-z_]+)+)` ?[(（](?:default |by default |默认 ?)?([0-9]+) " +
			"?(s|m|h|seconds?|minutes?|hours?|秒|分钟|小时)[,;；，)）]",
	)
	units := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "秒": time.Second,
		"分": time.Minute, "小": time.Hour}
	checked := 0
	for name, p := range pages(t) {
		if strings.HasPrefix(name, "CHANGELOG") {
			continue
		}
		for _, m := range stated.FindAllStringSubmatch(p.text, -1) {
			checked++
			n, _ := strconv.Atoi(m[2])
			want, err := time.ParseDuration(keys[m[1]])
			if got := time.Duration(n) * units[string([]rune(m[3])[0])]; err != nil || got != want {
				t.Errorf("%s says that %s is %v, and it is %v by default", name, m[1], got, keys[m[1]])
			}
		}
	}
	if checked < 8 {
		t.Errorf("checked %d defaults: something is wrong with this test", checked)
	}
}

// TestReference: the reference of the configuration has an entry for every key.
func TestReference(t *testing.T) {
	all := pages(t)
	if _, ok := all["docs/configuration.md"]; !ok {
		t.Skip("docs/configuration.md is not there yet")
	}
	for _, name := range []string{"docs/configuration.md", "docs/configuration.zh-CN.md"} {
		for key, value := range exampleKeys(t) {
			key = strings.TrimSuffix(strings.TrimSuffix(key, ".zh"), ".en")
			if value != section && !strings.HasPrefix(key, "headers.") && !strings.Contains(all[name].text, "`"+key+"`") {
				t.Errorf("%s has no entry for %s", name, key)
			}
		}
	}
}
