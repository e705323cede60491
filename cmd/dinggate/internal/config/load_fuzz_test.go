package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/i18n"
	"dinggate/proxy/access"

	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"
)

// writeOut encodes a configuration as YAML with every key, including secrets.
func writeOut(t testing.TB, v reflect.Value) string {
	text, err := yaml.Marshal(plainOf(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func plainOf(v reflect.Value) any {
	switch value := v.Interface().(type) {
	case conf.Secret:
		return value.Reveal()
	case time.Duration:
		return value.String()
	case HeaderFields:
		node := &yaml.Node{Kind: yaml.MappingNode} // a map would lose the order
		for _, rule := range value {
			node.Content = append(node.Content,
				&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: rule.Name}, &yaml.Node{
					Kind:  yaml.ScalarNode,
					Tag:   "!!str",
					Value: rule.Field,
				})
		}
		return node
	case *access.RuleConfig:
		if value == nil {
			return "signed_in"
		}
		if value.Named != "" {
			return value.Named
		}
		return plainOf(v.Elem())
	}
	switch v.Kind() {
	case reflect.Struct:
		section := map[string]any{}
		for _, f := range fieldsOf(v.Type()) {
			if below := v.FieldByIndex(f.index); f.name == "request" && below.Kind() == reflect.Pointer {
				if !below.IsNil() { // an absent key differs from an empty one
					section[f.name] = plainOf(below.Elem())
				}
				continue
			}
			section[f.name] = plainOf(v.FieldByIndex(f.index))
		}
		return section
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plainOf(v.Index(i))
		}
		return list
	}
	return v.Interface()
}

// TestDefaultsWrittenOut checks that a file with all defaults loads to the defaults.
func TestDefaultsWrittenOut(t *testing.T) {
	text := writeOut(t, reflect.ValueOf(Default()).Elem())
	cfg, problems := loadText(text, nil, nil)
	_, bare := loadText("", nil, nil)
	if got := writeOut(t, reflect.ValueOf(cfg).Elem()); got != text || len(problems) != len(bare) {
		t.Errorf("load(%s) = %s, %v, want the same", text, got, problems)
	}
}

// FuzzLoad checks that no input causes a panic, that every problem has a place, that no
// problem contains a secret, and that a configuration without mistakes loads to the same
// configuration after encoding.
func FuzzLoad(f *testing.F) {
	archive, err := txtar.ParseFile("testdata/mistakes.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range archive.Files {
		f.Add(string(file.Data), "5m", "--log.level=debug")
	}
	f.Add("a: &a [*a]\nb: {<<: *a}\n", "", "--=")
	f.Add("? {a: b}\n: c\n--- !!x\n%YAML 9", "9223372036854775807ns", "x")
	f.Add("dingtalk: {client_secret: *canary}", "", "--dingtalk.client_secret=canary")
	f.Fuzz(func(t *testing.T, text, idle, flag string) {
		if strings.Contains(text, "_file") { // the files of the test do not exist, and must not be searched elsewhere
			return
		}
		environ := append([]string{"DINGGATE_SESSION_IDLE=" + idle}, required...)
		cfg, problems := loadText(text, []string{flag}, environ)
		for _, p := range problems {
			if p.File == "" && !p.Usage || p.Text.IsZero() {
				t.Errorf("load(%q, %q, %q) has a problem without a place: %v", text, idle, flag, p)
			}
			if strings.Contains(p.String(), testSecret) || strings.Contains(i18n.Chinese.Problem(p), testSecret) {
				t.Errorf("load(%q) shows a secret: %v", text, p)
			}
		}
		if Mistakes(problems) > 0 {
			return
		}
		once := writeOut(t, reflect.ValueOf(cfg).Elem())
		again, problems := loadText(once, nil, nil)
		if twice := writeOut(t, reflect.ValueOf(again).Elem()); twice != once || Mistakes(problems) > 0 {
			t.Errorf("load(%q) written out is\n%s\nand loads to\n%s\n%v", text, once, twice, problems)
		}
	})
}
