package config

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"dinggate/internal/conf"
)

// StandardFile is read if neither --config nor DINGGATE_CONFIG names a file and it
// exists.
const StandardFile = "/etc/dinggate/config.yaml"

// Load loads the configuration: flag > environment > file > default. environ is
// os.Environ(); with StandardFile, the variables of ServiceEnvironment are added. Load
// opens the file that --config or DINGGATE_CONFIG names, or StandardFile, the files of
// RoutesFolder beside it, and those of secrets, certificate and logo. It makes no
// network connection.
//
// The problems are complete and sorted, each with its place. If they include a mistake,
// do not start from the Config, which is never nil.
func Load(flags *Flags, environ []string) (*Config, []conf.Problem) {
	l := NewLoader()
	l.Read, l.Standard, l.Environment = ReadFile, StandardFile, ServiceEnvironment
	return l.Load(flags, environ)
}

// FileMissing reports whether the file could not be read at all.
func FileMissing(problems []conf.Problem) bool {
	return slices.ContainsFunc(problems, func(p conf.Problem) bool { return p.Missing })
}

// place is where a value was given: file and line, or the name of a variable or a flag.
type place struct {
	file string
	line int
}

// loader is the state of one Load. A value's place replaces that of a weaker source.
type loader struct {
	cfg      *Config
	keys     []key
	Read     func(name string) (data []byte, mode fs.FileMode, err error)
	List     func(folder string) (names []string, err error) // of RoutesFolder
	name     string                                          // of the file; "" without one
	Standard string                                          // read if no file is named and it exists; "": none
	// read with Standard by commands other than serve, which has it as its environment; "": none
	Environment string
	folder      string // of the file, base of its relative paths
	data        []byte // of the file
	values      int    // decoded from the file
	unread      bool   // the file could not be read, so that missing keys are not reported
	problems    conf.Problems
	places      map[string]place
	within      map[string]place      // of a section, the place of its first key; after indexPlaces
	bad         map[string]bool       // keys whose value is a mistake already
	given       map[string]place      // secrets and their _file keys that the present source gave
	files       map[string]secretFile // by the path of the secret whose file the present source names
}

func NewLoader() *loader {
	return &loader{cfg: Default(), keys: Keys(), List: ListRouteFiles, places: map[string]place{}, bad: map[string]bool{}}
}

func (l *loader) Load(flags *Flags, environ []string) (*Config, []conf.Problem) {
	l.cfg.inPod = slices.ContainsFunc(environ, func(v string) bool {
		return strings.HasPrefix(v, "KUBERNETES_SERVICE_HOST=")
	})
	if flags == nil {
		flags = &Flags{}
	}
	if len(flags.faults) > 0 {
		return l.cfg, flags.faults
	}
	file, variables := l.parseEnviron(environ)
	l.name = cmp.Or(flags.File, file)
	if l.name == "" && l.Standard != "" {
		// an unreadable file is a mistake, not absent
		if _, err := os.Lstat(l.Standard); !errors.Is(err, fs.ErrNotExist) {
			l.name = l.Standard
		}
	}
	if l.name == "" && l.Standard != "" && len(variables)+len(flags.values)+len(l.problems.All()) == 0 {
		l.problems.Add(
			conf.Problem{Text: conf.Textf("no configuration file: --config FILE or %s, and no DINGGATE_ variables",
				StandardFile)},
		)
	}
	variables = append(variables, l.serviceVariables(environ)...)
	if l.name != "" {
		l.source(func() {
			l.fromFile()
			l.fromRoutesFolder()
		})
		if l.unread || l.known("admin.listen") {
			l.salvageAdmin()
		}
	}
	l.source(func() { l.fromTexts(variables) })
	l.source(func() { l.fromTexts(flags.values) })
	if !l.unread {
		l.check()
	}
	return l.cfg, l.problems.All()
}

// secretFile is a file with a secret, and the place of the secret.
type secretFile struct {
	name  string
	value reflect.Value
}

// source reads one source, and then the secrets whose files it names.
func (l *loader) source(take func()) {
	l.given, l.files = map[string]place{}, map[string]secretFile{}
	take()
	l.secretFiles()
}

// check runs the Check of every part and determines the place of each problem. It drops
// problems that follow from a value that is a mistake already: a corp_id that is a list
// is not also missing.
func (l *loader) check() {
	var found conf.Problems
	l.cfg.Check(&found)
	l.cfg.checkFiles(&found, l.Read)
	for _, problem := range found.All() {
		if l.known(problem.Key) {
			continue
		}
		if problem.File == "" { // otherwise it names a line of another file
			at := l.where(problem.Key)
			problem.File, problem.Line = at.file, at.line
		}
		l.problems.Add(problem)
	}
}

// known reports whether path, or a section that contains it, is a mistake already.
func (l *loader) known(path string) bool {
	for ; path != ""; path = parent(path) {
		if l.bad[path] {
			return true
		}
	}
	return false
}

// where returns the place of path, otherwise that of the section that lacks it,
// otherwise the file, otherwise the variable that could give it.
func (l *loader) where(path string) place {
	for p := path; p != ""; p = parent(p) {
		if at, ok := l.places[p]; ok {
			return at
		}
	}
	if l.name != "" {
		return place{file: l.name}
	}
	name, _, _ := strings.Cut(path, "[")
	return place{file: EnvName(name)}
}

// parent removes the last step: routes[1].access → routes[1] → routes → "".
func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

// mistake records a mistake in the value at path; the text follows the key.
func (l *loader) mistake(at place, path, format string, args ...any) {
	l.fault(at, path, conf.Textf(format, args...))
}

func (l *loader) fault(at place, path string, text conf.Text) {
	l.bad[path] = true
	usage := strings.HasPrefix(at.file, "--")
	l.problems.Add(conf.Problem{Key: path, Text: text, File: at.file, Line: at.line, Usage: usage})
}

// put records that the value of path now comes from at, and forgets places below path.
func (l *loader) put(path string, at place) {
	for p := range l.places {
		if strings.HasPrefix(p, path) && len(p) > len(path) && strings.IndexByte(".[", p[len(path)]) >= 0 {
			delete(l.places, p)
		}
	}
	l.places[path] = at
	delete(l.bad, path) // a stronger source may correct the mistake of a weaker one
}

func (l *loader) paths(skip func(key) bool) []string {
	var all []string
	for _, k := range l.keys {
		if skip == nil || !skip(k) {
			all = append(all, k.Path)
		}
	}
	return all
}

func (l *loader) key(match func(key) bool) (key, bool) {
	i := slices.IndexFunc(l.keys, match)
	if i < 0 {
		return key{}, false
	}
	return l.keys[i], true
}

// maxFile bounds every file that is read.
const maxFile = 1 << 20

var errTooLarge = conf.Errorf("is larger than 1 MiB")

// ReadFile reads a file, or a pipe such as a shell's <(…).
func ReadFile(name string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = errTooLarge
	}
	mode := info.Mode()
	if runtime.GOOS == "windows" { // where an access list decides, and every file reports 0666
		mode &^= 0o077
	}
	return data, mode, err
}

// Cause returns why a file cannot be read, without its name, which the message has.
func Cause(err error) string {
	if err == nil {
		return ""
	}
	return cause(err).Error()
}

func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
