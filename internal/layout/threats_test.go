package layout

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	threatRow   = regexp.MustCompile(`(?m)^\| ([A-Z][0-9]+[a-z]?) \|`)
	threatCited = regexp.MustCompile(`threats? ((?:[A-Z][0-9]+[a-z]?(?:, | and |–)?)+)`)
	threatID    = regexp.MustCompile(`[A-Z][0-9]+[a-z]?`)
)

// TestThreatIDs: every threat that a comment cites has a row in docs/threats.md.
func TestThreatIDs(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "threats.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, m := range threatRow.FindAllStringSubmatch(string(text), -1) {
		if rows[m[1]] {
			t.Errorf("docs/threats.md has two rows %s", m[1])
		}
		rows[m[1]] = true
	}
	zh, err := os.ReadFile(filepath.Join(root, "docs", "threats.zh-CN.md"))
	if err != nil {
		t.Fatal(err)
	}
	for id := range rows {
		if !strings.Contains(string(zh), "\n| "+id+" |") {
			t.Errorf("docs/threats.zh-CN.md has no row %s", id)
		}
	}
	cited := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range threatCited.FindAllStringSubmatch(string(source), -1) {
			for _, id := range threatID.FindAllString(m[1], -1) {
				if cited++; !rows[id] {
					t.Errorf("%s cites threat %s, which has no row in docs/threats.md", path, id)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) < 200 || cited < 100 {
		t.Fatalf("found %d rows and %d citations: something is wrong with this test", len(rows), cited)
	}
}
