package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// messageCodes are the error codes that pages have a message for.
func messageCodes(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "internal/page/messages_en.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range gen.Specs {
			value, ok := spec.(*ast.ValueSpec)
			if !ok || value.Names[0].Name != "enMessages" {
				continue
			}
			for _, e := range value.Values[0].(*ast.CompositeLit).Elts {
				code, err := strconv.Unquote(e.(*ast.KeyValueExpr).Key.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				codes = append(codes, code)
			}
		}
	}
	if len(codes) < 50 {
		t.Fatalf("found %d codes: something is wrong with this test", len(codes))
	}
	return codes
}

// TestErrorCodes: the troubleshooting page explains every error code once, and no
// other.
func TestErrorCodes(t *testing.T) {
	codes := messageCodes(t)
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|")
	for _, name := range []string{"docs/troubleshooting.md", "docs/troubleshooting.zh-CN.md"} {
		var listed []string
		for _, m := range row.FindAllStringSubmatch(pages(t)[name].text, -1) {
			listed = append(listed, m[1])
		}
		for _, code := range codes {
			if !slices.Contains(listed, code) {
				t.Errorf("%s does not explain %s", name, code)
			}
		}
		for i, code := range listed {
			if !slices.Contains(codes, code) || slices.Contains(listed[:i], code) {
				t.Errorf("%s explains %s, which there is not, or twice", name, code)
			}
		}
	}
}

// TestAnsweredCodes: every code that our answers can have is explained; the
// SSO service answers third parties with those of OAuth, which docs/sso.md has.
func TestAnsweredCodes(t *testing.T) {
	explained := messageCodes(t)
	literal := regexp.MustCompile(`web\.Error\{[^{}]*?Code: +"([a-z_]+)"`)
	checked := 0
	for _, folder := range []string{"proxy", "internal/web", "cmd/dinggate/internal/server", "oidc", "session", "account"} {
		for path, text := range goSource(t, folder) {
			for _, m := range literal.FindAllStringSubmatch(text, -1) {
				if checked++; !slices.Contains(explained, m[1]) {
					t.Errorf("%s answers %s, for which there is no message and no entry in docs/troubleshooting.md", path, m[1])
				}
			}
		}
	}
	if checked < 50 {
		t.Errorf("checked %d codes: something is wrong with this test", checked)
	}
}

// TestMetricNames: a metric that any page names is in the table of operating.md,
// which cmd/dinggate compares with the program.
func TestMetricNames(t *testing.T) {
	all := pages(t)
	metric := regexp.MustCompile(`\bdinggate_[a-z_]+[a-z]\b`) // in prose: nginx and HAProxy have variables
	known := map[string]bool{}
	for _, m := range metric.FindAllString(all["docs/operating.md"].text, -1) {
		known[m] = true
	}
	for name, p := range all {
		if strings.HasPrefix(name, "CHANGELOG") {
			continue // names of the past stay
		}
		for _, m := range metric.FindAllString(fence.ReplaceAllString(strings.ReplaceAll(p.text, "$dinggate", ""),
			""), -1) {
			if !known[m] && !known[strings.TrimSuffix(strings.TrimSuffix(m, "_bucket"), "_count")] {
				t.Errorf("%s names the metric %s, which docs/operating.md has not", name, m)
			}
		}
	}
}

// TestTemplateFiles: docs/pages lists every file that templates_dir can replace.
func TestTemplateFiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "internal/page/pages/*"))
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d templates (%v): something is wrong with this test", len(files), err)
	}
	for _, name := range []string{"docs/pages.md", "docs/pages.zh-CN.md"} {
		_, list, _ := strings.Cut(pages(t)[name].text, "\n`templates_dir` ")
		for _, file := range files {
			if !strings.Contains(list, "`"+filepath.Base(file)+"`") {
				t.Errorf("%s does not name %s", name, filepath.Base(file))
			}
		}
	}
}
