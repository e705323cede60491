package main

import (
	"html"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const repository = "../.."

var (
	attribute = regexp.MustCompile(`(?:href|src)="([^"]*)"`)
	identity  = regexp.MustCompile(` id="([^"]*)"`)
)

// TestSite: the site builds, every link in it leads to a file and an anchor that are
// there, and no page loads anything from elsewhere.
func TestSite(t *testing.T) {
	out := t.TempDir()
	n, err := Build(repository, out)
	if err != nil {
		t.Fatal(err)
	}
	ids, links := map[string][]string{}, map[string][]string{}
	err = filepath.WalkDir(out, func(file string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(file, out+string(filepath.Separator)))
		ids[name] = nil
		if path.Ext(name) != ".html" {
			return nil
		}
		data, err := os.ReadFile(file)
		for _, m := range identity.FindAllStringSubmatch(string(data), -1) {
			ids[name] = append(ids[name], html.UnescapeString(m[1]))
		}
		for _, m := range attribute.FindAllStringSubmatch(string(data), -1) {
			links[name] = append(links[name], html.UnescapeString(m[1]))
		}
		for _, bad := range []string{"<script", "@import", `src="http`, `<link rel="stylesheet" href="http`} {
			if strings.Contains(string(data), bad) {
				t.Errorf("%s has %s", name, bad)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for name, targets := range links {
		for _, target := range targets {
			if strings.Contains(target, "://") || strings.HasPrefix(target, "data:") ||
				strings.HasPrefix(target, "mailto:") {
				continue
			}
			checked++
			file, anchor, found := strings.Cut(target, "#")
			to := name
			if file != "" {
				plain, err := url.PathUnescape(file)
				if err != nil {
					t.Fatal(err)
				}
				to = path.Join(path.Dir(name), plain)
			}
			there, ok := ids[to]
			if !ok {
				t.Errorf("%s: the link to %s leads nowhere", name, target)
				continue
			}
			if anchor, err := url.PathUnescape(anchor); err != nil || found && !slices.Contains(there, anchor) {
				t.Errorf("%s: the link to %s: there is no such anchor", name, target)
			}
		}
	}
	if n < 80 || checked < 2000 {
		t.Errorf("%d pages with %d links: something is wrong with this test", n, checked)
	}
}

// TestNavigation: every page is in the navigation, once.
func TestNavigation(t *testing.T) {
	s := &site{root: repository, pages: map[string]*page{}}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		names, err := filepath.Glob(filepath.Join(repository, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			s.pages[filepath.ToSlash(strings.TrimPrefix(name, repository+string(filepath.Separator)))] = nil
		}
	}
	var listed []string
	for _, sec := range sections {
		for _, name := range sec.Pages {
			if slices.Contains(listed, name) {
				t.Errorf("%s is in the navigation twice", name)
			}
			listed = append(listed, name)
		}
	}
	for name := range s.pages {
		if !strings.HasSuffix(name, ".zh-CN.md") && !slices.Contains(listed, name) {
			t.Errorf("%s is not in the navigation: add it to nav.go", name)
		}
	}
}
