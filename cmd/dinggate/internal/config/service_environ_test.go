package config

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"dinggate/internal/i18n"
)

// TestEnvironmentFile checks that lines are parsed as by systemd.
func TestEnvironmentFile(t *testing.T) {
	for text, want := range map[string][]string{
		"":                               nil,
		"A=1\nB=2":                       {"A=1", "B=2"},
		"# A=1\n; B=2\n\n  C = 3 \r\n":   {"C=3"},
		"A=\"x y\" \nB='a\\b'\n":         {"A=x y", `B=a\b`},
		"A=x\\\n  y\nB=1":                {"A=x  y", "B=1"},
		"A=\"x\ny\"\nB=1":                {"A=x\ny", "B=1"},
		`A="a\"b\\c\d"`:                  {`A=a"b\c\d`},
		`A=a\ b\$`:                       {"A=a b$"},
		"A=\nno variable\nB=a=b\nA=last": {"A=last", "B=a=b"},
		"A='x ":                          {"A=x "},
	} {
		if got := parseEnvironmentFile(text); !slices.Equal(got, want) {
			t.Errorf("parseEnvironmentFile(%q) = %q, want %q", text, got, want)
		}
	}
}

// TestServiceEnvironment checks that a command that reads the service's file also reads
// the service's variables, and that a command that reads another file does not.
func TestServiceEnvironment(t *testing.T) {
	load := func(file string, fault error, environ ...string) (*Config, string) {
		l := NewLoader()
		l.Standard, l.Environment, l.List = StandardFile, ServiceEnvironment, nil
		l.Read = func(name string) ([]byte, fs.FileMode, error) {
			switch name {
			case ServiceEnvironment:
				text := "DINGGATE_LOG_LEVEL=debug\nHTTPS_PROXY=http://p\nDINGGATE_CONFIG=/x\nDINGGATE_ADMIN_LISTEN=nowhere\n"
				return []byte(text), 0o600, fault
			case StandardFile, "other.yaml":
				return nil, 0o600, nil
			}
			return nil, 0, fs.ErrNotExist
		}
		cfg, problems := l.Load(&Flags{File: file}, append(slices.Clone(required), environ...))
		var lines []string
		for _, p := range problems {
			lines = append(lines, p.String())
			if i18n.Chinese.Problem(p) == p.String() {
				t.Errorf("no Chinese for %q", p.Text.Format)
			}
		}
		return cfg, strings.Join(lines, "\n")
	}
	const wrong = "DINGGATE_ADMIN_LISTEN (/etc/dinggate/environment): admin.listen is not host:port such as " +
		"127.0.0.1:4180, nor unix:/path"
	if cfg, lines := load(StandardFile, nil); cfg.Log.Level != "debug" || lines != wrong ||
		cfg.ServiceEnvironment() != ServiceEnvironment {
		t.Errorf("the service's file: level %s, %q; want debug, %q", cfg.Log.Level, lines, wrong)
	}
	if cfg, lines := load(StandardFile, nil, "DINGGATE_LOG_LEVEL=warn", "DINGGATE_ADMIN_LISTEN=127.0.0.1:1"); lines != "" ||
		cfg.Log.Level != "warn" {
		t.Errorf("with variables of its own: level %s, %q; want warn", cfg.Log.Level, lines)
	}
	if cfg, _ := load(StandardFile, nil); !slices.Equal(cfg.serviceNetwork, []string{"HTTPS_PROXY=http://p"}) {
		t.Errorf("the service's proxy: %q, want http://p", cfg.serviceNetwork)
	}
	for _, own := range []string{"HTTPS_PROXY=", "https_proxy=http://own"} {
		if cfg, _ := load(StandardFile, nil, own); len(cfg.serviceNetwork) > 0 {
			t.Errorf("with %s of its own: %q, want nothing", own, cfg.serviceNetwork)
		}
	}
	if cfg, lines := load("other.yaml", nil); lines != "" || cfg.Log.Level != "info" || cfg.ServiceEnvironment() != "" {
		t.Errorf("another file: level %s, %q; want info", cfg.Log.Level, lines)
	}
	if _, lines := load(StandardFile, fs.ErrPermission); lines != "/etc/dinggate/environment: warning: cannot be read: "+
		"permission denied; the service reads variables from it, so run this command with sudo" {
		t.Errorf("an unreadable environment: %q", lines)
	}
	if _, lines := load(StandardFile, fs.ErrNotExist); lines != "" {
		t.Errorf("no environment: %q, want nothing", lines)
	}
}
