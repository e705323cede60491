package tlsfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestAbsent(t *testing.T) {
	if pool, err := Authorities(""); pool != nil || err != nil {
		t.Errorf("Authorities of no file = %v, %v, want nil: the system's", pool, err)
	}
	if pair, err := Pair("", ""); pair != nil || err != nil {
		t.Errorf("Pair of no file = %v, %v, want none", pair, err)
	}
}

// TestWrongFiles: a file that cannot be read is an error, and never treated as absent.
func TestWrongFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.pem")
	if _, err := Authorities(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Authorities of a file that is not there: %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := Pair(name, name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Pair of files that are not there: %v, want %v", err, fs.ErrNotExist)
	}
	if err := os.WriteFile(name, []byte("no certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if pool, err := Authorities(name); pool != nil || !errors.Is(err, ErrNoCertificate) {
		t.Errorf("Authorities of another file = %v, %v, want %v", pool, err, ErrNoCertificate)
	}
	if pair, err := Pair(name, name); pair != nil || err == nil {
		t.Errorf("Pair of another file = %v, %v, want an error", pair, err)
	}
}
