package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestVersion(t *testing.T) {
	for _, tt := range []struct{ text, plain, packaged string }{
		{"v1.0.0", "1.0.0", "1.0.0"},
		{"v1.10.2", "1.10.2", "1.10.2"},
		{"v1.0.0-rc.1", "1.0.0-rc.1", "1.0.0~rc.1"},
		{"v1.0.0-5-g0123abc", "1.0.0-5-g0123abc", "1.0.0+5.g0123abc"},
		{"v1.0.0-rc.1-5-g0123abc", "1.0.0-rc.1-5-g0123abc", "1.0.0~rc.1+5.g0123abc"},
		{"v1.0.0-dirty", "1.0.0-dirty", "1.0.0+dirty"},
		{"v1.0.0-5-g0123abc-dirty", "1.0.0-5-g0123abc-dirty", "1.0.0+5.g0123abc.dirty"},
		{"0123abc", "0.0.0-0123abc", "0.0.0+0.g0123abc"},
		{"0123abc-dirty", "0.0.0-0123abc-dirty", "0.0.0+0.g0123abc.dirty"},
	} {
		v, err := parseVersion(tt.text)
		if err != nil || v.plain() != tt.plain || v.packaged() != tt.packaged {
			t.Errorf("parseVersion(%s) = %q and %q, %v, want %q and %q", tt.text, v.plain(), v.packaged(), err,
				tt.plain, tt.packaged)
		}
	}
	for _, text := range []string{"", "dev", "1.0.0", "v1.0", "v1.0.0 ", "v1.0.0/../x", "v1.0.0-rc_1", "v1.0.0'"} {
		if v, err := parseVersion(text); err == nil {
			t.Errorf("parseVersion(%q) = %+v, want an error", text, v)
		}
	}
}

// TestArchiveBytes: order, owner, time and permissions are the release's, whatever
// the files of this machine have.
func TestArchiveBytes(t *testing.T) {
	dir := t.TempDir()
	entries := []entry{{"x/b", filepath.Join(dir, "b"), 0o644}, {"x/a", filepath.Join(dir, "a"), 0o755}}
	at := time.Unix(1767323045, 0)
	var packed [2][2]bytes.Buffer
	for i, mode := range []os.FileMode{0o600, 0o777} {
		for _, e := range entries {
			if err := os.WriteFile(e.from, []byte(e.name), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(e.from, mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := writeTarGzip(&packed[i][0], entries, at); err != nil {
			t.Fatal(err)
		}
		if err := writeZip(&packed[i][1], entries, at.In(time.FixedZone("", 3600*i))); err != nil {
			t.Fatal(err)
		}
		entries[0], entries[1] = entries[1], entries[0]
	}
	for i, name := range []string{"tar.gz", "zip"} {
		if !bytes.Equal(packed[0][i].Bytes(), packed[1][i].Bytes()) {
			t.Errorf("two %s of the same files differ", name)
		}
	}
	z, err := gzip.NewReader(&packed[0][0])
	if err != nil || z.Name != "" || !z.ModTime.IsZero() {
		t.Fatalf("the gzip header is %+v, %v", z, err)
	}
	var got []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "root" || !h.ModTime.Equal(at) {
			t.Errorf("%s is of %s at %v", h.Name, h.Uname, h.ModTime)
		}
		got = append(got, h.FileInfo().Mode().String()+" "+h.Name)
	}
	if want := "-rwxr-xr-x x/a, -rw-r--r-- x/b"; strings.Join(got, ", ") != want {
		t.Errorf("the archive has %s, want %s", strings.Join(got, ", "), want)
	}
	r, err := zip.NewReader(bytes.NewReader(packed[0][1].Bytes()), int64(packed[0][1].Len()))
	if err != nil || len(r.File) != 2 || r.File[0].Name != "x/a" || !r.File[0].Modified.Equal(at) {
		t.Errorf("the zip has %+v, %v", r.File, err)
	}
}

// TestCreate: of a file that could not be finished nothing stays.
func TestCreate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	err := create(file, func(w io.Writer) error {
		return writeTarGzip(w, []entry{{"x", "/nowhere", 0o644}}, time.Time{})
	})
	if _, missing := os.Stat(file); err == nil || !os.IsNotExist(missing) {
		t.Errorf("create = %v, and the file %v", err, missing)
	}
}
