package config

import (
	"reflect"
	"strings"

	"dinggate/internal/conf"
	"dinggate/internal/i18n"

	"github.com/spf13/pflag"
)

// Flags holds the configuration flags of a command line: the file, and values of keys.
// The zero value has none.
type Flags struct {
	File   string // --config; "": DINGGATE_CONFIG, or StandardFile
	values []textValue
	seen   map[string]bool
	faults []conf.Problem
}

// Annotations of the flags that Define makes.
const (
	AnnotationSecret = "dinggate_secret" // the argument after it must not be repeated in a message
	AnnotationBool   = "dinggate_bool"   // the value is optional
	AnnotationFile   = "dinggate_file"   // the value is the path of a file or a folder
	AnnotationValues = "dinggate_values" // the allowed values
)

// Define adds --config and a flag for every key to set. Those of secrets and of lists
// of objects are hidden: they are refused with a message that names the alternative.
func (f *Flags) Define(set *pflag.FlagSet, in i18n.Language) {
	file := set.VarPF(&configFlag{f}, "config", "", in.Say(i18n.Message{
		"the file to read; see config.example.yaml", "要读取的配置文件；参见 config.example.yaml"}))
	file.Annotations = map[string][]string{AnnotationFile: {"yaml"}}
	for _, k := range Keys() {
		flag := set.VarPF(&keyFlag{f, k}, k.Path, "", in.Say(Meanings[k.Path]))
		flag.Hidden = k.FileOnly || k.Secret && !k.harmless("")
		flag.Annotations = map[string][]string{}
		switch {
		case k.Secret:
			flag.Annotations[AnnotationSecret] = nil
		case k.typ.Kind() == reflect.Bool:
			flag.NoOptDefVal = "true"
			flag.Annotations[AnnotationBool] = nil
			flag.Annotations[AnnotationValues] = []string{"true", "false"}
		case namesFile(k.Path):
			flag.Annotations[AnnotationFile] = nil
		}
	}
}

// Faults are the mistakes in the given flags, each with its flag.
func (f *Flags) Faults() []conf.Problem { return f.faults }

// given reports whether the flag was given before, which is a mistake, and records it.
func (f *Flags) given(name string) bool {
	if f.seen[name] {
		f.fault(name, conf.Textf("is given twice"))
		return true
	}
	if f.seen == nil {
		f.seen = map[string]bool{}
	}
	f.seen[name] = true
	return false
}

func (f *Flags) fault(name string, text conf.Text) {
	f.faults = append(f.faults, conf.Problem{Key: "--" + name, Text: text, Usage: true})
}

// configFlag is --config.
type configFlag struct{ flags *Flags }

func (v *configFlag) String() string { return "" }
func (v *configFlag) Type() string   { return "FILE" }

// Set accepts every value but the empty one: a script whose variable is not set would start with
// another file.
func (v *configFlag) Set(value string) error {
	switch {
	case v.flags.given("config"):
	case value == "":
		v.flags.fault("config", conf.Textf("has no value"))
	default:
		v.flags.File = value
	}
	return nil
}

// keyFlag is the flag of one key.
type keyFlag struct {
	flags *Flags
	key   key
}

func (v *keyFlag) String() string { return "" }

// Type is the placeholder of the value in the help.
func (v *keyFlag) Type() string { return v.key.placeholder() }

// Set stores the value; Load checks it. Its mistakes are in Flags.Faults, so that all
// mistakes of a command line are reported at once. A secret is refused: every process
// of the machine can read a command line (threats L5). No message repeats a value.
func (v *keyFlag) Set(value string) error {
	k := v.key
	switch {
	case v.flags.given(k.Path):
	case k.Secret && !k.harmless(value):
		v.flags.fault(k.Path,
			conf.Textf("is a secret, and every process can read a command line; use %s, --%s%s or the file",
				k.Env(), k.Path, fileSuffix))
	case k.FileOnly:
		v.flags.fault(k.Path, conf.Textf("can only be set in a file"))
	default:
		v.flags.values = append(v.flags.values, textValue{k, value, "--" + k.Path})
	}
	return nil
}

// placeholder returns the placeholder of a key's value in help and reference.
func (k key) placeholder() string {
	switch {
	case k.typ == durationType:
		return "DURATION"
	case k.typ == headersType:
		return "NAME=FIELD,…"
	case k.typ.Kind() == reflect.Bool:
		return "true|false"
	case k.typ.Kind() == reflect.Int:
		return "NUMBER"
	case strings.HasSuffix(k.Path, "_dir"):
		return "DIR"
	case namesFile(k.Path) && k.typ.Kind() == reflect.String:
		return "FILE"
	case k.typ.Kind() == reflect.Slice:
		return "VALUE,…"
	}
	return "VALUE"
}
