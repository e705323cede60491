package config

import (
	"encoding"
	"reflect"
	"slices"
	"strings"

	"dinggate/internal/conf"
	"dinggate/proxy"
)

// key is one value of the configuration that is not a section.
type key struct {
	Path     string       // as in the file: session.lifetime
	typ      reflect.Type // of the field; for a _file key that of a string
	Index    []int        // of the field, for FieldByIndex
	Secret   bool         // the value must not be shown
	FileOf   string       // path of the secret whose file this key names
	FileOnly bool         // lists of objects, and rules: not in environment or flags
}

// harmless reports whether the value of a secret key contains no secret: a Redis
// address without user and password, which all may read.
func (k key) harmless(value string) bool {
	return k.Path == "redis.url" && !strings.Contains(value, "@")
}

// Env returns the name of the environment variable.
func (k key) Env() string { return EnvName(k.Path) }

const envPrefix = "DINGGATE_"

func EnvName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// field is one key of a section: its yaml name and the place of its value.
type field struct {
	name  string
	typ   reflect.Type
	index []int
}

// fieldsOf lists the keys of a section in the order of its struct, including those of
// inlined structs.
func fieldsOf(t reflect.Type) []field {
	var all []field
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append(slices.Clone(f.Index), inner.index...)
				all = append(all, inner)
			}
		case name != "" && name != "-":
			all = append(all, field{name, f.Type, f.Index})
		}
	}
	return all
}

var (
	secretType  = reflect.TypeFor[conf.Secret]()
	secretsType = reflect.TypeFor[[]conf.Secret]()
	headersType = reflect.TypeFor[HeaderFields]()
	// true, false or a text
	passHostType = reflect.TypeFor[proxy.PassHost]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func isSecret(t reflect.Type) bool { return t == secretType || t == secretsType }

// Keys lists every key of this version in the order of the file.
func Keys() []key { return keysOf(reflect.TypeFor[Config](), "", nil) }

func keysOf(t reflect.Type, section string, at []int) []key {
	var all []key
	for _, f := range fieldsOf(t) {
		path, index := section+f.name, slices.Concat(at, f.index)
		switch {
		case isSecret(f.typ):
			all = append(all, key{Path: path, typ: f.typ, Index: index, Secret: true},
				key{Path: path + fileSuffix, typ: reflect.TypeFor[string](), FileOf: path})
		case f.typ.Kind() == reflect.Struct && reflect.PointerTo(f.typ).Implements(textType): // one text, or a section
			all = append(append(all, key{Path: path, typ: f.typ, Index: index}), keysOf(f.typ, path+".", index)...)
		case f.typ.Kind() == reflect.Struct:
			all = append(all, keysOf(f.typ, path+".", index)...)
		default:
			objects := f.typ.Kind() == reflect.Slice && f.typ.Elem().Kind() == reflect.Struct && f.typ != headersType
			rule := f.typ.Kind() == reflect.Pointer && !strings.Contains(section, "[].")
			all = append(all, key{Path: path, typ: f.typ, Index: index, FileOnly: objects || rule})
		}
	}
	return all
}

// entries is the prefix of the keys of a list's objects, or of a rule.
func (k key) entries() string {
	if k.typ.Kind() == reflect.Pointer {
		return k.Path + "."
	}
	return k.Path + "[]."
}

// entryKeys lists the keys of list entries, such as routes[].path.
func entryKeys() []key {
	var all []key
	for _, k := range Keys() {
		if k.FileOnly {
			all = append(all, keysOf(k.typ.Elem(), k.entries(), nil)...)
		}
	}
	for i := 0; i < len(all); i++ { // the loop also covers appended elements
		switch k := all[i]; {
		case k.typ.Kind() == reflect.Pointer: // a rule
			all = append(all, keysOf(k.typ.Elem(), k.Path+".", nil)...)
		case k.FileOnly: // nested lists of objects
			all = append(all, keysOf(k.typ.Elem(), k.Path+"[].", nil)...)
		}
	}
	return all
}

// Closest returns the known name that was probably meant, or "". Dashes count as `_`,
// and letter case is ignored. It also finds a name without its section, and one with up
// to two wrong letters.
func Closest(name string, known []string) string {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "-", "_")) }
	name = plain(name)
	best, least := "", 3
	if len(name) < 5 {
		least = 2
	}
	for _, k := range known {
		p := plain(k)
		if p == name || strings.HasSuffix(p, "."+name) {
			return k
		}
		if d := distance(name, p); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, change or swap with a neighbour
// (optimal string alignment). Names of very different lengths need no exact distance.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	row := make([][]int, len(a)+1)
	for i := range row {
		row[i] = make([]int, len(b)+1)
		row[i][0] = i
	}
	for j := range row[0] {
		row[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[i][j] = min(row[i-1][j]+1, row[i][j-1]+1, row[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[i][j] = min(row[i][j], row[i-2][j-2]+1)
			}
		}
	}
	return row[len(a)][len(b)]
}

// Shown returns a name in the form that a message may repeat. Without the space,
// `client_secret:abc` is a key that contains a secret, so only a text that can be a key
// is shown, and only its beginning.
func Shown(name string) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
	end := strings.IndexFunc(name, func(r rune) bool { return !strings.ContainsRune(letters, r) })
	if end < 0 && len(name) <= 40 {
		return name
	}
	if end < 0 || end > 24 {
		end = 24
	}
	return name[:end] + "…"
}

// LanguageVariable is --lang in the environment.
const LanguageVariable = envPrefix + "LANG"
