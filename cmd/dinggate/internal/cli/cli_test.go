package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/internal/i18n"
	"dinggate/internal/realtool"

	"github.com/rogpeppe/go-internal/testscript"
)

// commands are a few commands that print their arguments.
func commands() []Command {
	show := func(c Invocation) int {
		fmt.Fprintf(c.Stdout, "%s %q %v file=%s\n", c.Name, c.Args, c.Given, c.Flags.File)
		_, problems := c.Load()
		for _, p := range problems {
			if p.Usage {
				fmt.Fprintln(c.Stdout, p)
			}
		}
		return 0
	}
	return []Command{
		{
			Name: "check", Brief: i18n.Message{"check it", "检查"}, Config: true, Run: show,
			Flags: []Flag{{Name: "json", Help: i18n.Message{"print JSON", "输出 JSON"}},
				{Name: "user", Value: "USERID", Help: i18n.Message{"who", "谁"}}},
		},
		{
			Name: "gen", Brief: i18n.Message{"make it", "生成"}, Config: true, Run: show,
			Operands: []Operand{{Name: "GATEWAY", Values: []string{"nginx", "caddy"}}},
			Commands: []Command{{Name: "app", Brief: i18n.Message{"an app", "应用"}, Run: show, Operands: []Operand{{Name: "NAME"}}}},
		},
		{
			Name: "bindings", Brief: i18n.Message{"bindings", "绑定"},
			Commands: []Command{{Name: "import", Brief: i18n.Message{"import them", "导入"}, Config: true, Run: show,
				Operands: []Operand{{Name: "FILE", Path: true}}}},
		},
		{Name: "version", Brief: i18n.Message{"print the version", "显示版本"}, Run: show},
	}
}

func program() {
	os.Exit(Run(i18n.Message{"a program", "程序"}, commands(),
		Invocation{Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}, os.Args[1:]))
}

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"dinggate": program}) }

func call(environ string, args ...string) (code int, out, errors string) {
	var stdout, stderr bytes.Buffer
	c := Invocation{Environ: strings.Fields(environ), Stdout: &stdout, Stderr: &stderr}
	code = Run(i18n.Message{"a program", "程序"}, commands(), c, args)
	return code, stdout.String(), stderr.String()
}

// TestArguments checks the parsed arguments of each command, and the mistakes reported for
// them.
func TestArguments(t *testing.T) {
	const hint = "\nfor usage see dinggate %s --help"
	for _, tt := range []struct {
		args string
		code int
		want string // on standard output, or before the hint
	}{
		{"check", 0, "check [] map[] file="},
		{"check --config x --json --user=z", 0, "check [] map[json:true user:z] file=x"},
		{"--config x check", 0, "check [] map[] file=x"},
		{"bindings --config x import f", 0, `bindings import ["f"] map[] file=x`},
		{"bindings import - --config=x", 0, `bindings import ["-"] map[] file=x`},
		{"bindings import -- --f", 0, `bindings import ["--f"] map[] file=`},
		{"check --dingtalk.events false", 0, "check [] map[] file="},
		{"check --dingtalk.events --sign_in.page true --json", 0, "check [] map[json:true] file="},
		{"check --dingtalk.events=maybe", 0,
			"check [] map[] file=\n--dingtalk.events: dingtalk.events wants true or false"},
		{"check --redis.url redis://127.0.0.1/0", 0, "check [] map[] file="},
		{"--version", 0, " [] map[version:true] file="},
		{"--lang zh version", 0, "version [] map[] file="},

		{"check --listne :0", 2, "dinggate check: --listne is not a flag; did you mean --listen?"},
		{"check --lifetime=1h", 2, "dinggate check: --lifetime is not a flag; did you mean --session.lifetime?"},
		{"check -x", 2, "dinggate check: -x is not a flag"},
		{"check --=x", 2, "dinggate check: -- is not a flag"},
		{"check --user", 2, "dinggate check: --user has no value"},
		{"check --user --json", 2, "dinggate check: --user has no value"},
		{"check --json=yes", 2, "dinggate check: --json takes no value"},
		{"check --json --json", 2, "dinggate check: --json is given twice"},
		{"check --listen", 2, "dinggate check: --listen has no value"},
		{"check word", 2, `dinggate check: "word" belongs to no flag; write flags as --key VALUE`},
		{"check cli_test.go", 2,
			`dinggate check: "cli_test.go" belongs to no flag; did you mean --config cli_test.go?`},
		{"check --routes=canary", 2, "dinggate check: --routes can only be set in a file"},
		{"check --redis.password = canary", 2,
			"dinggate check: --redis.password is a secret, and every process can read a command line; " +
				"use DINGGATE_REDIS_PASSWORD, --redis.password_file or the file\n" +
				"dinggate check: has a word that belongs to no flag; write flags as --key VALUE"},
		{"check --a --listen :0 --listen :1 word", 2,
			"dinggate check: --a is not a flag\ndinggate check: --listen is given twice\n" +
				`dinggate check: "word" belongs to no flag; write flags as --key VALUE`},
		{"gen", 2, "dinggate gen: GATEWAY is missing; it is one of nginx, caddy, app NAME"},
		{"gen ngnix", 2, `dinggate gen: GATEWAY is "ngnix"; did you mean nginx?`},
		{"gen kong", 2, `dinggate gen: GATEWAY is "kong"; it is one of nginx, caddy, app NAME`},
		{"gen apps", 2, `dinggate gen: GATEWAY is "apps"; did you mean app?`},
		{"bindings import", 2, "dinggate bindings import: FILE is missing"},
		{"version x", 2, `dinggate version: "x" is an unexpected argument`},
		{"completion tcsh", 2, `dinggate completion: SHELL is "tcsh"; it is one of bash, zsh, fish, powershell`},
		{"chekc --user x", 2, `dinggate: this version has no command "chekc"; did you mean "check"?`},
		{"nothing --help", 2, `dinggate: this version has no command "nothing"`},
		{"bindings imporr", 2, `dinggate bindings: this version has no command "imporr"; did you mean "import"?`},
		{"--lang fr check", 2, "dinggate: --lang is not zh or en"},
		{"check --lang", 2, "dinggate: --lang is not zh or en"},
	} {
		code, out, errors := call("", strings.Fields(tt.args)...)
		got := strings.TrimSuffix(out, "\n")
		if code != 0 {
			name := strings.TrimPrefix(strings.SplitN(errors, ":", 2)[0], "dinggate")
			got = strings.TrimSuffix(strings.TrimSuffix(errors, "\n"),
				strings.ReplaceAll(fmt.Sprintf(hint, strings.TrimSpace(name)), "  ", " "))
		}
		if code != tt.code || got != tt.want || strings.Contains(out+errors, "canary") {
			t.Errorf("dinggate %s = %d %q, want %d %q", tt.args, code, got, tt.code, tt.want)
		}
	}
}

