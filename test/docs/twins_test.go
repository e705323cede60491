package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTwins: every page is there in both languages, and both have the same parts
// and the same blocks of code.
func TestTwins(t *testing.T) {
	all := pages(t)
	for name, p := range all {
		if chinese(name) {
			continue
		}
		other, ok := all[twin(name)]
		if !ok {
			t.Errorf("%s has no twin %s", name, twin(name))
			continue
		}
		if a, b := shape(p), shape(other); a != b {
			t.Errorf("%s has %s; its twin %s", name, a, b)
		}
		for _, q := range []page{p, other} {
			if head, _, _ := strings.Cut(q.text, "\n## "); !strings.Contains(head,
				twin(q.name[strings.LastIndex(q.name, "/")+1:])) {
				t.Errorf("%s does not lead to its twin at its head", q.name)
			}
		}
	}
	for name := range all {
		if _, ok := all[twin(name)]; chinese(name) && !ok {
			t.Errorf("%s has no twin %s", name, twin(name))
		}
	}
}

// shape counts what both languages have to have alike.
func shape(p page) string {
	prose := fence.ReplaceAllString(p.text, "FENCE")
	count := func(pattern string) int { return len(regexp.MustCompile(`(?m)`+pattern).FindAllString(prose, -1)) }
	return fmt.Sprintf("%d headings, %d blocks, %d points, %d steps, %d rows", count(`^#+ `), count(`^ *FENCE`),
		count(`^ *\* `), count(`^ *\d+\. `), count(`^ *\|`))
}

// TestReadme: the README fits what a newcomer reads.
func TestReadme(t *testing.T) {
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		if n := strings.Count(pages(t)[name].text, "\n"); n > 200 {
			t.Errorf("%s has %d lines, more than 200: move what is long to docs/", name, n)
		}
	}
}

// TestWords: the reader is 你, and a sign-out is 退出登录.
func TestWords(t *testing.T) {
	for name, p := range pages(t) {
		for i, line := range strings.Split(p.text, "\n") {
			for _, word := range []string{"您", "登出"} {
				if strings.Contains(line, word) {
					t.Errorf("%s:%d says %s: %s", name, i+1, word, line)
				}
			}
		}
	}
}

// TestAddress: the program addresses people as 你 too, but where the simulator
// repeats what DingTalk says.
func TestAddress(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && (d.Name() == "simulator" || d.Name() == "docs" || d.Name() == ".git") {
				return filepath.SkipDir
			}
			return err
		}
		switch filepath.Ext(path) {
		case ".go", ".html", ".js", ".yaml", ".json", ".golden", ".txtar":
		default:
			return nil
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "您") {
			t.Errorf("%s says 您", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
