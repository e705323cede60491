package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
)

func TestDepartments(t *testing.T) {
	platform := simulator.Demo()
	env := servertest.DingTalkEnviron(t, platform)
	command := func(args ...string) (string, string, int) {
		var out, stderr strings.Builder
		code := run(append([]string{"departments"}, args...), env, &out, &stderr)
		return out.String(), stderr.String(), code
	}
	for _, tt := range []struct {
		args string
		want string
	}{
		{"", "云帆科技  1\n    研发部  42\n        平台组  4201\n        前端组  4202\n    市场部  43\n        华东区  4301\n    人力资源部  44\n"},
		{"研发", "42    研发部\n4201  研发部/平台组\n4202  研发部/前端组\n"},
		{"研发 前端", "4202  研发部/前端组\n"},
		{"4301", "4301  市场部/华东区\n"},
		{"--roles", "100  主管\n101  总监\n200  财务\n300  主管\n"},
	} {
		if out, stderr, code := command(strings.Fields(tt.args)...); code != 0 || out != tt.want {
			t.Errorf("departments %s = %d %s\n%swant\n%s", tt.args, code, stderr, out, tt.want)
		}
	}
	if out, stderr, code := command("财神"); code != 1 || out != "" || !strings.Contains(stderr, "no department") {
		t.Errorf("departments 财神 = %d %q %q", code, out, stderr)
	}
	var got struct {
		Departments []struct {
			ID, Parent int64
			Name, Path string
		}
		Roles []struct{ ID int64 }
	}
	if out, _, code := command("--json"); code != 0 || json.Unmarshal([]byte(out), &got) != nil ||
		len(got.Departments) != 7 || len(got.Roles) != 4 || got.Departments[4].Path != "研发部/平台组" ||
		got.Departments[4].Parent != 42 {
		t.Errorf("departments --json = %d %s", code, out)
	}

	change := func(edit func(*simulator.App)) {
		if err := platform.ChangeApp("", edit); err != nil {
			t.Fatal(err)
		}
	}
	change(func(a *simulator.App) { a.Scope = []int64{43, 4201} })
	if out, _, code := command(); code != 0 || out != "市场部  43\n    华东区  4301\n平台组  4201\n" {
		t.Errorf("departments of a narrow scope = %d\n%s", code, out)
	}
	change(func(a *simulator.App) { a.Scope, a.Missing = nil, []string{"qyapi_get_department_list"} })
	if out, stderr, code := command(); code != 1 || out != "" || !strings.Contains(stderr, "通讯录部门信息读权限") {
		t.Errorf("departments without permission = %d %q %q", code, out, stderr)
	}
}

// TestCheckDepartments checks that check compares rules with a list that was saved before,
// without network access.
func TestCheckDepartments(t *testing.T) {
	var list, out strings.Builder
	if code := run([]string{"departments", "--json"}, servertest.DingTalkEnviron(t, simulator.Demo()), &list, &out); code != 0 {
		t.Fatal(code, &out)
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	known := file("departments.json", list.String())
	config := file("config.yaml", `public_url: https://app.example.com
dingtalk: {client_id: dingabc, client_secret: secret, corp_id: dingcorp}
cookie: {secrets: ["`+config.NewSecret()+`"]}
routes:
  - path: /a/
    upstream: http://127.0.0.1:8080
    access: {departments: [42, 4203], roles: [主管, "100"]}
  - path: /
    upstream: http://127.0.0.1:8080
    access: {roles: [主官], deny: {departments: [430]}}
`)
	check := func(lang string, list string) (string, int) {
		out.Reset()
		var stderr strings.Builder
		code := run([]string{"check", "--config", config, "--departments", list, "--lang", lang}, nil, &out, &stderr)
		return out.String() + stderr.String(), code
	}
	text, code := check("en", known)
	for _, want := range []string{
		"config.yaml:7: warning: routes[0].access.departments names the department 4203, which is not in " + known +
			"; the nearest is 4202 研发部/前端组",
		"config.yaml:10: warning: routes[1].access.roles names the role 主官, which is not in " + known + "; the nearest is 主管 (100)",
		"routes[1].access.deny.departments names the department 430, which is not in " + known + "; the nearest is 43 市场部",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("check does not say %q:\n%s", want, text)
		}
	}
	if n := strings.Count(text, "the nearest is"); n != 3 || code != 0 {
		t.Errorf("check = %d with %d warnings, want 0 with 3:\n%s", code, n, text)
	}
	if text, _ := check("zh", known); !strings.Contains(text, "最接近的是 4202 研发部/前端组") {
		t.Errorf("check in Chinese:\n%s", text)
	}
	if text, _ := check("zh", filepath.Join(dir, "absent")); !strings.Contains(text, "无法读取：文件不存在") {
		t.Errorf("check of an absent file in Chinese:\n%s", text)
	}
	for _, wrong := range []string{file("none.json", "{}"), file("text.json", "nothing"), filepath.Join(dir, "absent")} {
		if text, code := check("en", wrong); code != 2 || !strings.Contains(text, "--departments") {
			t.Errorf("check --departments %s = %d\n%s", wrong, code, text)
		}
	}
}
