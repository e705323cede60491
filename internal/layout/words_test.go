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
		"Unkept", "Strangers", "moveOn", "bindErrands", "tokenDoors", "accountHouse",
		"openDesk", "controlDesk", "consoleDesk", "SaidError", "doorChecks", "nobodyID", "AskedRoute", "wantTrouble"},
	"proxy":               {"Front", "Behind", "Insist", "Patience", "nobody", "asked", "dialKept", "sick"},
	"proxy/access":        {"question", "ask", "sterner", "sternest", "judge"},
	"proxy/accessrequest": {"Ask", "ask", "asked", "tell", "learn", "look", "Untold", "Room", "settle"},
	"proxy/apiauth":       {"ask", "doKept"},
	"proxy/forwardauth":   {"Gate", "Question", "Reply", "ask", "told"},
	"proxy/login": {"aloud", "pocket", "hasLeft", "markLeft", "offerLink", "depart", "arrive", "asked", "judge", "ill",
		"keptTicket"},
	"proxy/login/locallogin": {"AccountTold", "PersonTold"},
	"oidc":                   {"question", "told", "owe", "owed", "paid", "lastWords", "ErrNobody", "LookAtAll"},
	"oidc/keys":              {"kept"},
	"session": {"deaf", "ageing", "askNow", "askAgain", "notice", "letter", "board", "doubt", "pace", "land", "fly",
		"launch", "ear", "heard", "told", "floor", "trade", "keeps", "facts", "trust", "ask", "asked", "asking", "question",
		"askInBackground", "askSession", "askEnd", "askEnds", "wantAsked", "Carried"},
	"session/membership":             {"launch", "land", "board", "doubt", "facts", "fly", "ask", "asked", "question"},
	"session/mirror":                 {"crowd"},
	"session/revocation":             {"hear", "heard", "ear", "told", "floor", "trust"},
	"store":                          {"sick"},
	"store/redisstore":               {"ask", "kept", "tame"},
	"store/storetest":                {"heard", "allHear", "lateHears", "forever"},
	"internal/httpclient":            {"Kept"},
	"internal/page":                  {"words", "said", "asked", "Asks", "Untold"},
	"internal/web":                   {"kept", "carried"},
	"proxy/forwardauth/envoygrpc":    {"Gate", "question", "asked", "maxQuestion"},
	"cmd/dinggate/internal/doctor":   {"finding", "cure", "Patience"},
	"cmd/dinggate/internal/describe": {"Cure", "cures"},
	"test/deploy":                    {"newGatewayHouse", "standin", "standinTown", "site", "ask", "question", "took"},
	"test/hostile": {"site", "hand", "shot", "crowd", "oracle", "ask", "asked", "question", "story", "sighting", "judge",
		"someone", "keep", "tells", "says", "said", "liar", "strange", "behind", "siblings", "witnesses"},
	"test/hostile/differential":         {"ask", "keep", "front"},
	"cmd/dinggate":                      {"site", "gate", "gates", "house", "endure", "trouble"},
	"dingtalk":                          {"gates", "punished", "trial", "ruling", "judge"},
	"dingtalk/sso":                      {"mint", "stranger", "slowdown", "order"},
	"store/grant":                       {"mint"},
	"cmd/dinggate/internal/gatewayconf": {"snippet", "made", "gate", "Gate"},
	"cmd/dinggate/internal/server":      {"lasting", "seldom", "gate", "pace"},
	"internal/telemetry":                {"Today", "Well", "Ill", "Stranger", "mischief"},
	"account":                           {"Trouble", "trouble"},
}

// oldFiles are names of files that said nothing to a reader who knows the field.
var oldFiles = []string{"hear.go", "trust.go", "house_test.go", "restless_test.go", "siblings_test.go", "endure_test.go",
	"wire_basic.go", "wire_credentials.go", "wire_stores.go", "entrance_test.go", "doors_test.go", "door_test.go", "paper.go",
	"trouble.go"}

// oldWords do not occur in comments: each has a plain term. Of words that are also used in
// their proper sense (room, door, save) the phrases are barred in which they were not.
var oldWords = regexp.MustCompile(`(?i)\b(whoever|errands?|stands? in for|front doors?|(every|any|our|at all) doors?|` +
	`the house|a house|house's own|nobody hears|, save (for|that|by|in|where|when|its|the|those|what)|` +
	`(is|means|while|there is) trouble|found no room|has room for)\b`)

// plainWords do not occur in comments either: a request has a caller or no session, a program
// reports or is notified, a store fails, a subrequest is authorized.
var plainWords = regexp.MustCompile(`(?i)\b(somebody|nobody|whoever|trouble|told|tells?|heard|hears?|sterner|sternest|` +
	`lest|ailing|an ill|out loud|for ever|worth nothing|(the|a|every) question (is|of|to|that)|lets? (people|everybody|them|him) in|` +
	`asks? (nobody|who|whom|DingTalk)|counts? for nothing|kept out)\b`)

