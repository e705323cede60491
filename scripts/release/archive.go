package main

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// entry is a file of an archive: its name inside, and the path of its content.
type entry struct {
	name string
	from string
	mode int64 // permissions
}

// documents are in every archive, beside the program.
var documents = []string{"LICENSE", "THIRD_PARTY_NOTICES", "README.md", "README.zh-CN.md", "CHANGELOG.md",
	"CHANGELOG.zh-CN.md", "config.example.yaml"}

// archives packs each target's program, in a folder named like the archive.
func (r *release) archives(context.Context) error {
	texts, err := r.generated()
	if err != nil {
		return err
	}
	for _, t := range r.targets {
		entries := []entry{{t.binary(), r.binaries[t], 0o755}}
		for _, file := range documents {
			entries = append(entries, entry{file, file, 0o644})
		}
		if t.os == "linux" {
			for _, file := range []string{"dinggate.service", "dinggate.socket", "dinggate.sysusers"} {
				entries = append(entries, entry{"systemd/" + file, "deploy/systemd/" + file, 0o644})
			}
		}
		entries = append(entries, texts...)
		suffix, write := ".tar.gz", writeTarGzip
		if t.os == "windows" {
			suffix, write = ".zip", writeZip
		}
		folder := r.name(t, "")
		for i := range entries {
			entries[i].name = path.Join(folder, entries[i].name)
		}
		name := r.name(t, suffix)
		if err := create(filepath.Join(r.out, name), func(w io.Writer) error {
			return write(w, entries, r.epoch)
		}); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// create writes a file, and removes it if that fails.
func create(file string, write func(io.Writer) error) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if err = write(f); err != nil {
		f.Close()
		os.Remove(file)
		return err
	}
	return f.Close()
}

// writeTarGzip writes the entries sorted, owned by root, all with one time.
func writeTarGzip(w io.Writer, entries []entry, at time.Time) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := writeTar(z, entries, at); err != nil {
		return err
	}
	return z.Close()
}

func writeTar(w io.Writer, entries []entry, at time.Time) error {
	out := tar.NewWriter(w)
	for _, e := range sorted(entries) {
		data, err := os.ReadFile(e.from)
		if err != nil {
			return err
		}
		h := &tar.Header{
			Typeflag: tar.TypeReg, Format: tar.FormatUSTAR, Name: e.name, Size: int64(len(data)),
			Mode: e.mode, ModTime: at, Uname: "root", Gname: "root",
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := out.Write(data); err != nil {
			return err
		}
	}
	return out.Close()
}

func writeZip(w io.Writer, entries []entry, at time.Time) error {
	out := zip.NewWriter(w)
	for _, e := range sorted(entries) {
		data, err := os.ReadFile(e.from)
		if err != nil {
			return err
		}
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: at.UTC()}
		h.SetMode(os.FileMode(e.mode))
		file, err := out.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := file.Write(data); err != nil {
			return err
		}
	}
	return out.Close()
}

func sorted(entries []entry) []entry {
	return slices.SortedFunc(slices.Values(entries), func(a, b entry) int { return cmp.Compare(a.name, b.name) })
}
