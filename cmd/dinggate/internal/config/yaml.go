package config

import (
	"encoding"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"dinggate/internal/conf"
	"dinggate/internal/identity"

	"go.yaml.in/yaml/v3"
)

// fromFile reads the file into the configuration. It decodes a tree of nodes, which have
// line numbers, itself: errors of the yaml package quote values, and its decoder stops
// at the first error.
func (l *loader) fromFile() {
	at := place{file: l.name}
	data, mode, err := l.Read(l.name)
	if err != nil {
		l.unread = true
		l.problems.Add(conf.Problem{Text: conf.Textf("cannot be read: %s", cause(err)), File: l.name, Missing: true})
		return
	}
	l.data = data
	if mode.IsRegular() { // a pipe such as a shell's <(…) is in no folder
		l.folder = filepath.Dir(l.name)
	}
	l.values = 0
	root, at, fault := parse(l.name, data)
	if !fault.IsZero() {
		l.unread = true
		l.fault(at, "", fault)
		return
	}
	if root == nil { // an empty file sets nothing
		return
	}
	if l.unread = root.Kind != yaml.MappingNode; l.unread {
		l.noKeys(root, "", place{l.name, root.Line})
		return
	}
	l.walk(root, reflect.ValueOf(l.cfg).Elem(), "", root.Line)
	// Threats L5: a secret in a file that every user can read.
	for path, at := range l.given {
		// of a list entry
		if mode&0o004 != 0 && strings.Contains(path, "].") && !strings.HasSuffix(path, fileSuffix) {
			l.readableSecret(path, at, mode)
		}
	}
	for _, k := range l.keys {
		if at, ok := l.given[k.Path]; ok && k.Secret && mode&0o004 != 0 {
			if value, ok := l.at(k).Interface().(conf.Secret); ok && k.harmless(value.Reveal()) {
				continue
			}
			l.readableSecret(k.Path, at, mode)
		}
	}
}

func (l *loader) readableSecret(path string, at place, mode fs.FileMode) {
	l.problems.Add(conf.Problem{Key: path, Warning: true, File: at.file, Line: at.line,
		Text: conf.Textf("is in a file that every user of this machine can read (mode %04o); chmod 600, or use %s",
			mode.Perm(), path+fileSuffix)})
}

// walk decodes a node into v, which has its default. path is the key, line that of the
// key's name or of the list entry.
func (l *loader) walk(n *yaml.Node, v reflect.Value, path string, line int) {
	at := place{l.name, line}
	if n.Kind == yaml.AliasNode { // may be a cycle; the depth of v's type bounds it
		n = n.Alias
	}
	l.places[path] = at
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		l.mistake(at, path, "has no value; write one, or remove the line")
		return
	}
	t := v.Type()
	switch {
	case t.Kind() == reflect.Pointer: // one word, or a section
		v.Set(reflect.New(t.Elem()))
		if u, ok := v.Interface().(encoding.TextUnmarshaler); ok && n.Kind == yaml.ScalarNode {
			if fault := l.scalar(n, reflect.ValueOf(new(string)).Elem()); !fault.IsZero() {
				l.fault(at, path, fault)
				return
			}
			u.UnmarshalText([]byte(n.Value)) // accepts every word; Check checks it
			return
		}
		l.walkSection(n, v.Elem(), path, at)
	case t == headersType:
		l.walkHeaders(n, v, path, at)
	case t == secretType:
		if fault := l.scalar(n, v); !fault.IsZero() {
			l.fault(at, path, fault)
		}
		l.give(path, at, v.Interface().(conf.Secret).IsZero())
	case t.Kind() == reflect.Struct && n.Kind != yaml.MappingNode && v.Addr().Type().Implements(textType):
		// one text, or a section
		text := reflect.ValueOf(new(string)).Elem()
		fault := l.scalar(n, text)
		if fault.IsZero() {
			fault = setText(text.String(), v)
		}
		if !fault.IsZero() {
			l.fault(at, path, fault)
		}
	case t.Kind() == reflect.Struct:
		l.walkSection(n, v, path, at)
	case t.Kind() == reflect.Slice:
		l.walkList(n, v, path, at)
		if t == secretsType {
			l.give(path, at, v.Len() == 0)
		}
	default:
		if fault := l.scalar(n, v); !fault.IsZero() {
			if text := misprintedKey(n.Value); !text.IsZero() { // {lifetime: 8h，idle: 1h} is one value
				fault = text
			}
			l.fault(at, path, fault)
		} else if v.Kind() == reflect.String && namesFile(path) {
			v.SetString(l.beside(v.String()))
		}
	}
}

