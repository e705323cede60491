package docs

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLinks: every link of a page leads to a file and a heading that are there,
// and to the page of the reader's own language.
func TestLinks(t *testing.T) {
	all := pages(t)
	checked := 0
	for name, p := range all {
		for _, m := range link.FindAllStringSubmatch(p.prose, -1) {
			target := m[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			checked++
			file, anchor, _ := strings.Cut(target, "#")
			file, err := url.PathUnescape(file)
			if err != nil {
				t.Errorf("%s: the link to %s: %v", name, target, err)
				continue
			}
			to := name
			if file != "" {
				to = path.Join(path.Dir(name), file)
			}
			if strings.HasPrefix(to, "../") || strings.HasPrefix(file, "/") {
				t.Errorf("%s: the link to %s leaves the repository", name, target)
				continue
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, target)
				continue
			}
			if _, ok := all[twin(to)]; ok && chinese(to) != chinese(name) && to != twin(name) {
				t.Errorf("%s: the link to %s is to the other language: %s", name, target, path.Base(twin(to)))
			}
			if anchor == "" {
				continue
			}
			if anchor, err = url.PathUnescape(anchor); err != nil || !anchors(all[to])[anchor] {
				t.Errorf("%s: the link to %s: there is no such heading", name, target)
			} else if strings.Contains(anchor, "--") {
				t.Errorf(
					"%s: the link to %s: forges do not agree on an anchor with two hyphens; word the heading "+
						"without punctuation between blanks", name, target,
				)
			}
		}
	}
	if checked < 300 {
		t.Errorf("checked %d links: something is wrong with this test", checked)
	}
}

// TestMentions: what code, manifests and comments call a page of docs/ is there.
func TestMentions(t *testing.T) {
	mention := regexp.MustCompile(`\bdocs/[a-z0-9/-]{2,}(?:\.zh-CN)?\.(?:md|svg|png|yaml)\b`)
	checked := 0
	for _, pattern := range []string{"*", "*/*", "*/*/*", "*/*/*/*", "*/*/*/*/*"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			switch filepath.Ext(file) {
			case ".go", ".yaml", ".md", ".service", ".tmpl", "":
			default:
				continue
			}
			info, err := os.Stat(file)
			if err != nil || !info.Mode().IsRegular() || info.Size() > 1<<20 ||
				strings.Contains(file, "test/docs/") || strings.Contains(file, "scripts/site/") ||
				strings.HasPrefix(file, filepath.Join(root, ".git")+string(filepath.Separator)) {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range mention.FindAllString(string(data), -1) {
				checked++
				if _, err := os.Stat(filepath.Join(root, name)); err != nil {
					t.Errorf("%s names %s, which is not there", strings.TrimPrefix(file, root+"/"), name)
				}
			}
		}
	}
	if checked < 50 {
		t.Errorf("checked %d mentions: something is wrong with this test", checked)
	}
}

// TestIndex: the index of the documentation leads to every page, the ones of
// gateways and of applications by their overviews.
func TestIndex(t *testing.T) {
	all := pages(t)
	for name := range all {
		if !strings.HasPrefix(name, "docs/") || name == "docs/README.md" || name == "docs/README.zh-CN.md" {
			continue
		}
		index := "docs/README.md"
		switch path.Dir(name) {
		case "docs/gateways":
			index = "docs/gateways.md"
		case "docs/applications":
			index = "docs/oidc.md"
		}
		if chinese(name) {
			index = twin(index)
		}
		to := strings.TrimPrefix(name, "docs/")
		if !strings.Contains(all[index].text, "]("+to+")") {
			t.Errorf("%s does not lead to %s", index, name)
		}
	}
}
