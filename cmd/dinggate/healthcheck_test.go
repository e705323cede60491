package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/internal/realtool"
)

// TestHealthcheckAfterATypo checks that a mistake saved in the file of a running dinggate
// is reported and does not make the running process unhealthy.
func TestHealthcheckAfterATypo(t *testing.T) {
	running := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/livez" {
			w.WriteHeader(404)
		}
	}))
	defer running.Close()
	at := strings.TrimPrefix(running.URL, "http://")
	for _, tt := range []struct{ yaml, environ, args, want string }{
		{"admin: {listen: HERE}\nroutes: [\n", "", "", "config.yaml:"},
		{"admin: {listen: HERE\nprefix: /x\n", "", "", "config.yaml:"},
		{"listen: 127.0.0.1:1\nadmin:\n  # a comment\n  listen: \"HERE\"  # here\nsession: {a: b: c}\n", "", "",
			"config.yaml:"},
		{"admin：\n  listen: HERE\nprefix: /x\n", "", "", "full-width colon"},
		{"admin:\n  listen:HERE\n", "", "", "no space after the colon"},
		{"admin:\n\tlisten: HERE\n", "", "", "indented with a tab"},
		{"\ufeff---\r\nadmin:\r\n  listen: 'HERE'\r\nprefix: [\r\n", "", "", "config.yaml:"},
		{"sign_in:\n  title: \xc4\xe3\nadmin: {listen: HERE}\n", "", "", "is not UTF-8"},
		{"admin: {listen: 127.0.0.1:1}\nroutes: [\n", "DINGGATE_ADMIN_LISTEN=HERE", "", "config.yaml:"},
		{"admin: {listen: 127.0.0.1:1}\nroutes: [\n", "", "--admin.listen=HERE", "config.yaml:"},
		{"-", "DINGGATE_ADMIN_LISTEN=HERE", "", "no such file"},
	} {
		file := filepath.Join(t.TempDir(), "config.yaml")
		if tt.yaml != "-" {
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(tt.yaml, "HERE", at)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var out, stderr strings.Builder
		args := append([]string{"healthcheck", "--lang=en", "--config", file},
			strings.Fields(strings.ReplaceAll(tt.args, "HERE", at))...)
		code := run(args, strings.Fields(strings.ReplaceAll(tt.environ, "HERE", at)), &out, &stderr)
		if code != 0 || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("healthcheck with %q %s %s = %d %q, want 0 and %q", tt.yaml, tt.environ, tt.args, code,
				stderr.String(), tt.want)
		}
	}
}

// TestHealthcheckWithoutItsFile checks that a missing file is reported and is a failure,
// unless the address comes from another source: at the default address another dinggate
// may answer.
func TestHealthcheckWithoutItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nope.yaml")
	for _, command := range []string{"healthcheck", "check"} {
		var out, stderr strings.Builder
		code := run([]string{command, "--lang=en", "--config", file}, nil, &out, &stderr)
		if text := out.String() + stderr.String(); code != 1 ||
			!strings.Contains(text, file+": cannot be read: no such file") || strings.Contains(text, "/livez") ||
			strings.Contains(text, "does not answer") {
			t.Errorf("%s --config %s = %d %q, want 1 and the file's name alone", command, file, code, text)
		}
	}
}

// TestHealthcheckWithoutProcess checks that without a process the healthcheck still fails, with
// a message that names the file.
func TestHealthcheckWithoutProcess(t *testing.T) {
	at := realtool.FreeAddr(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("admin: {listen: "+at+"}\nroutes: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for lang, want := range map[string]string{"en": "the admin listener " + at + " does not answer",
		"zh": "管理端口 " + at + " 无应答"} {
		var out, stderr strings.Builder
		if code := run([]string{"healthcheck", "--lang=" + lang, "--config", file}, nil, &out, &stderr); code != 1 ||
			!strings.Contains(stderr.String(), want) || !strings.Contains(stderr.String(), file+":") {
			t.Errorf("healthcheck --lang %s = %d %q, want 1, %q and the file's mistake", lang, code, stderr.String(),
				want)
		}
	}
}