// TestCompletion checks the completions of a real bash and a real fish.
func TestCompletion(t *testing.T) {
	rows := []struct{ line, want, not string }{
		{"dinggate ch", "check", "gen"},
		{"dinggate check --session.l", "--session.lifetime", "--session.idle"},
		{"dinggate check --cookie.sec", "--cookie.secrets_file", "--cookie.secrets "},
		{"dinggate gen ", "caddy", "check"},
		{"dinggate --lang ", "zh", "check"},
		{"dinggate bindings ", "import", "check"},
		{"dinggate completion f", "fish", "zsh"},
		{"dinggate help b", "bindings", "check"},
	}
	dir := t.TempDir()
	for _, name := range []string{"a.yaml", "b.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("bash", func(t *testing.T) {
		helpers := realtool.File(t, "/usr/share/bash-completion/bash_completion")
		script := `source ` + helpers + `
source <(dinggate completion bash)
COMP_LINE="$LINE"; COMP_POINT=${#LINE}; COMP_TYPE=63
read -ra COMP_WORDS <<<"$LINE"; [[ "$LINE" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
__start_dinggate
printf '%s \n' "${COMPREPLY[@]}"`
		completes(t, dir, exec.Command(realtool.Path(t, "bash"), "-c", script),
			append(rows, struct{ line, want, not string }{"dinggate check --config ", "a.yaml", "b.txt"}))
	})
	t.Run("fish", func(t *testing.T) {
		script := "dinggate completion fish | source; complete -C\"$LINE\""
		completes(t, dir, exec.Command(realtool.Path(t, "fish"), "--no-config", "-c", script), rows)
	})
	t.Run("zsh", func(t *testing.T) { // its completion needs a terminal: the test checks only that zsh parses the script
		script := "autoload -Uz compinit; compinit -D; source <(dinggate completion zsh); whence -w _dinggate"
		completes(t, dir, exec.Command(realtool.Path(t, "zsh"), "-f", "-c", script),
			[]struct{ line, want, not string }{{"", "_dinggate: function", "error"}})
	})
}

func completes(t *testing.T, dir string, cmd *exec.Cmd, rows []struct{ line, want, not string }) {
	for _, tt := range rows {
		one := exec.Command(cmd.Path, cmd.Args[1:]...)
		one.Dir = dir
		one.Env = append(os.Environ(), "LINE="+tt.line, "LC_ALL=C.UTF-8", "HOME="+dir)
		out, err := one.CombinedOutput()
		if err != nil || !strings.Contains(string(out), tt.want) || strings.Contains(string(out), tt.not) {
			t.Errorf("%q is completed to %q, %v; want %s and not %s", tt.line, out, err, tt.want, tt.not)
		}
	}
}

// TestCompletionScripts checks that there is a script for every shell.
func TestCompletionScripts(t *testing.T) {
	for shell, want := range map[string]string{"bash": "__start_dinggate", "zsh": "#compdef dinggate",
		"fish": "complete -c dinggate", "powershell": "Register-ArgumentCompleter"} {
		if code, out, errors := call("", "completion", shell); code != 0 || !strings.Contains(out, want) {
			t.Errorf("completion %s = %d %q, want %s in it", shell, code, errors, want)
		}
	}
}

// TestManual renders the pages with a real man in both languages, without a warning.
func TestManual(t *testing.T) {
	man := realtool.Path(t, "man")
	dir := t.TempDir()
	if code, _, errors := call("", "man", "--out", dir); code != 0 {
		t.Fatalf("man = %d %s", code, errors)
	}
	for _, tt := range []struct {
		page, want string
	}{
		{"man1/dinggate.1", "dinggate bindings"}, {"man1/dinggate-check.1", "--user USERID"},
		{"man1/dinggate-bindings-import.1", "FILE"},
		{"man5/dinggate-config.5", "--session.lifetime"}, {"zh_CN/man1/dinggate-check.1", "输出 JSON"},
		{"zh_CN/man5/dinggate-config.5", "一次登录的最长有效期"},
	} {
		cmd := exec.Command(man, "--warnings=w", "-l", filepath.Join(dir, tt.page))
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANPAGER=cat", "PAGER=cat", "MANWIDTH=100",
			"MAN_KEEP_FORMATTING=")
		var out, warnings bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &warnings
		if err := cmd.Run(); err != nil || warnings.Len() > 0 || !strings.Contains(out.String(), tt.want) {
			t.Errorf("man %s: %v %s; want %q in\n%s", tt.page, err, warnings.String(), tt.want, out.String())
		}
	}
}
