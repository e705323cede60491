package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const pathsYAML = `
public_url: https://app.example.com
dingtalk: {client_id: dingx, corp_id: dingcorp, client_secret_file: a/secret}
cookie: {secrets_file: a/cookie}
sign_in: {templates_dir: a/pages, logo_file: a/logo.png}
accounts: {htpasswd_file: a/htpasswd}
tls: {cert_file: a/cert.pem, key_file: ../key.pem, client_ca_file: /abs/ca.pem}
assertion: {key_files: [a/assertion.pem, /abs/assertion.pem]}
redis: {url: "rediss://127.0.0.1", ca_file: a/redis-ca.pem, cert_file: a/redis.pem, key_file: a/redis.key}
session: {store: redis}
state_dir: a/state
audit: {file: a/audit.log}
sso_server: {clients: [{client_id: a, client_secret_file: a/client, redirect_urls: ["https://a.example.com/cb"]}]}
`

// TestRelativePaths checks that a relative path in the file starts in the file's folder,
// for each key that names a file or a folder; if the file is a pipe, in the working
// directory.
func TestRelativePaths(t *testing.T) {
	for _, tt := range []struct {
		mode   fs.FileMode
		folder string
	}{{0o600, "/etc/dinggate"}, {0o600 | fs.ModeNamedPipe, ""}} {
		var read []string
		l := NewLoader()
		l.Read = func(name string) ([]byte, fs.FileMode, error) {
			if name == "/etc/dinggate/config.yaml" {
				return []byte(pathsYAML), tt.mode, nil
			}
			read = append(read, name)
			return nil, 0, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOENT}
		}
		cfg, _ := l.Load(flagsOf("--config=/etc/dinggate/config.yaml", "--sso.client_secret_file=flag"),
			[]string{"DINGGATE_REDIS_PASSWORD_FILE=env"})
		read = append(read, cfg.StateDir, cfg.Audit.File, cfg.SignIn.TemplatesDir)
		want := []string{"/abs/ca.pem", "/abs/assertion.pem", "flag", "env"}
		for _, name := range []string{"a/secret", "a/cookie", "a/pages", "a/logo.png", "a/htpasswd", "a/cert.pem",
			"../key.pem", "a/assertion.pem",
			"a/redis-ca.pem", "a/redis.pem", "a/redis.key", "a/state", "a/audit.log", "a/client"} {
			want = append(want, filepath.Join(tt.folder, name))
		}
		for _, name := range want {
			if !slices.Contains(read, name) {
				t.Errorf("with the configuration in %q nothing is looked for at %s: %s", tt.folder, name,
					strings.Join(read, " "))
			}
		}
	}
}

// The name of every key whose value is a path shows that.
func TestNamesFile(t *testing.T) {
	for _, k := range Keys() {
		if strings.Contains(k.Path, "file") ||
			strings.Contains(k.Path, "dir") && !strings.Contains(k.Path, "redirect") && k.Path != "dingtalk.directory" {
			if !namesFile(k.Path) {
				t.Errorf("namesFile(%s) = false", k.Path)
			}
		}
	}
}

// TestStandardFile checks that without --config and DINGGATE_CONFIG the standard file is
// read if it exists, and that an unreadable one is a mistake.
func TestStandardFile(t *testing.T) {
	dir := t.TempDir()
	standard, other := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "other.yaml")
	for name, text := range map[string]string{standard: "prefix: /standard\n", other: "prefix: /other\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loop := filepath.Join(dir, "loop.yaml")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, standard, flag, env, want string
		problems                        int
	}{
		{"there", standard, "", "", "/standard", 0},
		{"not there", filepath.Join(dir, "none.yaml"), "", "", "/oauth2", 0},
		{"a flag", standard, other, "", "/other", 0},
		{"the environment", standard, "", other, "/other", 0},
		{"an empty variable", standard, "", "", "/standard", 0},
		{"unreadable", loop, "", "", "/oauth2", 1},
	} {
		l := NewLoader()
		l.Read, l.Standard = ReadFile, tt.standard
		cfg, problems := l.Load(&Flags{File: tt.flag}, append(slices.Clone(required), "DINGGATE_CONFIG="+tt.env))
		if cfg.Prefix != tt.want || len(problems) != tt.problems {
			t.Errorf("%s: prefix %s and %v, want %s and %d problems", tt.name, cfg.Prefix, problems, tt.want,
				tt.problems)
		}
	}
}
