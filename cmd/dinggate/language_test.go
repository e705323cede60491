package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/internal/i18n"
)

func TestLanguageOf(t *testing.T) {
	for _, tt := range []struct {
		environ string
		want    i18n.Language
	}{
		{"", i18n.English}, {"LANG=zh_CN.UTF-8", i18n.Chinese}, {"LANG=C.UTF-8", i18n.English},
		{"LANG=zh_CN LC_ALL=C", i18n.English},
		{"LANG=C LC_ALL=zh_TW.UTF-8", i18n.Chinese}, {"LC_ALL= LANG=zh", i18n.Chinese},
		{"LANG=en LC_MESSAGES=zh_CN", i18n.Chinese}, {"XLANG=zh", i18n.English},
	} {
		if got := i18n.FromEnviron(strings.Fields(tt.environ)); got != tt.want {
			t.Errorf("languageOf(%q) = %v, want %v", tt.environ, got, tt.want)
		}
	}
}

// TestUnservedInChinese checks that a command that finds no process that serves reports
// this in the language of the terminal.
func TestUnservedInChinese(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	text := `public_url: http://127.0.0.1:4180
dingtalk: {client_id: dinga, client_secret: b, corp_id: c}
cookie: {secrets: ["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]}
upstream: http://127.0.0.1:1
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stateDir := filepath.Join(dir, "stateDir")
	if err := os.Mkdir(stateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, want string }{
		{"sessions list --state_dir " + stateDir, "control.sock 无应答（no such file or directory）"},
		{"sessions end zhangsan --state_dir " + stateDir, "control.sock 无应答"},
		{"grants list --state_dir " + stateDir, "control.sock 无应答"},
		{"backup " + filepath.Join(dir, "copy.db") + " --state_dir " + stateDir, "其中没有 dinggate.db"},
		{"bindings list", "没有保存绑定的地方"},
	} {
		var out, stderr bytes.Buffer
		args := append(strings.Fields(tt.args), "--config", file)
		if code := run(args, []string{"LANG=zh_CN.UTF-8"}, &out, &stderr); code != 1 ||
			!strings.Contains(stderr.String(), tt.want) || strings.Contains(stderr.String(), "http://control") {
			t.Errorf("dinggate %s = %d, %s, want 1 and %q", tt.args, code, stderr.String(), tt.want)
		}
	}
}
