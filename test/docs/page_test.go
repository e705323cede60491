package docs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

const root = "../.."

// page is a Markdown file of the repository.
type page struct {
	name  string // from the root of the repository, with slashes
	text  string
	prose string // the text without fenced blocks and code spans
}

var (
	fence   = regexp.MustCompile("(?ms)^ *```.*?^ *```[ \t]*$")
	span    = regexp.MustCompile("`[^`\n]*`")
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.*?)[ #]*$`)
	link    = regexp.MustCompile(`!?\[(?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*\]\(([^()\s]+(?:\([^()]*\))?)\)`)
	marked  = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
)

// pages are all Markdown files that people read, by their names.
func pages(t *testing.T) map[string]page {
	t.Helper()
	all := map[string]page{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "node_modules" ||
				d.Name() == "testdata" || name == "dist" || name == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".md") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		blank := func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) }
		text := string(data)
		all[name] = page{name, text, span.ReplaceAllString(fence.ReplaceAllStringFunc(text, blank), "")}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 40 {
		t.Fatalf("found %d pages: something is wrong with this test", len(all))
	}
	return all
}

// goSource is the Go source below a folder, without tests, by file; nothing where
// there is no such folder.
func goSource(t *testing.T, folder string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		texts[strings.TrimPrefix(path, root+"/")] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// twin is the name of the same page in the other language.
func twin(name string) string {
	if english, ok := strings.CutSuffix(name, ".zh-CN.md"); ok {
		return english + ".md"
	}
	return strings.TrimSuffix(name, ".md") + ".zh-CN.md"
}

func chinese(name string) bool { return strings.HasSuffix(name, ".zh-CN.md") }

// anchors are the ids that forges give the headings of a page: lower case, the
// letters, digits, `-` and `_` that are there, `-` for a blank, and a number
// behind a second one.
func anchors(p page) map[string]bool {
	ids, seen := map[string]bool{}, map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(p.text, ""), -1) {
		title := marked.ReplaceAllString(m[1], "$1")
		var b strings.Builder
		for _, r := range strings.ToLower(title) {
			switch {
			case r == ' ':
				b.WriteByte('-')
			case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r), r == '-', r == '_':
				b.WriteRune(r)
			}
		}
		id := b.String()
		if n := seen[id]; n > 0 {
			ids[id+"-"+string(rune('0'+n))] = true
		}
		seen[id]++
		ids[id] = true
	}
	return ids
}

func TestAnchors(t *testing.T) {
	for _, c := range []struct{ title, want string }{
		{"## Error codes", "error-codes"},
		{"## `dinggate doctor`", "dinggate-doctor"},
		{"## 在钉钉客户端里", "在钉钉客户端里"},
		{"## 什么会结束会话，多快", "什么会结束会话多快"},
		{"## API 客户端", "api-客户端"},
		{"## Windows, macOS, FreeBSD", "windows-macos-freebsd"},
		{"## See [it](x.md)", "see-it"},
		{"## x\n## x", "x-1"},
	} {
		if ids := anchors(page{text: c.title + "\n"}); !ids[c.want] {
			t.Errorf("anchors(%q) = %v, want %q in it", c.title, ids, c.want)
		}
	}
}
