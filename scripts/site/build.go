package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

//go:embed layout.html
var layoutText string

//go:embed style.css
var style []byte

var layout = template.Must(template.New("layout").Parse(layoutText))

// page is a Markdown file and its place in the site.
type page struct {
	source string // in the repository, with slashes
	out    string // in the site: en/install.html
	zh     bool
	twin   *page // in the other language; itself if there is none
	title  string
	text   []byte
	doc    ast.Node
	toc    []entry
}

type entry struct{ ID, Title string }

// site is one build.
type site struct {
	root, out string
	pages     map[string]*page
	markdown  goldmark.Markdown
	assets    map[string]bool   // pictures to copy
	files     map[string]string // files and folders of the repository that pages link to, and their pages
}

// Build writes the site of the repository root to out, which it empties first, and returns
// the number of pages.
func Build(root, out string) (int, error) {
	s := &site{root: root, out: out, pages: map[string]*page{}, assets: map[string]bool{}, files: map[string]string{},
		markdown: goldmark.New(goldmark.WithExtensions(extension.GFM,
			extension.NewCJK(extension.WithEastAsianLineBreaks())),
			goldmark.WithParserOptions(parser.WithAutoHeadingID()))}
	if err := s.read(); err != nil {
		return 0, err
	}
	if err := os.RemoveAll(out); err != nil {
		return 0, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.pages)) {
		if err := s.write(s.pages[name]); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := s.writeFiles(); err != nil {
		return 0, err
	}
	for name := range s.assets {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return 0, err
		}
		if err := s.put("assets/"+name, data); err != nil {
			return 0, err
		}
	}
	front := `<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>dinggate</title><meta ` +
		`http-equiv="refresh" content="0; url=zh/index.html">` +
		`<p><a href="zh/index.html">中文</a> · <a href="en/index.html" lang="en">English</a></p></html>` + "\n"
	return len(s.pages), errors.Join(s.put("style.css", style), s.put("index.html", []byte(front)))
}

