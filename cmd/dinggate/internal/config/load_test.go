package config

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/i18n"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/pflag"
)

const testSecret = "Y2FuYXJ5LTRmMWM5ZC1jYW5hcnktNGYxYzlkLTAwMDE="

// required is an environment with the required keys. Without it every file would have a
// mistake.
var required = []string{
	"DINGGATE_PUBLIC_URL=https://app.example.com", "DINGGATE_DINGTALK_CLIENT_ID=dingx",
	"DINGGATE_DINGTALK_CORP_ID=dingcorp",
	"DINGGATE_DINGTALK_CLIENT_SECRET=canary-4f1c9d", "DINGGATE_COOKIE_SECRETS=" + testSecret,
	"DINGGATE_TRUSTED_PROXIES=unix", // otherwise a warning, if there is no upstream either
}

// loadText loads config.yaml with this content from a file system without other files. The
// environment provides the required keys that the file omits.
func loadText(yaml string, args, environ []string) (*Config, []conf.Problem) {
	l := NewLoader()
	l.Read = func(name string) ([]byte, fs.FileMode, error) {
		if name == "config.yaml" {
			return []byte(yaml), 0o600, nil
		}
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOENT}
	}
	return l.Load(flagsOf(append([]string{"--config=config.yaml"}, args...)...), environ)
}

// flagsOf parses a command line without mistakes of its own.
func flagsOf(args ...string) *Flags {
	var flags Flags
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.Define(set, i18n.English)
	set.SetOutput(io.Discard)
	_ = set.Parse(args) // package cli reports unknown flags
	return &flags
}

