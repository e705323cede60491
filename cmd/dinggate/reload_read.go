package main

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"

	"dinggate/internal/conf"
)

// loaded is one reading of the configuration.
type loaded struct {
	cfg      *Config
	problems []conf.Problem
	files    map[string]digest // all that were read, or were to be read
}

// digest stands for what a file was: its content, or that it could not be read.
// The zero value is a pipe, which can be read only once.
type digest [sha256.Size]byte

func digestOf(data []byte, mode fs.FileMode, err error) digest {
	switch {
	case err != nil:
		return sha256.Sum256([]byte("error: " + why(err)))
	case !mode.IsRegular():
		return digest{}
	}
	return sha256.Sum256(append([]byte("content: "), data...))
}

// loadAll is load, and tells which files it was made from.
func loadAll(args, environ []string) loaded {
	l := newLoader()
	l.standard = standardFile
	files := map[string]digest{}
	l.read = func(name string) ([]byte, fs.FileMode, error) {
		data, mode, err := readFile(name)
		files[name] = digestOf(data, mode, err)
		return data, mode, err
	}
	cfg, problems := l.load(args, environ)
	return loaded{cfg, problems, files}
}

// digestNow reads a file again, without waiting for a pipe's other end.
func digestNow(name string) digest {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return digest{}
	}
	return digestOf(readFile(name))
}

// again wraps the reading for a reload: what came through a pipe is gone.
func (l loaded) again(read func() loaded) func() loaded {
	for name, d := range l.files {
		if d == (digest{}) {
			return func() loaded {
				return loaded{cfg: l.cfg, files: l.files, problems: []conf.Problem{{File: name, Text: "was read from a pipe, which can be done once; a change needs a restart"}}}
			}
		}
	}
	return read
}

// problems are why a configuration is not taken.
type problems []conf.Problem

// refusing leaves the warnings out.
func refusing(all []conf.Problem) (wrong problems) {
	for _, p := range all {
		if !p.Warning {
			wrong = append(wrong, p)
		}
	}
	return wrong
}

// staying parts the mistakes that keep something as it was from those that keep
// the whole configuration out.
func (p problems) staying() (stay, wrong problems) {
	for _, one := range p {
		if one.Stays {
			stay = append(stay, one)
		} else {
			wrong = append(wrong, one)
		}
	}
	return stay, wrong
}

// keys are what the mistakes are about.
func (p problems) keys() string {
	var keys []string
	for _, one := range p {
		if !slices.Contains(keys, one.Key) {
			keys = append(keys, one.Key)
		}
	}
	return strings.Join(keys, ", ")
}

// Error is one mistake a line.
func (p problems) Error() string { return strings.Join(p.lines(english), "\n") }

func (p problems) lines(in language) (lines []string) {
	for _, one := range p {
		lines = append(lines, in.problem(one))
	}
	return lines
}

// fixedKeys are settled when the process starts: its listeners, its stores, and
// the form of a log that others are reading.
var fixedKeys = []string{"listen", "server", "proxy_protocol", "admin", "envoy_grpc", "session.store", "redis", "state_dir", "accounts.binding", "audit", "tracing", "log.format"}

// keepFixed gives next the old values of what cannot change while we serve, and
// names the keys that wanted to.
func keepFixed(old, next *Config) (changed []string) {
	fixed := slices.Clone(fixedKeys)
	if old.TLS.On() != next.TLS.On() {
		fixed = append(fixed, "tls")
	}
	if old.EnvoyGRPC.Listen != "" {
		fixed = append(fixed, "prefix")
	}
	was, will := reflect.ValueOf(old).Elem(), reflect.ValueOf(next).Elem()
	for _, k := range allKeys() {
		settled := slices.ContainsFunc(fixed, func(f string) bool { return k.path == f || strings.HasPrefix(k.path, f+".") })
		if !settled || k.fileOf != "" || reflect.DeepEqual(was.FieldByIndex(k.index).Interface(), will.FieldByIndex(k.index).Interface()) {
			continue
		}
		will.FieldByIndex(k.index).Set(was.FieldByIndex(k.index))
		changed = append(changed, k.path)
	}
	return changed
}
