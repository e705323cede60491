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

	"dinggate/internal/i18n"
)

// TestEveryFindingInChinese reads the sources of all parts of the configuration
// and looks for each text that they give to If or Warn.
func TestEveryFindingInChinese(t *testing.T) {
	verb := regexp.MustCompile(`%(\[\d\])?[+#0-9]*[a-z]`)
	found := 0
	for _, file := range []string{"internal/config/check.go", "internal/config/headers.go", "internal/config/audit.go", "internal/config/tracing.go", "internal/config/accounts.go", "internal/config/assertion.go", "../../proxy/assertion/assertion.go", "../../account/account.go", "../../session/config.go", "../../session/redisstore/config.go", "../../dingtalk/config.go", "../../proxy/config.go", "../../proxy/access/config.go"} {
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
			if _, ok := i18n.Translate(verb.ReplaceAllString(text, "x")); !ok {
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
	for i, row := range i18n.ProblemMessages {
		n := strings.Count(row[i18n.English], "%s")
		if n != strings.Count(row[i18n.Chinese], "%s") || row[i18n.Chinese] == "" {
			t.Errorf("%q and %q do not fit", row[i18n.English], row[i18n.Chinese])
		}
		text := strings.ReplaceAll(row[i18n.English], "%s", "x")
		holes := make([]any, n)
		for j := range holes {
			holes[j] = "x"
		}
		if got, want := first(i18n.Translate(text)), fmt.Sprintf(row[i18n.Chinese], holes...); got != want {
			t.Errorf("translate(%q) = %q, want row %d: %q", text, got, i, want)
		}
	}
}

func first(s string, _ bool) string { return s }

func TestLanguageOf(t *testing.T) {
	for _, tt := range []struct {
		environ string
		want    i18n.Language
	}{
		{"", i18n.English}, {"LANG=zh_CN.UTF-8", i18n.Chinese}, {"LANG=C.UTF-8", i18n.English}, {"LANG=zh_CN LC_ALL=C", i18n.English},
		{"LANG=C LC_ALL=zh_TW.UTF-8", i18n.Chinese}, {"LC_ALL= LANG=zh", i18n.Chinese}, {"LANG=en LC_MESSAGES=zh_CN", i18n.Chinese}, {"XLANG=zh", i18n.English},
	} {
		if got := i18n.FromEnviron(strings.Fields(tt.environ)); got != tt.want {
			t.Errorf("languageOf(%q) = %v, want %v", tt.environ, got, tt.want)
		}
	}
}