// beside resolves the path of a file that the configuration names. A relative path
// starts in the configuration's folder, because a service runs in another one.
func (l *loader) beside(name string) string {
	if name == "" || filepath.IsAbs(name) || name[0] == '/' {
		return name
	}
	return filepath.Join(l.folder, name)
}

// namesFile reports whether the value of a key is the path of a file or folder:
// client_secret_file, assertion.key_files[0], state_dir, audit.file.
func namesFile(path string) bool {
	name := path[strings.LastIndexByte(path, '.')+1:]
	name, _, _ = strings.Cut(name, "[")
	return name == "file" || path == "admin.control" || strings.HasSuffix(name, fileSuffix) || strings.HasSuffix(name, "_files") ||
		strings.HasSuffix(name, "_dir")
}

// give records that the present source has a secret, or the file of one.
func (l *loader) give(path string, at place, empty bool) {
	if !empty {
		l.given[path] = at
	}
}

func (l *loader) walkSection(n *yaml.Node, v reflect.Value, path string, at place) {
	if n.Kind != yaml.MappingNode {
		l.noKeys(n, path, at)
		return
	}
	if path != "" {
		path += "."
	}
	fields := fieldsOf(v.Type())
	l.eachPair(n, path, func(name, value *yaml.Node) {
		full := path + name.Value
		at := place{l.name, name.Line}
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name.Value })
		secret := slices.IndexFunc(fields, func(f field) bool {
			return isSecret(f.typ) && f.name+fileSuffix == name.Value
		})
		switch {
		case i >= 0:
			l.walk(value, v.FieldByIndex(fields[i].index), full, name.Line)
		case secret >= 0:
			var file string
			l.walk(value, reflect.ValueOf(&file).Elem(), full, name.Line)
			l.give(full, at, file == "")
			l.files[path+fields[secret].name] = secretFile{file, v.FieldByIndex(fields[secret].index)}
			if l.bad[full] { // then the secret is not reported as missing too
				l.bad[path+fields[secret].name] = true
			}
		default:
			l.unknown(at, path, name, fields)
		}
	})
}

// noKeys reports that keys with values are expected, and what turned them into text.
func (l *loader) noKeys(n *yaml.Node, path string, at place) {
	if line, text := misprintAt(l.data, n); line > 0 {
		l.fault(place{l.name, line}, path, text)
		return
	}
	l.wants(at, path, keysWithValues, n)
}

// unknown suggests the key that was probably meant: in this section, or in another one.
func (l *loader) unknown(at place, section string, name *yaml.Node, fields []field) {
	if name.ShortTag() == "!!merge" {
		l.mistake(at, section+"<<", "merges keys, which is not supported; write them out")
		return
	}
	if text := misprintedKey(name.Value); !text.IsZero() {
		l.fault(at, strings.TrimSuffix(section, "."), text)
		return
	}
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
		if isSecret(f.typ) {
			names = append(names, f.name+fileSuffix)
		}
	}
	meant := Closest(name.Value, names)
	if meant == "" {
		meant = Closest(name.Value, l.paths(nil))
	}
	if meant != "" {
		l.mistake(at, section+Shown(name.Value), "is not a key; did you mean %s?", meant)
		return
	}
	l.mistake(at, section+Shown(name.Value), "is not a key")
}

const wantsGot = "wants %s, got %s"

