package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var updateKeys = flag.Bool("update-keys", false, "write testdata/keys.golden anew")

// TestKeys_Golden compares every key of the file with its type, its default and its other
// sources, and the keys of the objects in lists. The golden file is part of the public
// contract: list a change in CHANGELOG.md.
func TestKeys_Golden(t *testing.T) {
	var b strings.Builder
	defaults := reflect.ValueOf(*Default())
	for _, k := range Keys() {
		where := k.Env()
		switch {
		case k.FileOnly:
			where = "file only"
		case k.Secret:
			where += ", no flag"
		}
		value := "-"
		if k.FileOf == "" && !k.Secret {
			value = shownDefault(defaults.FieldByIndex(k.Index))
		}
		fmt.Fprintf(&b, "%s | %s | %s | %s\n", k.Path, shownType(k.typ), value, where)
		if k.typ.Kind() == reflect.Slice && k.FileOnly {
			objectKeys(&b, k.Path+"[].", k.typ.Elem())
		}
	}
	fmt.Fprintf(&b, "routes[] defaults: %s\n", shownDefault(reflect.ValueOf(DefaultRoute())))
	file := filepath.Join("testdata", "keys.golden")
	if *updateKeys {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, got := strings.Split(string(text), "\n"), strings.Split(b.String(), "\n")
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("gone from the contract: %s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("new in the contract: %s", line)
		}
	}
}

// objectKeys writes the keys of an object in a list.
func objectKeys(b *strings.Builder, at string, t reflect.Type) {
	for _, f := range fieldsOf(t) {
		fmt.Fprintf(b, "%s%s | %s\n", at, f.name, shownType(f.typ))
		if inner := f.typ; inner.Kind() == reflect.Pointer && inner.Elem().Kind() == reflect.Struct {
			objectKeys(b, at+f.name+".", inner.Elem())
		} else if inner.Kind() == reflect.Struct && !isSecret(inner) {
			objectKeys(b, at+f.name+".", inner)
		}
	}
}

// shownType returns a type without the name of its package, which may change.
func shownType(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t.Kind() == reflect.Pointer:
		return shownType(t.Elem())
	case isSecret(t) && t.Kind() == reflect.Slice:
		return "list of secret"
	case isSecret(t):
		return "secret"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return "list of objects"
	case t.Kind() == reflect.Slice:
		return "list of " + shownType(t.Elem())
	case t.Kind() == reflect.Struct:
		return "object"
	case t.Kind() == reflect.Map:
		return "map of " + shownType(t.Elem())
	}
	return t.Kind().String()
}

func shownDefault(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return d.String()
	}
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return err.Error()
	}
	return string(text)
}
