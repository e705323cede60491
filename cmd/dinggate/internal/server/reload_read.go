package server

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"strings"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/conf"
)

// Loaded is one reading of the configuration.
type Loaded struct {
	Cfg      *config.Config
	Problems []conf.Problem
	files    map[string]digest // all files read, or missing; the name of a listed folder ends in "/"
}

// digest identifies a file's content, or that it could not be read. The zero value is a
// pipe, which can be read only once.
type digest [sha256.Size]byte

func digestOf(data []byte, mode fs.FileMode, err error) digest {
	switch {
	case err != nil:
		return sha256.Sum256([]byte("error: " + config.Cause(err)))
	case !mode.IsRegular():
		return digest{}
	}
	return sha256.Sum256(append([]byte("content: "), data...))
}

// LoadAll loads the configuration and records the files that it was read from.
func LoadAll(flags *config.Flags, environ []string) Loaded {
	l := config.NewLoader()
	l.Standard = config.StandardFile
	files := map[string]digest{}
	l.Read = func(name string) ([]byte, fs.FileMode, error) {
		data, mode, err := config.ReadFile(name)
		files[name] = digestOf(data, mode, err)
		return data, mode, err
	}
	l.List = func(folder string) ([]string, error) {
		names, err := config.ListRouteFiles(folder)
		files[folder+"/"] = digestOfList(names, err)
		return names, err
	}
	cfg, problems := l.Load(flags, environ)
	return Loaded{cfg, problems, files}
}

func digestOfList(names []string, err error) digest {
	return digestOf([]byte(strings.Join(names, "/")), 0, err)
}

// digestNow reads a file or lists a folder again. It does not wait for a pipe's writer.
func digestNow(name string) digest {
	if folder, ok := strings.CutSuffix(name, "/"); ok {
		return digestOfList(config.ListRouteFiles(folder))
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return digest{}
	}
	return digestOf(config.ReadFile(name))
}

// Again wraps the reading for a reload: the content of a pipe is gone.
func (l Loaded) Again(read func() Loaded) func() Loaded {
	for name, d := range l.files {
		if d == (digest{}) {
			return func() Loaded {
				return Loaded{
					Cfg:   l.Cfg,
					files: l.files,
					Problems: []conf.Problem{{File: name,
						Text: conf.Textf("was read from a pipe, which is possible once only; a change needs a restart")}},
				}
			}
		}
	}
	return read
}
