package main

import (
	"crypto/sha256"
	"io/fs"
	"os"

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
