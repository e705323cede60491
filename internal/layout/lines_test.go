package layout

import (
	"bytes"
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	maxWidth   = 160 // characters of a line
	maxComment = 120 // characters of a line that is a comment
)

// TestWidth: prose reads on any screen, and code in a review beside other code.
func TestWidth(t *testing.T) {
	for path, source := range goFiles(t) {
		for i, line := range strings.Split(string(source), "\n") {
			width := utf8.RuneCountInString(line)
			comment := strings.HasPrefix(strings.TrimSpace(line), "// ")
			if width > maxWidth || comment && width > maxComment {
				t.Errorf("%s:%d has %d characters: break a line at %d, a comment at %d", path, i+1, width, maxWidth, maxComment)
			}
		}
	}
}

// goFiles are the Go files of the repository, by their path from its root.
func goFiles(t *testing.T) map[string][]byte {
	t.Helper()
	root := filepath.Join("..", "..")
	all := map[string][]byte{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		source, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		all[filepath.ToSlash(name)] = source
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 300 {
		t.Fatalf("found %d Go files: something is wrong with this test", len(all))
	}
	return all
}

// comments gives the text of a file's comments, each by its line.
func comments(source []byte) map[int]string {
	all := map[int]string{}
	file := token.NewFileSet().AddFile("", -1, len(source))
	var s scanner.Scanner
	s.Init(file, source, func(token.Position, string) {}, scanner.ScanComments)
	for {
		pos, tok, text := s.Scan()
		if tok == token.EOF {
			return all
		}
		if tok == token.COMMENT && !bytes.HasPrefix([]byte(text), []byte("//go:")) {
			all[file.Line(pos)] = text
		}
	}
}
