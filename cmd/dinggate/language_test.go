package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestEveryFindingInChinese reads the sources of all parts of the configuration
// and looks for each text that they give to If or Warn.
func TestEveryFindingInChinese(t *testing.T) {
	verb := regexp.MustCompile(`%(\[\d\])?[+#0-9]*[a-z]`)
	found := 0
	for _, file := range []string{"config_check.go", "config_headers.go", "config_audit.go", "config_tracing.go", "config_accounts.go", "wire_assertion.go", "../../assertion/assertion.go", "../../account/account.go", "../../session/config.go", "../../session/redisstore/config.go", "../../dingtalk/config.go", "../../proxy/config.go", "../../proxy/access/config.go"} {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 2 {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "If" && sel.Sel.Name != "Warn" {
				return true
			}
			literal, ok := call.Args[1].(*ast.BasicLit)
			if !ok {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil || text == "%v" { // an error's text; mistakes.txtar shows those
				return true
			}
			found++
			if _, ok := translate(verb.ReplaceAllString(text, "x")); !ok {
				t.Errorf("%s: no row of problemWords is for %q", file, text)
			}
			return true
		})
	}
	if found < 50 {
		t.Errorf("found %d texts, want most of them: the search looks for the wrong thing", found)
	}
}

// TestProblemWords: as many holes in one language as in the other, and no row
// that an earlier one hides.
func TestProblemWords(t *testing.T) {
	for i, row := range problemWords {
		n := strings.Count(row[english], "%s")
		if n != strings.Count(row[chinese], "%s") || row[chinese] == "" {
			t.Errorf("%q and %q do not fit", row[english], row[chinese])
		}
		text := strings.ReplaceAll(row[english], "%s", "x")
		holes := make([]any, n)
		for j := range holes {
			holes[j] = "x"
		}
		if got, want := first(translate(text)), fmt.Sprintf(row[chinese], holes...); got != want {
			t.Errorf("translate(%q) = %q, want row %d: %q", text, got, i, want)
		}
	}
}

func first(s string, _ bool) string { return s }

func TestLanguageOf(t *testing.T) {
	for _, tt := range []struct {
		environ string
		want    language
	}{
		{"", english}, {"LANG=zh_CN.UTF-8", chinese}, {"LANG=C.UTF-8", english}, {"LANG=zh_CN LC_ALL=C", english},
		{"LANG=C LC_ALL=zh_TW.UTF-8", chinese}, {"LC_ALL= LANG=zh", chinese}, {"LANG=en LC_MESSAGES=zh_CN", chinese}, {"XLANG=zh", english},
	} {
		if got := languageOf(strings.Fields(tt.environ)); got != tt.want {
			t.Errorf("languageOf(%q) = %v, want %v", tt.environ, got, tt.want)
		}
	}
}
