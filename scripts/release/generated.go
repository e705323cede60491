package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// completions are the files with shell completions, by the shell.
var completions = map[string]string{"bash": "dinggate.bash", "zsh": "_dinggate", "fish": "dinggate.fish", "powershell": "dinggate.ps1"}

// generate runs the program to write its completions and manual pages below
// <work>/generated: completions, man, and man.gz for packages.
func (r *release) generate(ctx context.Context) error {
	env := []string{"LANG=C", "LC_ALL=C", "DINGGATE_LANG=en"} // not the builder's language
	folder := filepath.Join(r.work, "generated")
	if err := os.MkdirAll(filepath.Join(folder, "completions"), 0o755); err != nil {
		return err
	}
	for shell, file := range completions {
		text, err := command(ctx, env, r.host(), "completion", shell)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, "completions", file), []byte(text+"\n"), 0o644); err != nil {
			return err
		}
	}
	if _, err := command(ctx, env, r.host(), "man", "--out", filepath.Join(folder, "man")); err != nil {
		return err
	}
	return walkFiles(filepath.Join(folder, "man"), func(name, path string) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var packed bytes.Buffer
		z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression) // neither name nor time in it
		if err != nil {
			return err
		}
		if _, err := z.Write(text); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		to := filepath.Join(folder, "man.gz", filepath.FromSlash(name)+".gz")
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, packed.Bytes(), 0o644)
	})
}

// generated are the completions and manual pages as an archive has them.
func (r *release) generated() (all []entry, err error) {
	err = walkFiles(filepath.Join(r.work, "generated"), func(name, path string) error {
		if !strings.HasPrefix(name, "man.gz/") {
			all = append(all, entry{name, path, 0o644})
		}
		return nil
	})
	return all, err
}

// walkFiles calls do for every file below folder, with its path there.
func walkFiles(folder string, do func(name, path string) error) error {
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		return do(filepath.ToSlash(name), path)
	})
}