// vagueWords do not occur in comments and texts of the source, in pages and documents. A
// program reports, shows or names. Dinggate is no gate: the gateway is the program in front
// of it.
var vagueWords = regexp.MustCompile(`(?i)\b(whoever|tells|telling|(is|are|was|were|be) told|hears|somebody else|` +
	`(the|a|another|every) gate|stands? in (the|an?|for|no)|mints|minted|errands?|out loud)\b`)

// riddles were phrases of the documents for which the field has a term: an authorization
// subrequest (鉴权子请求), exactly (完全一致), has no effect, sign-in.
var riddles = regexp.MustCompile(`(?i)\b(to the letter|(a|the|every) gateway that asks|asks dinggate|without asking first|` +
	`counts? for nothing|nobody new|(is|are) (never )?asked for a page|an ill (store|dinggate)|serves? on meanwhile)\b|` +
	`先问 dinggate|直接转给 dinggate，不要询问|掉线|互相听得到|来访请求|一字不差`)

// TestRiddles reads the documents.
func TestRiddles(t *testing.T) {
	read := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		names, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range names {
			name := strings.TrimPrefix(filepath.ToSlash(path), "../../")
			read++
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(string(text), "\n") {
				if phrase := riddles.FindString(line); phrase != "" {
					t.Errorf("%s:%d says %q: write the field's term", name, i+1, phrase)
				}
			}
		}
	}
	if read < 80 {
		t.Fatalf("read %d pages: something is wrong with this test", read)
	}
}

// prose are the files besides Go whose text people read.
var prose = []string{".md", ".html", ".yaml", ".tmpl", ".lua", ".conf", ".js"}

// TestVagueWords reads the source and all documents.
func TestVagueWords(t *testing.T) {
	read := 0
	for path, source := range goFiles(t) {
		if path == "internal/layout/words_test.go" { // has the words
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
			if strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "node_modules" || name == "dist" || name == "bin" {
				return filepath.SkipDir // programs and releases
			}
			return nil
		}
		if !slices.Contains(prose, filepath.Ext(name)) {
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

func TestOldNames(t *testing.T) {
	for path, source := range goFiles(t) {
		if slices.Contains(oldFiles, filepath.Base(path)) {
			t.Errorf("%s: name the file by the field's term, not as it was called before", path)
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

// oldTestNames are private words for a request, a subrequest, a notification, a failure and a
// user: identifiers of tests do not use them.
var oldTestNames = regexp.MustCompile(`^(asks?|asked|asking|questions?|told|tells?|hears?|heard|said|somebody|nobody|whoever|` +
	`trouble|strangers?|crowd|house)$`)

func TestTestNames(t *testing.T) {
	for path, source := range goFiles(t) {
		if !strings.HasSuffix(path, "_test.go") || unreadTests.MatchString(path) {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), path, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && oldTestNames.MatchString(id.Name) {
				t.Errorf("%s names something %s: use the field's term", path, id.Name)
			}
			return true
		})
	}
}

// unreadTests are folders whose identifiers have not been read through. The list may shrink.
var unreadTests = regexp.MustCompile(`^test/(hostile|deploy)/`)

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
		for line, text := range comments(source) {
			for _, barred := range []*regexp.Regexp{oldWords, plainWords} {
				if word := barred.FindString(text); word != "" {
					t.Errorf("%s:%d says %q: write a plain term", path, line, word)
				}
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

// placed finds an identifier that the guides for contributors name beside its file.
var placed = regexp.MustCompile("`([a-zA-Z0-9_/-]+/[a-z0-9_]+\\.go)` ?[(（]`(?:[a-zA-Z]+\\.)?([a-zA-Z]+)`")

// TestNamedIdentifiers: the file that CONTRIBUTING names beside an identifier declares it.
func TestNamedIdentifiers(t *testing.T) {
	for _, name := range []string{"CONTRIBUTING.md", "CONTRIBUTING.zh-CN.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, m := range placed.FindAllStringSubmatch(string(text), -1) {
			source, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(m[1])))
			if err != nil {
				continue // reported by TestNamedPaths
			}
			found++
			declared := regexp.MustCompile(`(?m)^(?:func (?:\([^)]*\) )?|type )` + m[2] + `\b`)
			if !declared.Match(source) {
				t.Errorf("%s: %s does not declare %s", name, m[1], m[2])
			}
		}
		if found < 10 {
			t.Errorf("%s: found %d identifiers: something is wrong with this test", name, found)
		}
	}
}
