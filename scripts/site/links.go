package main

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/yuin/goldmark/ast"
)

// ids sets the same anchors of headings as code hosting sites: see anchors in test/docs.
type ids struct{ seen map[string]int }

func (s *ids) Generate(value []byte, kind ast.NodeKind) []byte {
	var b strings.Builder
	for _, r := range strings.ToLower(string(value)) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r), r == '-', r == '_':
			b.WriteRune(r)
		}
	}
	id := b.String()
	n := s.seen[id]
	s.seen[id]++
	if n > 0 {
		id += "-" + strconv.Itoa(n)
	}
	return []byte(id)
}

func (s *ids) Put(value []byte) { s.seen[string(value)]++ }

// rewrite changes links to pages of the site, pictures to their copies, and links to other
// files of the repository to pages that show them.
func (s *site) rewrite(p *page) error {
	return ast.Walk(p.doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		var err error
		switch n := n.(type) {
		case *ast.Link:
			n.Destination, err = s.target(p, string(n.Destination))
		case *ast.Image:
			name := path.Join(path.Dir(p.source), string(n.Destination))
			s.assets[name] = true
			n.Destination = []byte(relative(p.out, "assets/"+name))
		}
		return ast.WalkContinue, err
	})
}

func (s *site) target(p *page, link string) ([]byte, error) {
	if strings.Contains(link, "://") || strings.HasPrefix(link, "#") || strings.HasPrefix(link, "mailto:") {
		return []byte(link), nil
	}
	file, anchor, found := strings.Cut(link, "#")
	if found {
		anchor = "#" + anchor
	}
	file, err := url.PathUnescape(file)
	if err != nil {
		return nil, err
	}
	name := path.Join(path.Dir(p.source), file)
	if to := s.pages[name]; to != nil {
		return []byte(relative(p.out, to.out) + anchor), nil
	}
	info, err := os.Stat(filepath.Join(s.root, name))
	if err != nil || strings.HasPrefix(name, "..") {
		return nil, fmt.Errorf("the link to %s leads nowhere", link)
	}
	if ext := path.Ext(name); !info.IsDir() && (ext == ".png" || ext == ".svg") {
		s.assets[name] = true
		return []byte(relative(p.out, "assets/"+name)), nil
	}
	s.files[name] = "files/" + name + ".html"
	return []byte(relative(p.out, s.files[name])), nil
}
