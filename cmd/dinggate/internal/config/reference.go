package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"dinggate/internal/i18n"
)

// ListKeys prints every key for the terminal: its flag, variable, default and
// description.
func ListKeys(out io.Writer, in i18n.Language) {
	fmt.Fprintf(out, "  --config FILE  %s\n      %s\n", ConfigVariable,
		in.Say(i18n.Message{"the file to read; see config.example.yaml", "要读取的配置文件；参见 config.example.yaml"}))
	for _, k := range Keys() {
		name, env := k.Path, "  "+k.Env()
		if k.isFlag() {
			name = "--" + k.Path
		}
		if k.FileOnly {
			env = in.Say(i18n.Message{"  (file only)", "  （仅限配置文件）"})
		}
		standard := k.standard()
		if standard != "" {
			standard = "  [" + standard + "]"
		}
		fmt.Fprintf(out, "  %s%s%s\n      %s\n", name, env, standard, in.Say(Meanings[k.Path]))
	}
}

// isFlag reports whether the key can be given on the command line.
func (k key) isFlag() bool { return !k.FileOnly && (!k.Secret || k.harmless("")) }

// standard returns the default of a key in the form of the environment; "" for none.
func (k key) standard() string {
	if k.FileOf != "" || k.Secret {
		return ""
	}
	return written(reflect.ValueOf(Default()).Elem().FieldByIndex(k.Index))
}

// written returns a value in the form of the environment.
func written(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		return Short(value)
	case []string:
		return strings.Join(value, ",")
	case HeaderFields:
		pairs := make([]string, len(value))
		for i, rule := range value {
			pairs[i] = rule.Name + "=" + rule.Field
		}
		return strings.Join(pairs, ",")
	}
	switch v.Kind() { // empty values would show Go's braces
	case reflect.Struct, reflect.Slice, reflect.Map, reflect.Pointer:
		if v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 {
			return ""
		}
	}
	return fmt.Sprint(v.Interface())
}

// Short writes 24h, not 24h0m0s.
func Short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
