package config

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"dinggate/internal/conf"
	"dinggate/proxy/access"
	"dinggate/proxy/accessrequest"
	"dinggate/proxy/console"
)

// Setting is the effective value of one key and its source.
type Setting struct {
	Key   string `json:"key"`
	Value any    `json:"value"` // of a secret: whether it is set
	// Source is "default", "file", "environment" or "flag". Name is the variable or the
	// flag; File and Line are the place in the file.
	Source string `json:"source"`
	Name   string `json:"name,omitempty"`
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
}

// From returns the source as text: config.yaml:12, DINGGATE_LISTEN, --listen, or "".
func (s Setting) From() string {
	if s.File != "" {
		return fmt.Sprintf("%s:%d", s.File, s.Line)
	}
	return s.Name
}

// LoadSettings is Load, and lists the effective value of every key, including those of
// list entries. It contains no secret.
func LoadSettings(flags *Flags, environ []string) (*Config, []conf.Problem, []Setting) {
	l := NewLoader()
	l.Read, l.Standard, l.Environment = ReadFile, StandardFile, ServiceEnvironment
	cfg, problems := l.Load(flags, environ)
	l.indexPlaces()
	var all []Setting
	for _, k := range l.keys {
		switch {
		case k.FileOf != "": // the secret's own entry shows whether it is set
		case k.FileOnly && k.typ.Kind() == reflect.Pointer: // a rule
			text := ""
			if rule, _ := l.at(k).Interface().(*access.RuleConfig); (console.Config{Access: rule}).On() {
				text = RuleText(rule)
			}
			all = append(all, l.setting(k.Path, text))
		case k.FileOnly:
			list := l.at(k)
			for i := range list.Len() {
				all = l.entry(all, fmt.Sprintf("%s[%d]", k.Path, i), list.Index(i))
			}
			if list.Len() == 0 {
				all = append(all, l.setting(k.Path, []string{}))
			}
		default:
			all = append(all, l.setting(k.Path, k.shown(l.at(k))))
		}
	}
	return cfg, problems, all
}

// entry adds the keys of one list entry.
func (l *loader) entry(all []Setting, path string, v reflect.Value) []Setting {
	for _, f := range fieldsOf(v.Type()) {
		at := path + "." + f.name
		field := v.FieldByIndex(f.index)
		if rule, ok := field.Interface().(*access.RuleConfig); ok {
			all = append(all, l.setting(at, RuleText(rule)))
			continue
		}
		if request, ok := field.Interface().(*accessrequest.RouteConfig); ok {
			if request != nil {
				all = l.entry(all, at, field.Elem())
			}
			continue
		}
		if f.typ.Kind() == reflect.Struct && !reflect.PointerTo(f.typ).Implements(textType) && !isSecret(f.typ) {
			all = l.entry(all, at, field)
			continue
		}
		k := key{Path: at, typ: f.typ, Secret: isSecret(f.typ)}
		all = append(all, l.setting(at, k.shown(field)))
	}
	return all
}

// shown returns a value in displayable form.
func (k key) shown(v reflect.Value) any {
	switch value := v.Interface().(type) {
	case conf.Secret:
		if !value.IsZero() && k.harmless(value.Reveal()) {
			return value.Reveal()
		}
		return value.String()
	case []conf.Secret:
		shown := make([]string, len(value))
		for i, secret := range value {
			shown[i] = secret.String()
		}
		return shown
	case HeaderFields:
		return written(v)
	case Text:
		if value.Zh == value.En {
			return value.Zh
		}
		return map[string]string{"zh": value.Zh, "en": value.En}
	}
	if text, ok := v.Interface().(encoding.TextMarshaler); ok {
		if out, err := text.MarshalText(); err == nil {
			return string(out)
		}
	}
	switch {
	case v.Type() == durationType:
		return written(v)
	case v.Kind() == reflect.Slice && v.IsNil():
		return []string{}
	}
	return v.Interface()
}

// indexPlaces notes for every section the place of its first key: searching for it again
// for each key takes seconds for 1,000 routes.
func (l *loader) indexPlaces() {
	l.within = map[string]place{}
	for _, path := range slices.Sorted(maps.Keys(l.places)) {
		for i := range len(path) {
			if path[i] != '.' {
				continue
			}
			if _, ok := l.within[path[:i]]; !ok {
				l.within[path[:i]] = l.places[path]
			}
		}
	}
}

// setting finds the source of a value: the place of the key, of the section or list
// that contains it, or of its halves.
func (l *loader) setting(path string, value any) Setting {
	s := Setting{Key: path, Value: value, Source: "default"}
	at, ok := l.places[path]
	if !ok {
		at, ok = l.within[path] // sign_in.title from sign_in.title.en
	}
	switch {
	case !ok:
	case strings.HasPrefix(at.file, "--"):
		s.Source, s.Name = "flag", at.file
	case at.line == 0 && strings.HasPrefix(at.file, envPrefix):
		s.Source, s.Name = "environment", at.file
	default:
		s.Source, s.File, s.Line = "file", at.file, at.line
	}
	return s
}
