package config

import (
	"encoding"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"dinggate/internal/conf"
)

// textValue is a value from the environment or a flag.
type textValue struct {
	key   key
	value string
	from  string // DINGGATE_SESSION_LIFETIME or --session.lifetime
}

// parseEnviron finds our variables. An unknown one is a mistake (a misspelt
// DINGGATE_TRUSTED_PROXY would have no effect), except those that Kubernetes sets for a
// service named dinggate.
func (l *loader) parseEnviron(environ []string) (file string, values []textValue) {
	seen := map[string]bool{}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		rest, ours := strings.CutPrefix(name, envPrefix)
		if !ours || seen[name] || rest == "PORT" || strings.HasPrefix(rest, "PORT_") || strings.HasPrefix(rest, "SERVICE_") {
			continue
		}
		seen[name] = true
		at := place{file: name}
		k, ok := l.key(func(k key) bool { return k.Env() == name })
		switch {
		case name == ConfigVariable:
			file = value
		case name == LanguageVariable: // run has read it
		case ok && k.FileOnly:
			l.mistake(at, k.Path, "can only be set in a file")
		case ok:
			values = append(values, textValue{k, value, name})
		default:
			l.fault(at, "", l.unknownVariable(name, rest))
		}
	}
	return file, values
}

const ConfigVariable = envPrefix + "CONFIG"

func (l *loader) unknownVariable(name, rest string) conf.Text {
	if strings.Contains(rest, "_SERVICE_") || strings.Contains(rest, "_PORT") {
		return conf.Textf("is not a variable of dinggate; if Kubernetes sets it for another Service, set enableServiceLinks: false")
	}
	names := []string{ConfigVariable}
	for _, k := range l.keys {
		names = append(names, k.Env())
	}
	if m := Closest(name, names); m != "" {
		return conf.Textf("is not a variable of dinggate; did you mean %s?", m)
	}
	return conf.Textf("is not a variable of dinggate")
}

// fromTexts sets values of the environment or of flags. A key precedes those below it,
// so that the text of one language replaces half of the text of both.
func (l *loader) fromTexts(texts []textValue) {
	slices.SortStableFunc(texts, func(a, b textValue) int { return strings.Compare(a.key.Path, b.key.Path) })
	for _, t := range texts {
		at := place{file: t.from}
		switch {
		case t.key.FileOf != "":
			l.places[t.key.Path] = at
			l.give(t.key.Path, at, t.value == "")
			secret, _ := l.key(func(other key) bool { return other.Path == t.key.FileOf })
			l.files[t.key.FileOf] = secretFile{t.value, l.at(secret)}
		case t.key.Secret && t.value == "": // same as not given
		default:
			l.put(t.key.Path, at)
			if fault := setText(t.value, l.at(t.key)); !fault.IsZero() {
				l.fault(at, t.key.Path, fault)
			}
			l.give(t.key.Path, at, !t.key.Secret)
		}
	}
}

// at returns the place of a key's value in the configuration.
func (l *loader) at(k key) reflect.Value { return reflect.ValueOf(l.cfg).Elem().FieldByIndex(k.Index) }

var durationType = reflect.TypeFor[time.Duration]()

// wantOf describes the values of a type in a message.
func wantOf(t reflect.Type) conf.Text {
	switch {
	case t == durationType:
		return conf.Textf("a duration such as 8h or 15m")
	case t.Kind() == reflect.Int:
		return conf.Textf("a whole number")
	case t.Kind() == reflect.Bool:
		return conf.Textf("true or false")
	case t.Kind() == reflect.Slice:
		return conf.Textf("a list")
	}
	return conf.Textf("text")
}

// setText parses s into v. The fault, if any, never quotes it.
func setText(s string, v reflect.Value) (fault conf.Text) {
	switch {
	case v.Addr().Type().Implements(textType):
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
			return conf.TextOf(err)
		}
	case v.Type() == durationType:
		d, err := time.ParseDuration(s)
		if isNumber(s) {
			return conf.Textf("wants %s, got a number; give it a unit", wantOf(v.Type()))
		}
		if err != nil {
			return conf.Textf("wants %s (units are h, m, s and ms; a day is 24h)", wantOf(v.Type()))
		}
		v.SetInt(int64(d))
	case v.Kind() == reflect.Int:
		n, err := strconv.Atoi(s)
		if err != nil {
			return conf.Textf("wants %s", wantOf(v.Type()))
		}
		v.SetInt(int64(n))
	case v.Kind() == reflect.Bool:
		if !slices.Contains([]string{"true", "True", "TRUE", "false", "False", "FALSE"}, s) {
			return conf.Textf("wants %s", wantOf(v.Type()))
		}
		v.SetBool(strings.EqualFold(s, "true"))
	case v.Kind() == reflect.Slice:
		return setList(s, v)
	default:
		v.SetString(s)
	}
	return conf.Text{}
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "+-.0123456789") == "" }

// setList parses a list separated by commas; the empty text is the empty list.
func setList(s string, v reflect.Value) (fault conf.Text) {
	v.SetZero()
	if strings.TrimSpace(s) == "" {
		return conf.Text{}
	}
	parts := strings.Split(s, ",")
	v.Set(reflect.MakeSlice(v.Type(), len(parts), len(parts)))
	for i, part := range parts {
		part = strings.TrimSpace(part)
		if part == "" {
			return conf.Textf("has nothing between two commas, or at an end")
		}
		if fault := setText(part, v.Index(i)); !fault.IsZero() {
			return fault
		}
	}
	return conf.Text{}
}

const (
	fileSuffix    = "_file"
	maxSecretFile = 64 << 10
)

var errSecretTooLarge = conf.Errorf("is larger than 64 KiB")

// secretFiles reads the files of the secrets that the present source names.
func (l *loader) secretFiles() {
	for _, path := range slices.Sorted(maps.Keys(l.files)) {
		file, name := l.files[path], path+fileSuffix
		at, named := l.given[name]
		if !named {
			continue
		}
		if _, both := l.given[path]; both {
			l.mistake(at, name, "is set together with %s; remove one", path)
			continue
		}
		l.put(path, at) // faults of the content are reported here
		data, mode, err := l.Read(file.name)
		if err == nil && len(data) > maxSecretFile {
			err = errSecretTooLarge
		}
		if err != nil {
			l.problems.Add(conf.Problem{Key: name, Text: conf.Textf("cannot be read: %s", cause(err)), File: at.file, Line: at.line})
			l.bad[name], l.bad[path] = true, true
			continue
		}
		if mode&0o004 != 0 {
			l.problems.Add(conf.Problem{Key: name, Warning: true, File: at.file, Line: at.line,
				Text: conf.Textf("refers to a file that every user of this machine can read (mode %04o); chmod 600", mode.Perm())})
		}
		setSecret(string(data), file.value)
	}
}

// setSecret sets a file's content: one secret without its trailing newline, or one per
// non-empty line.
func setSecret(content string, v reflect.Value) {
	if v.Type() == secretType {
		content = strings.TrimSuffix(strings.TrimSuffix(content, "\n"), "\r")
		v.Set(reflect.ValueOf(conf.NewSecret(content)))
		return
	}
	var all []conf.Secret
	for line := range strings.Lines(content) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, conf.NewSecret(line))
		}
	}
	v.Set(reflect.ValueOf(all))
}
