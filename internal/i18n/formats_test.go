package i18n

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// formats finds the constant formats of all problems in the source: the arguments of conf.Textf,
// conf.Errorf, Place.If, Keep and Warn, and of the loader's mistake. It maps each to the place of
// one use.
func formats(t *testing.T) map[string]string {
	t.Helper()
	at := map[string]int{"Textf": 0, "Errorf": 0, "If": 1, "Keep": 1, "Warn": 1, "mistake": 2}
	found := map[string]string{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); name == "testdata" || strings.HasPrefix(name, ".") && dir != root || name == "conf" ||
			name == "node_modules" {
			return fs.SkipDir
		}
		files := token.NewFileSet()
		var trees []*ast.File
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			return err
		}
		constants := map[string]ast.Expr{}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			tree, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			trees = append(trees, tree)
			ast.Inspect(tree, func(n ast.Node) bool {
				if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == len(spec.Names) {
					for i, name := range spec.Names {
						constants[name.Name] = spec.Values[i]
					}
				}
				return true
			})
		}
		for _, tree := range trees {
			ast.Inspect(tree, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				i, ok := at[sel.Sel.Name]
				if from, named := sel.X.(*ast.Ident); !ok || len(call.Args) <= i ||
					sel.Sel.Name == "Errorf" && (!named || from.Name != "conf") {
					return true
				}
				if i == 1 {
					if _, text := constantText(call.Args[0], constants); text { // slog's Warn
						return true
					}
				}
				place := files.Position(call.Pos()).String()
				if text, ok := constantText(call.Args[i], constants); ok {
					found[text] = place
				} else if place := filepath.ToSlash(place); !strings.Contains(place, "config/load.go") {
					// mistake passes on its own format
					t.Errorf("%s: the format is no constant, so that nothing can look for its translation", place)
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 200 {
		t.Fatalf("found %d formats, want some hundred: the search looks for the wrong thing", len(found))
	}
	return found
}

func constantText(e ast.Expr, constants map[string]ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		return constant.StringVal(constant.MakeFromLiteral(e.Value, e.Kind, 0)), true
	case *ast.Ident:
		known, ok := constants[e.Name]
		if !ok {
			return "", false
		}
		return constantText(known, constants)
	case *ast.BinaryExpr:
		a, oka := constantText(e.X, constants)
		b, okb := constantText(e.Y, constants)
		return a + b, oka && okb
	}
	return "", false
}

// TestTranslations: every format of a problem has a translation with the same
// verbs, and every translation belongs to a format.
func TestTranslations(t *testing.T) {
	used := formats(t)
	for format, place := range used {
		if problems[format] == "" {
			t.Errorf("%s: no translation of %q", place, format)
		}
	}
	rows := 0
	for _, table := range problemTables {
		rows += len(table)
	}
	if rows != len(problems) {
		t.Errorf("%d formats have %d rows: one is in two tables", len(problems), rows)
	}
	verb := regexp.MustCompile(`%(?:\[(\d)\])?[+#0-9.]*[a-z]`)
	for format, zh := range problems {
		if used[format] == "" {
			t.Errorf("no problem has the format %q any longer", format)
		}
		want, got := verb.FindAllString(format, -1), verb.FindAllString(zh, -1)
		if strings.Contains(zh, "%[") { // in another order
			slices.Sort(want)
			for i := range got {
				got[i] = regexp.MustCompile(`\[\d\]`).ReplaceAllString(got[i], "")
			}
			slices.Sort(got)
		}
		if fmt.Sprint(want) != fmt.Sprint(got) {
			t.Errorf("%q and %q have other verbs", format, zh)
		}
	}
}
