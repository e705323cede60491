package contract

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"strings"
	"testing"
)

var (
	metricName = regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`)
	labelList  = regexp.MustCompile(`^[a-z]+(,[a-z]+)*$`)
	jsonKey    = regexp.MustCompile(`"([a-z_]+)":`)
	logKey     = regexp.MustCompile(`^[a-z][a-z_]*$`)
	word       = regexp.MustCompile(`^[a-z][a-z_0-9]*$`)
)

// TestMetrics: a metric is a call with a name, a help text and labels, or an
// options literal of Prometheus with Name and Help.
func TestMetrics(t *testing.T) {
	var lines []string
	walk(sources(t), func(s source, n ast.Node) {
		switch n := n.(type) {
		case *ast.CallExpr:
			if line, ok := s.metric(n); ok {
				lines = append(lines, line)
			}
		case *ast.CompositeLit:
			f := s.fields(n)
			if name, ok := s.text(f["Name"]); ok && f["Help"] != nil && f["Namespace"] != nil {
				lines = append(lines, fmt.Sprintf("%s | %s", name, s.value(f["Help"])))
			}
		}
	})
	if len(lines) < 30 {
		t.Fatalf("found %d metrics: something is wrong with this test", len(lines))
	}
	golden(t, "metrics.txt", lines)
}

// metric reads name, help and labels of a call such as
// m.counter("signins_total", "Finished sign-ins.", "method", "result").
func (s source) metric(call *ast.CallExpr) (line string, ok bool) {
	if len(call.Args) < 3 {
		return "", false
	}
	name, ok := s.text(call.Args[0])
	if !ok || !metricName.MatchString(name) {
		return "", false
	}
	help, ok := s.help(call.Args[1])
	if !ok || help != "" && !strings.HasSuffix(help, ".") {
		return "", false
	}
	var labels []string
	for _, arg := range call.Args[2:] {
		if label, ok := s.text(arg); ok && labelList.MatchString(label) {
			labels = append(labels, label)
		}
	}
	return fmt.Sprintf("%s {%s} | %s", name, strings.Join(labels, " "), help), true
}

// help is a constant, or a variable that holds one.
func (s source) help(e ast.Expr) (string, bool) {
	if text, ok := s.text(e); ok {
		return text, true
	}
	id, ok := e.(*ast.Ident)
	if !ok {
		return "", false
	}
	for _, file := range s.files {
		var text string
		var found bool
		ast.Inspect(file, func(n ast.Node) bool {
			assign, ok := n.(*ast.AssignStmt)
			if !ok || assign.Tok != token.DEFINE || len(assign.Lhs) != 1 {
				return true
			}
			if left, ok := assign.Lhs[0].(*ast.Ident); ok && s.info.Defs[left] != nil &&
				s.info.Defs[left] == s.info.Uses[id] {
				text, found = s.text(assign.Rhs[0])
			}
			return true
		})
		if found {
			return text, true
		}
	}
	return "", false
}

// TestLogFields: the keys of log lines and of audit records, and the kinds of
// audit records.
func TestLogFields(t *testing.T) {
	var lines []string
	key := func(text string, ok bool) {
		if ok && logKey.MatchString(text) {
			lines = append(lines, "field "+text)
		}
	}
	walk(sources(t), func(s source, n ast.Node) {
		switch n := n.(type) {
		case *ast.CallExpr:
			for _, arg := range s.attributes(n) {
				key(s.text(arg))
			}
			if kind, ok := s.auditKind(n); ok {
				lines = append(lines, "event "+kind)
			}
		case *ast.CompositeLit:
			if array, ok := s.info.Types[n].Type.(*types.Array); ok && array.Len() == 2 && len(n.Elts) == 2 {
				key(s.text(n.Elts[0]))
			}
			if s.has(n, "What", "RequestID") {
				if what, ok := s.text(s.fields(n)["What"]); ok {
					lines = append(lines, "event "+what)
				}
			}
			if slice, ok := s.info.Types[n].Type.(*types.Slice); ok && isAny(slice.Elem()) {
				for i := 0; i < len(n.Elts); i += 2 {
					key(s.text(n.Elts[i]))
				}
			}
		case *ast.BasicLit:
			if text, ok := s.text(n); ok && strings.HasSuffix(s.path, "/telemetry") {
				for _, m := range jsonKey.FindAllStringSubmatch(text, -1) {
					lines = append(lines, "field "+m[1])
				}
			}
		}
	})
	if len(lines) < 60 {
		t.Fatalf("found %d fields and events: something is wrong with this test", len(lines))
	}
	golden(t, "log.txt", lines)
}

// attributes are the arguments of a call in the place of log keys: of a method of
// slog.Logger, of append to a []any, of any function that ends in attrs ...any,
// and of the appender of the access log.
func (s source) attributes(call *ast.CallExpr) (keys []ast.Expr) {
	if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "append" && len(call.Args) > 1 {
		if slice, ok := s.info.Types[call.Args[0]].Type.(*types.Slice); ok && isAny(slice.Elem()) {
			return every2nd(call.Args[1:])
		}
		return nil
	}
	sig := s.callee(call)
	if sig == nil {
		return nil
	}
	n := sig.Params().Len()
	if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "field" && n == 3 {
		return call.Args[1:2]
	}
	if !sig.Variadic() || len(call.Args) < n {
		return nil
	}
	last := sig.Params().At(n - 1)
	if slice, ok := last.Type().(*types.Slice); !ok || !isAny(slice.Elem()) ||
		last.Name() != "args" && last.Name() != "attrs" {
		return nil
	}
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok && last.Name() == "args" {
		f, ok := s.info.Uses[sel.Sel].(*types.Func)
		if !ok || f.Pkg() == nil || f.Pkg().Path() != "log/slog" {
			return nil
		}
	}
	return every2nd(call.Args[n-1:])
}

// auditKind is the third argument of a call func(slog.Level, msg, kind string, attrs ...any) error.
func (s source) auditKind(call *ast.CallExpr) (string, bool) {
	sig := s.callee(call)
	if sig == nil || sig.Params().Len() != 4 || !sig.Variadic() || len(call.Args) < 3 {
		return "", false
	}
	if sig.Params().At(0).Type().String() != "log/slog.Level" {
		return "", false
	}
	return s.text(call.Args[2])
}

func every2nd(args []ast.Expr) (keys []ast.Expr) {
	for i := 0; i < len(args); i += 2 {
		keys = append(keys, args[i])
	}
	return keys
}

func isAny(t types.Type) bool {
	i, ok := t.Underlying().(*types.Interface)
	return ok && i.Empty()
}

// TestAnswers: the codes of refusals with their HTTP status, the codes of
// failures, the reasons of decisions, and every code that has a message.
func TestAnswers(t *testing.T) {
	var lines []string
	walk(sources(t), func(s source, n ast.Node) {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return
		}
		f := s.fields(lit)
		switch {
		case f["Code"] != nil && s.has(lit, "Status", "Code", "RetryAfter"):
			lines = append(lines, fmt.Sprintf("answer %s %s", s.value(f["Status"]), s.value(f["Code"])))
		case f["Code"] != nil && s.has(lit, "Class", "Code"):
			lines = append(lines, "failure "+s.value(f["Code"]))
		case f["Reason"] != nil && s.has(lit, "Verdict", "Reason", "Rule"):
			lines = append(lines, "reason "+s.value(f["Reason"]))
		}
		if m, ok := s.info.Types[lit].Type.(*types.Map); ok && len(lit.Elts) > 40 {
			if named, ok := m.Elem().(*types.Named); !ok || named.Obj().Name() != "message" {
				return
			}
			for _, e := range lit.Elts {
				if code, ok := s.text(e.(*ast.KeyValueExpr).Key); ok && word.MatchString(code) {
					lines = append(lines, "message "+code)
				}
			}
		}
	})
	if len(lines) < 100 {
		t.Fatalf("found %d codes: something is wrong with this test", len(lines))
	}
	golden(t, "answers.txt", lines)
}
