package layout

import (
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// oldNames are identifiers of a private vocabulary that the field's own terms
// replaced: they do not come back. Where a name is common English it is barred
// in the package alone where it was private ("" is every package).
var oldNames = map[string][]string{
	"": {"newGate", "nextGate", "Entrance", "passage", "goodbye", "Errand", "bindingsDesk", "ssoDoor", "telemetryKit",
		"Unkept", "Strangers", "moveOn", "bindErrands", "tokenDoors", "accountHouse"},
	"proxy":                             {"Front", "Behind", "Insist", "Patience"},
	"proxy/forwardauth":                 {"Gate", "Question", "Reply"},
	"proxy/login":                       {"aloud", "pocket", "hasLeft", "markLeft", "offerLink", "depart", "arrive"},
	"session":                           {"deaf", "ageing", "askNow", "askAgain", "notice", "letter", "board", "doubt", "pace"},
	"dingtalk":                          {"gates", "punished", "trial", "ruling", "judge"},
	"dingtalk/sso":                      {"mint", "stranger", "slowdown", "order"},
	"store/grant":                       {"mint"},
	"cmd/dinggate/internal/gatewayconf": {"snippet", "made"},
	"cmd/dinggate/internal/server":      {"lasting", "seldom", "nextGate"},
	"internal/telemetry":                {"Today"},
	"account":                           {"Trouble", "trouble"},
}

// oldFiles are names of files that said nothing to a reader who knows the field.
var oldFiles = []string{"hear.go", "trust.go", "house_test.go", "restless_test.go", "siblings_test.go", "endure_test.go",
	"wire_basic.go", "wire_credentials.go", "wire_stores.go", "entrance_test.go", "doors_test.go", "door_test.go", "paper.go"}

// oldWords do not occur in comments and documents: each has a plain term. Of
// words that are also used in their proper sense (room, door, house, trouble,
// save) the phrases are barred in which they were not.
var oldWords = regexp.MustCompile(`(?i)\b(whoever|errands?|stands? in for|front doors?|(every|any|our|at all) doors?|` +
	`the house|a house|house's own|nobody hears|, save (for|that|by|in|where|when|its|the|those|what)|` +
	`(is|means|while|there is) trouble|found no room|has room for)\b`)

// vagueWords do not occur in what the product itself says: comments and texts of its
// source, pages, documents. A program reports, shows or names; it tells and hears
// nothing. Dinggate is no gate: the gateway is the program in front of it.
var vagueWords = regexp.MustCompile(`(?i)\b(whoever|tells|telling|(is|are|was|were|be) told|hears|somebody else|` +
	`(the|a|another|every) gate|stands? in (the|an?|for|no)|mints|minted|errands?|out loud)\b`)

// prose are the files besides Go whose text people read; notProse are below them, and
// hold the words of others.
var (
	prose    = []string{".md", ".html", ".yaml", ".tmpl", ".lua", ".conf", ".js"}
	notProse = []string{"dist/", "bin/", "test/", "internal/page/testdata/", "docs/dependencies"}
)

// TestVagueWords reads the product's own source and all documents.
func TestVagueWords(t *testing.T) {
	read := 0
	for path, source := range goFiles(t) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "internal/layout/") || strings.HasPrefix(path, "test/") {
			continue
		}
		read++
		var texts scanner.Scanner
		file := token.NewFileSet().AddFile("", -1, len(source))
		texts.Init(file, source, nil, scanner.ScanComments)
		for {
			pos, tok, text := texts.Scan()
			if tok == token.EOF {
				break
			}
			if tok != token.COMMENT && tok != token.STRING {
				continue
			}
			if word := vagueWords.FindString(text); word != "" {
				t.Errorf("%s:%d says %q: write a plain term", path, file.Line(pos), word)
			}
		}
	}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "node_modules" || hasPrefix(name+"/", notProse) {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains(prose, filepath.Ext(name)) || hasPrefix(name, notProse) {
			return nil
		}
		read++
		text, err := os.ReadFile(path)
		for i, line := range strings.Split(string(text), "\n") {
			if word := vagueWords.FindString(line); word != "" {
				t.Errorf("%s:%d says %q: write a plain term", name, i+1, word)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if read < 400 {
		t.Fatalf("read %d files: something is wrong with this test", read)
	}
}

// unread are folders whose comments have not been read through. The list may shrink.
var unread = []string{"internal/layout/"}

func TestOldNames(t *testing.T) {
	for path, source := range goFiles(t) {
		if slices.Contains(oldFiles, filepath.Base(path)) {
			t.Errorf("%s: name the file by the field's term, not as it was called before", path)
		}
		if strings.HasPrefix(path, "internal/layout/") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), path, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		barred := slices.Concat(oldNames[""], oldNames[filepath.ToSlash(filepath.Dir(path))])
		ast.Inspect(tree, func(n ast.Node) bool {
			if name := declared(n); name != "" && slices.Contains(barred, name) {
				t.Errorf("%s declares %s, a name of the old vocabulary: use the field's term", path, name)
			}
			return true
		})
	}
}

// declared is the name that a node declares at the top of a file: of a type, a
// function, a method or a field.
func declared(n ast.Node) string {
	switch n := n.(type) {
	case *ast.FuncDecl:
		return n.Name.Name
	case *ast.TypeSpec:
		return n.Name.Name
	case *ast.Field:
		if len(n.Names) == 1 {
			return n.Names[0].Name
		}
	}
	return ""
}

func TestOldWords(t *testing.T) {
	for path, source := range goFiles(t) {
		if hasPrefix(path, unread) {
			continue
		}
		for line, text := range comments(source) {
			if word := oldWords.FindString(text); word != "" {
				t.Errorf("%s:%d says %q: write a plain term", path, line, word)
			}
		}
	}
}

// named finds what looks like a path of the repository in a document: in
// backquotes, with a slash or an ending, without a blank.
var named = regexp.MustCompile("`([a-zA-Z0-9_.-]+(?:/[a-zA-Z0-9_.-]+)*/?)`")

// TestNamedPaths: every path that the guides for contributors name exists.
func TestNamedPaths(t *testing.T) {
	root := filepath.Join("..", "..")
	tops := map[string]bool{}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		tops[entry.Name()] = true
	}
	found := 0
	for _, name := range []string{"CONTRIBUTING.md", "CONTRIBUTING.zh-CN.md", "docs/architecture.md", "docs/architecture.zh-CN.md"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			top, _, deeper := strings.Cut(m[1], "/")
			if !deeper || !tops[top] || strings.ContainsFunc(filepath.Base(m[1]), unicode.IsUpper) { // an identifier
				continue
			}
			found++
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s names %s, which does not exist", name, m[1])
			}
		}
	}
	if found < 20 {
		t.Fatalf("found %d paths: something is wrong with this test", found)
	}
}