// TestMistakes has one file per mistake, and compares the exact messages.
func TestMistakes(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/mistakes.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range archive.Files {
		var want []string
		for i, line := range strings.Split(string(file.Data), "\n") {
			_, text, ok := strings.Cut(line, "#! ")
			if ok {
				want = append(want, fmt.Sprintf("config.yaml:%d: %s", i+1, text))
			}
		}
		yaml := string(file.Data)
		var environ []string // keys of the file must not be overridden
		for _, variable := range required {
			name, _, _ := strings.Cut(variable, "=")
			last := name[strings.LastIndexByte(name, '_')+1:]
			switch {
			case name == "DINGGATE_TRUSTED_PROXIES" && strings.Contains(yaml, "trusted_proxies:"),
				name == "DINGGATE_PUBLIC_URL" && strings.Contains(yaml, "public_url:"),
				strings.HasSuffix(name, "CLIENT_ID") && strings.Contains(yaml, "dingtalk:") &&
					strings.Contains(yaml, "client_id:"),
				strings.HasSuffix(name, "CORP_ID") && strings.Contains(yaml, " corp_id:"),
				last == "SECRET" && strings.Contains(yaml, "dingtalk:") && strings.Contains(yaml, "client_secret"),
				last == "SECRETS" && strings.Contains(yaml, " {secrets"):
			default:
				environ = append(environ, variable)
			}
		}
		if strings.Contains(yaml, "canary-4f1c9d: x") {
			environ = required[:3]
			environ = append(slices.Clone(environ), required[4:]...)
		}
		_, problems := loadText(yaml, nil, environ)
		var got []string
		for _, p := range problems {
			got = append(got, p.String())
			if strings.Contains(p.String(), "canary") {
				t.Errorf("%s: %s shows a value", file.Name, p)
			}
			if zh := i18n.Chinese.Problem(p); zh == p.String() {
				t.Errorf("%s: no Chinese for %q", file.Name, p.Text.Format)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", file.Name, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
}

func TestPrecedence(t *testing.T) {
	for _, tt := range []struct {
		file, env, flag string
		want            time.Duration
	}{
		{"", "", "", 24 * time.Hour},
		{"session: {lifetime: 1h}", "", "", time.Hour},
		{"session: {lifetime: 1h}", "DINGGATE_SESSION_LIFETIME=2h", "", 2 * time.Hour},
		{"session: {lifetime: 1h}", "DINGGATE_SESSION_LIFETIME=2h", "--session.lifetime=3h", 3 * time.Hour},
		{"session: {lifetime: 1h}", "", "--session.lifetime=3h", 3 * time.Hour},
		{"", "DINGGATE_SESSION_LIFETIME=2h", "", 2 * time.Hour},
	} {
		var args []string
		if tt.flag != "" {
			args = []string{tt.flag}
		}
		cfg, problems := loadText(tt.file, args, append(slices.Clone(required), tt.env))
		if cfg.Session.Lifetime != tt.want || len(problems) > 0 {
			t.Errorf("load(%q, %q, %q) = %v, %v, want %v", tt.file, tt.env, tt.flag, cfg.Session.Lifetime, problems,
				tt.want)
		}
	}
}

func TestEnvironmentAndFlags(t *testing.T) {
	for _, tt := range []struct{ variable, args, want string }{
		{"DINGGATE_TRUSTED_PROXIES=10.0.0.0/8, unix", "", ""},
		{"DINGGATE_TRUSTED_PROXIES=", "--upstream=http://127.0.0.1:8080", ""},
		{"DINGGATE_TRUSTED_PROXIES=10.0.0.0/8,", "",
			"DINGGATE_TRUSTED_PROXIES: trusted_proxies has nothing between two commas, or at an end"},
		{"DINGGATE_TRUSTED_PROXY=x", "", "DINGGATE_TRUSTED_PROXY: is not a variable of dinggate"},
		{"DINGGATE_SESION_IDLE=x", "",
			"DINGGATE_SESION_IDLE: is not a variable of dinggate; did you mean DINGGATE_SESSION_IDLE?"},
		{"DINGGATE_PORT=tcp://10.0.0.1:80", "", ""},
		{"DINGGATE_PORT_80_TCP_ADDR=10.0.0.1", "", ""},
		{"DINGGATE_SERVICE_HOST=10.0.0.1", "", ""},
		{"DINGGATE_ADMIN_SERVICE_HOST=10.0.0.1", "",
			"DINGGATE_ADMIN_SERVICE_HOST: is not a variable of dinggate; if Kubernetes sets it for another Service, " +
				"set enableServiceLinks: false"},
		{"DINGGATE_ROUTES=/", "", "DINGGATE_ROUTES: routes can only be set in a file"},
		{"DINGGATE_ACCOUNTS_BINDING=canary", "",
			"DINGGATE_ACCOUNTS_BINDING: accounts.binding is not off, optional or required"},
		{"DINGGATE_REDIS_URL=redis://127.0.0.1:6379/0", "--session.store redis", ""},
		{"", "--session.store redis --redis.url redis://127.0.0.1:6379/0", ""},
		{"", "--session.store redis --redis.url redis://:canary@127.0.0.1",
			"--redis.url is a secret, and every process can read a command line; use DINGGATE_REDIS_URL, " +
				"--redis.url_file or the file"},
		{"DINGGATE_SESSION_IDLE=5", "",
			"DINGGATE_SESSION_IDLE: session.idle wants a duration such as 8h or 15m, got a number; give it a unit"},
		{"DINGGATE_SIGN_IN_PAGE=canary", "", "DINGGATE_SIGN_IN_PAGE: sign_in.page wants true or false"},
		{"DINGGATE_HEADERS_REQUEST=X-A=username,X-B=email", "", ""},
		{"DINGGATE_HEADERS_REQUEST=X-A", "",
			"DINGGATE_HEADERS_REQUEST: headers.request wants pairs such as X-Forwarded-User=username, separated " +
				"by commas"},
		{"DINGGATE_COOKIE_SECRETS=canary", "",
			`DINGGATE_COOKIE_SECRETS: cookie.secrets[0] is not 32 bytes in base64; generate one with "dinggate keygen"`},
		{"DINGGATE_COOKIE_SECRETS_FILE=/nowhere", "",
			"DINGGATE_COOKIE_SECRETS_FILE: cookie.secrets_file is set together with cookie.secrets; remove one"},
		{"DINGGATE_LOG_LEVEL=debug", "--log.level trace", "--log.level: log.level is not debug, info, warn or error"},
		{"", "--sign_in.page --log.level debug", ""},
		{"", "--sign_in.page=false --listen=:0", ""},
		{"", "--dingtalk.client_secret canary",
			"--dingtalk.client_secret is a secret, and every process can read a command line; use " +
				"DINGGATE_DINGTALK_CLIENT_SECRET, --dingtalk.client_secret_file or the file"},
		{"", "--cookie.secrets=canary",
			"--cookie.secrets is a secret, and every process can read a command line; use " +
				"DINGGATE_COOKIE_SECRETS, --cookie.secrets_file or the file"},
		{"", "--routes=canary", "--routes can only be set in a file"},
		{"", "--accounts.binding=canary", "--accounts.binding: accounts.binding is not off, optional or required"},
		{"", "--listen=:0 --listen=:1", "--listen is given twice"},
	} {
		_, problems := loadText("", strings.Fields(tt.args), append([]string{tt.variable}, required...))
		var got []string
		for _, p := range problems {
			got = append(got, p.String())
			if zh := i18n.Chinese.Problem(p); zh == p.String() {
				t.Errorf("no Chinese for %q", p.Text.Format)
			}
		}
		if all := strings.Join(got, "\n"); all != tt.want {
			t.Errorf("load(%q, %q):\n got %s\nwant %s", tt.variable, tt.args, all, tt.want)
		}
	}
}

// TestStrongerSourceMends checks that an overridden value of a weaker source is not
// checked.
func TestStrongerSourceMends(t *testing.T) {
	cfg, problems := loadText("cookie: {secrets: [x, y]}\ntrusted_proxies: [junk, junk]", nil,
		append([]string{"DINGGATE_TRUSTED_PROXIES=unix"}, required...))
	if len(problems) > 0 || len(cfg.Cookie.Secrets) != 1 || !slices.Equal(cfg.TrustedProxies, []string{"unix"}) {
		t.Errorf("load = %v, %v, want the environment's values alone", cfg.TrustedProxies, problems)
	}
	_, problems = loadText("trusted_proxies: [10.0.0.0/8]", nil,
		append([]string{"DINGGATE_TRUSTED_PROXIES=junk"}, required...))
	if len(problems) != 1 || problems[0].File != "DINGGATE_TRUSTED_PROXIES" {
		t.Errorf("load = %v, want the mistake at the variable that made it", problems)
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // not affected by the umask
			t.Fatal(err)
		}
		return path
	}
	second := strings.Replace(testSecret, "Y2", "Z2", 1)
	environ := append(slices.Clone(required[:3]),
		"DINGGATE_DINGTALK_CLIENT_SECRET_FILE="+file("app", "two words\n\n", 0o600),
		"DINGGATE_COOKIE_SECRETS_FILE="+file("cookie", testSecret+"\r\n\n"+second+"\n", 0o644), required[5])
	cfg, problems := Load(nil, environ)
	if got := cfg.DingTalk.ClientSecret.Reveal(); got != "two words\n" {
		t.Errorf("client_secret = %q, want one newline trimmed, no more", got)
	}
	if got := cfg.Cookie.Secrets; len(got) != 2 || got[0].Reveal() != testSecret || got[1].Reveal() != second {
		t.Errorf("cookie.secrets has %d secrets, want both lines", len(got))
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	want := []string{
		"DINGGATE_COOKIE_SECRETS_FILE: warning: cookie.secrets_file refers to a file that every user of this machine " +
			"can read (mode 0644); chmod 600",
		"DINGGATE_DINGTALK_CLIENT_SECRET_FILE: dingtalk.client_secret contains a space, a control character or a character outside ASCII",
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems = %s, want %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	environ[4] = "DINGGATE_COOKIE_SECRETS_FILE=" + file("large", strings.Repeat("x", maxSecretFile+1), 0o600)
	_, problems = Load(nil, environ)
	if len(problems) != 2 || !strings.Contains(problems[0].Text.String(), "larger than 64 KiB") {
		t.Errorf("a large secret file gives %v, want one mistake that states its size", problems)
	}

	yaml := "cookie: {secrets: [" + testSecret + "]}\ndingtalk: {client_secret: x}"
	_, problems = Load(&Flags{File: file("config.yaml", yaml, 0o644)}, append(slices.Clone(required[:3]), required[5]))
	if len(problems) != 2 || !problems[0].Warning || problems[0].Line != 1 || problems[1].Line != 2 {
		t.Errorf("secrets in a readable file give %v, want a warning for each line", problems)
	}
}

// TestPairOfFiles checks that check reports a certificate without its key, before serve
// starts.
func TestPairOfFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"cert", "key"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("no PEM"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ cert, key, want string }{
		{"cert", "key",
			"--tls.cert_file: tls.cert_file and tls.key_file are not a matching certificate and key in PEM format"},
		{"cert", "none", "--tls.key_file: tls.key_file cannot be read: no such file or directory"},
		{"none", "key", "--tls.cert_file: tls.cert_file cannot be read: no such file or directory"},
	} {
		_, problems := Load(flagsOf("--tls.cert_file", filepath.Join(dir, tt.cert), "--tls.key_file",
			filepath.Join(dir, tt.key)), required)
		if len(problems) != 1 || problems[0].String() != tt.want {
			t.Errorf("load(%s, %s) = %v, want %s", tt.cert, tt.key, problems, tt.want)
		}
	}
}

// TestKeys checks that every key has the same name in all sources, and a description.
func TestKeys(t *testing.T) {
	seen := map[string]string{}
	for _, k := range Keys() {
		if other, twice := seen[k.Env()]; twice {
			t.Errorf("%s and %s are both %s in the environment", k.Path, other, k.Env())
		}
		seen[k.Env()] = k.Path
		if m := Meanings[k.Path]; m[i18n.English] == "" || m[i18n.Chinese] == "" {
			t.Errorf("Meanings[%q] is empty", k.Path)
		}
	}
	for _, k := range entryKeys() {
		if seen[EnvName(k.Path)] = k.Path; Meanings[k.Path][i18n.Chinese] == "" {
			t.Errorf("Meanings[%q] is empty", k.Path)
		}
	}
	for path := range Meanings {
		if seen[EnvName(path)] != path {
			t.Errorf("Meanings[%q] means no key", path)
		}
	}
	for path := range constraints {
		if path = strings.TrimSuffix(path, "[]"); seen[EnvName(path)] != path {
			t.Errorf("constraints[%q] is for no key", path)
		}
	}
}

// TestExample checks that config.example.yaml has every key with its default, and loads
// without mistakes once the required keys are set.
func TestExample(t *testing.T) {
	l := NewLoader()
	l.Read = ReadFile
	cfg, problems := l.Load(&Flags{File: "../../../../config.example.yaml"}, nil)
	for _, p := range problems {
		if !strings.Contains(p.Text.String(), "is missing") && !strings.Contains(p.Text.String(), "is empty") {
			t.Errorf("%s", p)
		}
	}
	if want := Default(); !reflect.DeepEqual(zeroEmpty(cfg), zeroEmpty(want)) {
		t.Errorf("the example gives %+v, want the defaults %+v", cfg, want)
	}
	for _, k := range l.keys {
		if at := l.places[k.Path]; at.line == 0 {
			t.Errorf("%s is not in the example", k.Path)
		}
	}
	text, err := os.ReadFile("../../../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// The routes are commented out: they must be valid too.
	_, after, _ := strings.Cut(string(text), "\nroutes: []\n")
	commented, _, _ := strings.Cut(after, "\n\n")
	routes := "routes:\n" + strings.ReplaceAll(commented, "\n#", "\n")[1:]
	cfg, problems = loadText(routes, nil, required)
	if len(problems) > 0 || len(cfg.Routes) != 3 || cfg.Routes[2].Timeout != DefaultRoute().Timeout ||
		!cfg.Routes[2].WebSocket {
		t.Errorf("the example's routes give %v, want no problem and the defaults", problems)
	}
	for _, f := range fieldsOf(reflect.TypeFor[Route]()) {
		if !strings.Contains(routes, " "+f.name+":") {
			t.Errorf("routes[].%s is not in the example", f.name)
		}
	}
	if cfg, problems := Load(&Flags{File: "../../../../config.example.yaml"}, required); len(problems) > 0 {
		t.Errorf("the example with what is required gives %v (%v)", problems, cfg.PublicURL)
	}
}

// zeroEmpty sets empty lists to nil, which is equivalent.
func zeroEmpty(c *Config) Config {
	out := *c
	for _, k := range Keys() {
		if k.FileOf == "" {
			if v := reflect.ValueOf(&out).Elem().FieldByIndex(k.Index); v.Kind() == reflect.Slice && v.Len() == 0 ||
				isSecret(v.Type()) && v.Interface() == any(conf.NewSecret("")) {
				v.SetZero()
			} else if s, ok := v.Interface().(conf.Secret); ok && s.IsZero() {
				v.SetZero()
			}
		}
	}
	return out
}
