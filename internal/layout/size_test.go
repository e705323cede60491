package layout

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	maxMain    = 2000 // lines of a package main
	maxMethods = 40
	maxFields  = 25
)

// larger are the types above the limits, with what they have today: they may
// shrink, not grow, and leave the list when they fit.
var larger = map[string]struct{ methods, fields int }{
	"cmd/dinggate/internal/config.Config": {0, 41}, // a field per section of the file
	"dingtalk/simulator.Person":           {0, 31}, // a field per field of DingTalk's record
	"internal/page.words":                 {0, 52}, // a field per text
}

// TestSizes: no program of one big package, no type that does everything.
func TestSizes(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, "dinggate/")
		lines, methods, fields, main := 0, map[string]int{}, map[string]int{}, false
		for _, file := range p.GoFiles {
			source, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			lines += bytes.Count(source, []byte("\n"))
			tree, err := parser.ParseFile(token.NewFileSet(), file, source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			main = main || tree.Name.Name == "main"
			count(tree, methods, fields)
		}
		if main && name != "test/bench" && lines > maxMain {
			t.Errorf("%s has %d lines, more than %d: which package is waiting to leave it?", name, lines, maxMain)
		}
		for _, of := range []struct {
			what   string
			counts map[string]int
			most   int
			known  func(typ string) int
		}{
			{"methods", methods, maxMethods, func(typ string) int { return larger[name+"."+typ].methods }},
			{"fields", fields, maxFields, func(typ string) int { return larger[name+"."+typ].fields }},
		} {
			for typ, n := range of.counts {
				if n > max(of.most, of.known(typ)) {
					t.Errorf("%s.%s has %d %s, more than %d: split it by what it does", name, typ, n, of.what,
						max(of.most, of.known(typ)))
				}
			}
		}
	}
}

// count adds the methods and fields that a file declares, by type.
func count(tree *ast.File, methods, fields map[string]int) {
	for _, decl := range tree.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				continue
			}
			receiver := decl.Recv.List[0].Type
			if star, ok := receiver.(*ast.StarExpr); ok {
				receiver = star.X
			}
			if index, ok := receiver.(*ast.IndexExpr); ok {
				receiver = index.X
			}
			if ident, ok := receiver.(*ast.Ident); ok {
				methods[ident.Name]++
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				typ, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				if body, ok := typ.Type.(*ast.StructType); ok {
					fields[typ.Name.Name] = 0
					for _, f := range body.Fields.List {
						fields[typ.Name.Name] += max(1, len(f.Names))
					}
				}
			}
		}
	}
}