var keysWithValues = conf.Textf("keys with values")

func (l *loader) wants(at place, path string, what conf.Text, got *yaml.Node) {
	l.mistake(at, path, wantsGot, what, kindOf(got))
}

// eachPair calls take for every pair of a mapping whose key is a text and not a
// duplicate.
func (l *loader) eachPair(n *yaml.Node, prefix string, take func(name, value *yaml.Node)) {
	if l.tooMany(n, strings.TrimSuffix(prefix, ".")) {
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := place{l.name, name.Line}
		switch line, twice := first[name.Value]; {
		case name.Kind != yaml.ScalarNode:
			l.mistake(at, strings.TrimSuffix(prefix, "."), "has a key that is %s", kindOf(name))
		case twice:
			l.problems.Add(conf.Problem{
				Key:  prefix + Shown(name.Value),
				Text: conf.Textf("is given twice, first in line %d", line),
				File: at.file,
				Line: at.line,
			})
		default:
			first[name.Value] = name.Line
			take(name, value)
		}
	}
}

func (l *loader) walkList(n *yaml.Node, v reflect.Value, path string, at place) {
	if n.Kind != yaml.SequenceNode {
		l.wants(at, path, conf.Textf("a list such as [a, b]"), n)
		return
	}
	if l.tooMany(n, path) {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		if v.Index(i).Type() == reflect.TypeFor[Route]() {
			v.Index(i).Set(reflect.ValueOf(DefaultRoute()))
		}
		l.walk(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i), item.Line)
	}
}

func (l *loader) walkHeaders(n *yaml.Node, v reflect.Value, path string, at place) {
	if n.Kind != yaml.MappingNode {
		l.wants(at, path, conf.Textf("header names with fields, such as {X-Forwarded-User: username}"), n)
		return
	}
	rules := HeaderFields{}
	l.eachPair(n, path+".", func(name, value *yaml.Node) {
		var text string
		full := path + "." + name.Value
		if !isToken(name.Value) {
			full = path
		}
		l.walk(value, reflect.ValueOf(&text).Elem(), full, name.Line)
		rules = append(rules, identity.HeaderRule{Name: name.Value, Field: text})
	})
	v.Set(reflect.ValueOf(rules))
}

// scalar decodes a single value into v. The fault, if any, never quotes it. A number is
// accepted as text (a userid may be 0123) and used as written.
func (l *loader) scalar(n *yaml.Node, v reflect.Value) (fault conf.Text) {
	wants, tags := wantOf(v.Type()), []string{"!!str", "!!int", "!!float", "!!timestamp"}
	switch {
	case v.Kind() == reflect.Bool:
		tags = []string{"!!bool"}
	case v.Type() == passHostType:
		tags = append(tags, "!!bool")
	case v.Kind() == reflect.Int:
		tags = []string{"!!int"}
	case v.Type() == durationType:
		tags = tags[:1]
	}
	if n.Kind != yaml.ScalarNode || !slices.Contains(tags, n.ShortTag()) {
		if v.Kind() == reflect.String && n.Kind == yaml.ScalarNode {
			return conf.Textf("wants %s, got %s; put it in quotes", wants, kindOf(n))
		}
		return conf.Textf(wantsGot, wants, kindOf(n))
	}
	return setText(n.Value, v)
}

// kindOf names a node's type for readers who do not know the YAML specification.
func kindOf(n *yaml.Node) conf.Text {
	switch n.Kind {
	case yaml.SequenceNode:
		return conf.Textf("a list")
	case yaml.MappingNode:
		return keysWithValues
	case yaml.AliasNode:
		return conf.Textf("an alias")
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return conf.Textf("a number")
	case "!!bool":
		return conf.Textf("true or false")
	case "!!null":
		return conf.Textf("nothing")
	case "!!timestamp":
		return conf.Textf("a date")
	case "!!str":
		return conf.Textf("text")
	}
	return conf.Textf("a value with a tag (!)")
}
