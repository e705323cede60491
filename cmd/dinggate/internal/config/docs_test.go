package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// yamlBlock matches a block of YAML in a page. If a comment before it names a file of deploy/,
// another test compares it.
var yamlBlock = regexp.MustCompile("(?ms)(<!-- deploy/[^\n]*-->\n)?^( *)```yaml\n(.*?)^ *```$")

// documents are the pages of the documentation.
func documents(t *testing.T) (names []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join("../../../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	return names
}

// ours reports whether a block is a configuration of dinggate, or a part of one: the top
// level is a mapping, and all of its keys, or most of them, are keys of dinggate.
func ours(text string, keys []string) (top []string, ok bool) {
	var node yaml.Node
	if yaml.Unmarshal([]byte(text), &node) != nil || len(node.Content) != 1 ||
		node.Content[0].Kind != yaml.MappingNode {
		return nil, false
	}
	known := 0
	for i := 0; i < len(node.Content[0].Content); i += 2 {
		name := node.Content[0].Content[i].Value
		top = append(top, name)
		if slices.Contains(keys, name) {
			known++
		}
	}
	return top, 2*known > len(top)
}

// TestDocumentedConfigurations checks that the configurations in the documentation load:
// every key exists, every value is valid. Missing required keys come from the environment;
// each file that a block names contains a secret.
func TestDocumentedConfigurations(t *testing.T) {
	var sections []string
	for _, k := range Keys() {
		top, _, _ := strings.Cut(k.Path, ".")
		sections = append(sections, top)
	}
	loaded := 0
	for _, name := range documents(t) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		page := strings.TrimPrefix(filepath.ToSlash(name), "../../../../")
		for _, m := range yamlBlock.FindAllStringSubmatchIndex(string(data), -1) {
			if m[2] >= 0 {
				continue
			}
			indent, text := string(data[m[4]:m[5]]), string(data[m[6]:m[7]])
			if indent != "" {
				text = strings.ReplaceAll("\n"+text, "\n"+indent, "\n")[1:]
			}
			top, ok := ours(text, sections)
			if !ok {
				continue
			}
			loaded++
			line := 1 + strings.Count(string(data[:m[6]]), "\n")
			for _, problem := range loadShown(text, top) {
				t.Errorf("%s:%d: %s", page, line, problem)
			}
		}
	}
	if loaded < 20 {
		t.Errorf("loaded %d blocks: something is wrong with this test", loaded)
	}
}

// loadShown loads a block and returns its mistakes.
func loadShown(text string, top []string) (mistakes []string) {
	l := NewLoader()
	l.Read = func(name string) ([]byte, fs.FileMode, error) {
		switch {
		case name == "config.yaml":
			return []byte(strings.ReplaceAll(text, "…", testSecret)), 0o600, nil
		case strings.Contains(name, "htpasswd"):
			return []byte("zs:$2a$04$" + strings.Repeat("a", 53) + "\n"), 0o600, nil
		}
		return []byte(testSecret), 0o600, nil
	}
	gives := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(top, n) })
	}
	var environ []string
	for _, v := range append(slices.Clone(required), "DINGGATE_UPSTREAM=http://127.0.0.1:8080") {
		key, _, _ := strings.Cut(strings.TrimPrefix(v, "DINGGATE_"), "=")
		section, _, _ := strings.Cut(strings.ToLower(key), "_")
		switch {
		case key == "PUBLIC_URL" && gives("public_url"), section == "dingtalk" && gives("dingtalk", "sso"),
			section == "cookie" && gives("cookie"),
			section == "upstream" && gives("upstream", "routes"):
			continue
		}
		environ = append(environ, v)
	}
	if (gives("accounts") || gives("oidc")) && !gives("state_dir") {
		environ = append(environ, "DINGGATE_STATE_DIR=/var/lib/dinggate")
	}
	_, problems := l.Load(&Flags{File: "config.yaml"}, environ)
	for _, p := range problems {
		// PEM files are not generated here: other tests cover them.
		if !p.Warning && !strings.Contains(p.String(), "PEM") {
			mistakes = append(mistakes, p.String())
		}
	}
	return mistakes
}
