package explain_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/explain"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/i18n"
	"dinggate/internal/identity"
)

// TestExplainIsTrue checks that the running gateway decides as explain reports, for the
// same person as in the directory.
func TestExplainIsTrue(t *testing.T) {
	var cfg *config.Config
	h := servertest.New(t, func(c *config.Config) { cfg = c })
	people := map[string]*identity.User{"": nil}
	clients := map[string]*servertest.Client{"": h.NewClient()}
	for _, id := range []string{"zhangsan", "lisi", "wangwu"} {
		u, err := explain.LookUp(context.Background(), cfg, id)
		if err != nil {
			t.Fatalf("lookUp(%s): %v", id, err)
		}
		people[id], clients[id] = &u, h.NewClient()
		clients[id].SignIn(h.URL+"/", id)
	}
	for _, path := range []string{"/", "/x?y=1", "/public/a", "/public", "/admin/", "/admin/deep/er", "/Admin/",
		"/admin;x/", "/public/%2e%2e/admin", "/public/..;/admin", "/public%2fx", "/oauth2/nothing", "/OAUTH2/auth"} {
		for id, v := range clients {
			c := cli.Invocation{Given: map[string]string{"url": path}}
			target, raw, err := explain.ReadTarget(c, cfg)
			if err != nil {
				t.Fatalf("target(%s): %v", path, err)
			}
			e, err := explain.Explain(cfg, target, raw, people[id])
			if err != nil {
				t.Fatal(err)
			}
			if e.Verdict == "own" {
				continue
			}
			before := h.Upstream.Count()
			got := v.Get(h.URL + path).StatusCode
			if got != e.Status {
				t.Errorf("%s for %q: explain says %d, dinggate says %d (%s)", path, id, e.Status, got, e.Verdict)
			}
			if forwarded := h.Upstream.Count() > before; forwarded != (e.Verdict == "allow") {
				t.Errorf("%s for %q: explain says %s, forwarded = %v", path, id, e.Verdict, forwarded)
			}
			if e.Verdict == "allow" {
				for _, header := range e.Request {
					if sent := h.Upstream.Last(t).Header.Get(header[0]); sent != header[1] {
						t.Errorf("%s for %q: explain says %s: %q, the application got %q", path, id, header[0],
							header[1], sent)
					}
				}
			}
		}
	}
}

func TestLookUpRefuses(t *testing.T) {
	var cfg *config.Config
	servertest.New(t, func(c *config.Config) { cfg = c })
	for id, want := range map[string]string{"nobody": "not_member", "zhouba": "not_member", "wujiu": "inactive",
		"zhengshi": "disabled", "": "not_member"} {
		u, err := explain.LookUp(t.Context(), cfg, id)
		f, ok := err.(*identity.Failure)
		if !ok || f.Code != want || u.UserID != "" {
			t.Errorf("lookUp(%q) = %+v, %v, want %s", id, u, err, want)
		}
	}
}

// TestLookUpCommand checks that the command reports a failed lookup and its remedy in the
// language of the terminal.
func TestLookUpCommand(t *testing.T) {
	h := servertest.New(t, nil)
	env := []string{"DINGGATE_PUBLIC_URL=" + h.URL, "DINGGATE_DINGTALK_CLIENT_ID=" + simulator.DemoClientID,
		"DINGGATE_DINGTALK_CLIENT_SECRET=" + servertest.Canary + "-app-secret",
		"DINGGATE_DINGTALK_CORP_ID=" + simulator.DemoCorpID,
		"DINGGATE_DINGTALK_API_URL=" + h.PlatformURL, "DINGGATE_DINGTALK_OAPI_URL=" + h.PlatformURL,
		"DINGGATE_COOKIE_SECRETS=" + config.NewSecret()}
	for language, want := range map[string]string{
		"C":           "looking up nobody: not a member of the organisation\n→ no member has this userid",
		"zh_CN.UTF-8": "查询 nobody: 不是本企业成员\n→ 本企业没有这个 userid",
	} {
		var out, stderr strings.Builder
		code := servertest.RunCommand(explain.Command(nil), []string{"explain", "--url", "/x", "--user", "nobody", "--lookup"},
			append([]string{"LC_ALL=" + language}, env...), &out, &stderr)
		if code != 1 || out.Len() > 0 || !strings.Contains(stderr.String(), want) {
			t.Errorf("explain of an unknown userid = %d %q, want %q", code, stderr.String(), want)
		}
	}
}

// TestStepWords checks that exactly the steps of the policy have a Chinese text.
func TestStepWords(t *testing.T) {
	found := map[string]bool{}
	text := func(e ast.Expr) {
		if v, ok := e.(*ast.BasicLit); ok && v.Kind == token.STRING { // otherwise the rule's own text
			text, _ := strconv.Unquote(v.Value)
			if found[text] = true; explain.StepWords[text] == "" {
				t.Errorf("no row of StepWords is for %q", text)
			}
		}
	}
	for _, file := range []string{"match.go", "policy.go", "lettercase.go", "rule.go", "lists.go", "explain.go"} {
		tree, err := parser.ParseFile(token.NewFileSet(), "../../../../proxy/access/"+file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				sel, ok := n.Fun.(*ast.SelectorExpr)
				if ok && slices.Contains([]string{"add", "quote", "entry", "fresh"}, sel.Sel.Name) && len(n.Args) >= 2 {
					text(n.Args[1])
				}
			case *ast.KeyValueExpr:
				if name, ok := n.Key.(*ast.Ident); ok && name.Name == "Format" {
					text(n.Value)
				}
			}
			return true
		})
	}
	for text := range explain.StepWords {
		if !found[text] {
			t.Errorf("no step says %q any longer", text)
		}
	}
}

func TestColumns(t *testing.T) {
	var out strings.Builder
	i18n.Table{{"路由", "x", ""}, {"a", "y"}}.Write(&out, "  ")
	if want := "  路由  x\n  a     y\n"; out.String() != want {
		t.Errorf("columns are %q, want %q", out.String(), want)
	}
}
