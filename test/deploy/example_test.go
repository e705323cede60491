package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// example is one document of a YAML file in deploy/.
type example struct {
	t    *testing.T
	file string
	node any
}

// exampleFile returns the path of an example below deploy/. An absolute path is returned
// unchanged.
func exampleFile(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join("..", "..", "deploy", name)
}

// readExample returns the document of a file with this kind. The kind "" selects the first
// document.
func readExample(t *testing.T, file, kind string) example {
	t.Helper()
	text, err := os.ReadFile(exampleFile(file))
	if err != nil {
		t.Fatal(err)
	}
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var doc map[string]any
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			t.Fatalf("%s has no document of kind %q", file, kind)
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if kind == "" || doc["kind"] == kind {
			return example{t, file, doc}
		}
	}
}

// at follows a path of keys that are separated by blanks. A number selects a list element by
// index. name=value selects the first list element with that value. A missing key fails the test,
// because the example has lost a line.
func (e example) at(keys string) example {
	e.t.Helper()
	found, ok := e.look(keys)
	if !ok {
		e.t.Fatalf("%s has no %s", e.file, keys)
	}
	return found
}

func (e example) look(keys string) (example, bool) {
	node := e.node
	for _, key := range strings.Fields(keys) {
		switch in := node.(type) {
		case map[string]any:
			next, ok := in[key]
			if !ok {
				return e, false
			}
			node = next
		case []any:
			name, value, _ := strings.Cut(key, "=")
			found := false
			for _, element := range in {
				if m, ok := element.(map[string]any); ok && m[name] == value {
					node, found = element, true
					break
				}
			}
			if !found {
				return e, false
			}
		default:
			return e, false
		}
	}
	return example{e.t, e.file, node}, true
}

func (e example) text() string {
	e.t.Helper()
	s, ok := e.node.(string)
	if !ok {
		e.t.Fatalf("%s: %v is no text", e.file, e.node)
	}
	return s
}

func (e example) number() int {
	e.t.Helper()
	n, ok := e.node.(int)
	if !ok {
		e.t.Fatalf("%s: %v is no number", e.file, e.node)
	}
	return n
}

func (e example) list() []example {
	e.t.Helper()
	in, ok := e.node.([]any)
	if !ok {
		e.t.Fatalf("%s: %v is no list", e.file, e.node)
	}
	all := make([]example, len(in))
	for i := range in {
		all[i] = example{e.t, e.file, in[i]}
	}
	return all
}

func (e example) texts() []string {
	e.t.Helper()
	var all []string
	for _, one := range e.list() {
		all = append(all, one.text())
	}
	return all
}

// names returns a function that matches header names in lower case against a list: `x-a` matches
// exactly, and `x-a-*` matches a prefix.
func names(list []string) func(lower string) bool {
	return func(lower string) bool {
		for _, pattern := range list {
			prefix, wild := strings.CutSuffix(strings.ToLower(pattern), "*")
			if lower == prefix || wild && strings.HasPrefix(lower, prefix) {
				return true
			}
		}
		return false
	}
}

// patterns returns such a function for the matchers {exact: …} and {prefix: …} of Envoy and
// Higress.
func (e example) patterns() func(lower string) bool {
	e.t.Helper()
	var list []string
	for _, one := range e.list() {
		if exact, ok := one.look("exact"); ok {
			list = append(list, exact.text())
		} else {
			list = append(list, one.at("prefix").text()+"*")
		}
	}
	return names(list)
}