// put writes a file of the site.
func (s *site) put(name string, data []byte) error {
	file := filepath.Join(s.out, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// read finds the pages and parses them.
func (s *site) read() error {
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		names, err := filepath.Glob(filepath.Join(s.root, pattern))
		if err != nil {
			return err
		}
		for _, name := range names {
			rel, err := filepath.Rel(s.root, name)
			if err != nil {
				return err
			}
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			p := &page{source: filepath.ToSlash(rel), text: data}
			p.out, p.zh = place(p.source)
			s.pages[p.source] = p
		}
	}
	for name, p := range s.pages {
		if p.twin = s.pages[twin(name)]; p.twin == nil {
			p.twin = p
		}
		p.doc = s.markdown.Parser().Parse(text.NewReader(p.text),
			parser.WithContext(parser.NewContext(parser.WithIDs(&ids{seen: map[string]int{}}))))
		p.outline()
	}
	return nil
}

// place is the path of a page in the site.
func place(source string) (out string, zh bool) {
	name, zh := strings.CutSuffix(source, ".zh-CN.md")
	name = strings.TrimSuffix(name, ".md")
	switch {
	case name == "README":
		name = "index"
	case name == "docs/README":
		name = "docs"
	default:
		name = strings.TrimPrefix(name, "docs/")
	}
	if zh {
		return "zh/" + strings.ToLower(name) + ".html", true
	}
	return "en/" + strings.ToLower(name) + ".html", false
}

func twin(source string) string {
	if english, ok := strings.CutSuffix(source, ".zh-CN.md"); ok {
		return english + ".md"
	}
	return strings.TrimSuffix(source, ".md") + ".zh-CN.md"
}

// outline extracts title and table of contents from the headings.
func (p *page) outline() {
	for n := p.doc.FirstChild(); n != nil; n = n.NextSibling() {
		h, ok := n.(*ast.Heading)
		if !ok {
			continue
		}
		title := plain(h, p.text)
		if h.Level == 1 && p.title == "" {
			p.title = title
		}
		if id, ok := h.AttributeString("id"); ok && h.Level == 2 {
			p.toc = append(p.toc, entry{string(id.([]byte)), title})
		}
	}
}

// plain is the text of a node without its markup.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Value(source))
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// item is a page in the navigation.
type item struct {
	Title, URL string
	Here       bool
}

type group struct {
	Title string
	Items []item
}

// navigation is the navigation of p: the pages of its language, and those that exist only
// in the other one.
func (s *site) navigation(p *page) (groups []group) {
	for _, sec := range sections {
		g := group{Title: sec.En}
		if p.zh {
			g.Title = sec.Zh
		}
		for _, name := range sec.Pages {
			to := s.pages[name]
			if to == nil {
				continue
			}
			if p.zh {
				to = to.twin
			}
			title := to.title
			if name == "README.md" {
				title = map[bool]string{true: "首页", false: "Home"}[p.zh]
			}
			g.Items = append(g.Items, item{title, relative(p.out, to.out), to == p})
		}
		groups = append(groups, g)
	}
	return groups
}

// view is what layout.html shows.
type view struct {
	Lang, Title, Style, Home, Twin, TwinName string
	Nav                                      []group
	TOC                                      []entry
	Body                                     template.HTML
	Zh                                       bool
}

func (s *site) render(p *page, body []byte) ([]byte, error) {
	v := view{
		Lang:     "en",
		Title:    p.title,
		Style:    relative(p.out, "style.css"),
		Home:     relative(p.out, "en/index.html"),
		Twin:     relative(p.out, p.twin.out),
		TwinName: "中文",
		Nav:      s.navigation(p),
		TOC:      p.toc,
		Body:     template.HTML(body),
		Zh:       p.zh,
	} //nolint:gosec // our own pages, without raw HTML
	if p.zh {
		v.Lang, v.TwinName, v.Home = "zh-CN", "English", relative(p.out, "zh/index.html")
	}
	var b bytes.Buffer
	err := layout.Execute(&b, v)
	return b.Bytes(), err
}

func (s *site) write(p *page) error {
	if err := s.rewrite(p); err != nil {
		return err
	}
	var body bytes.Buffer
	if err := s.markdown.Renderer().Render(&body, p.text, p.doc); err != nil {
		return err
	}
	html := strings.ReplaceAll(body.String(), "<!-- raw HTML omitted -->\n", "")
	html = strings.NewReplacer("<table>", `<div class="table"><table>`, "</table>", "</table></div>").Replace(html)
	data, err := s.render(p, []byte(html))
	if err != nil {
		return err
	}
	return s.put(p.out, data)
}

// relative is the link from one file of the site to another.
func relative(from, to string) string {
	return strings.Repeat("../", strings.Count(from, "/")) + to
}

// writeFiles writes a page for each file and folder of the repository that pages link to;
// a folder's page shows all its files.
func (s *site) writeFiles() error {
	for name, out := range s.files {
		var body bytes.Buffer
		err := fs.WalkDir(os.DirFS(s.root), name, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(filepath.Join(s.root, file))
			if err != nil {
				return err
			}
			if len(data) > 256<<10 || bytes.ContainsRune(data, 0) {
				data = []byte("…")
			}
			fmt.Fprintf(&body, "<h2>%s</h2>\n<pre><code>%s</code></pre>\n", template.HTMLEscapeString(file),
				template.HTMLEscapeString(string(data)))
			return nil
		})
		if err != nil {
			return err
		}
		p := &page{source: name, out: out, title: path.Base(name)}
		p.twin = s.pages["README.zh-CN.md"]
		data, err := s.render(p, append([]byte("<h1>"+template.HTMLEscapeString(name)+"</h1>\n"), body.Bytes()...))
		if err != nil {
			return err
		}
		if err := s.put(out, data); err != nil {
			return err
		}
	}
	return nil
}
