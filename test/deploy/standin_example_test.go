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

// example is one document of a YAML file in this folder.
type example struct {
	t    *testing.T
	file string
	node any
}

// exampleFile is the path of an example, named as below deploy/; an absolute
// path stays as it is.
func exampleFile(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join("..", "..", "deploy", name)
}

// readExample gives the document of a file with this kind; "" takes the first.
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

// at goes down a path of keys separated by blanks; a number picks of a list,
// name=value the list's first element with that value. What is not there ends
// the test: an example lost a line.
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

// names matches header names in lower case against a list: `x-a` exactly,
// `x-a-*` by prefix.
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

// patterns reads Envoy's and Higress' matchers {exact: …}, {prefix: …} as names does.
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
