package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dinggate/internal/i18n"
)

// routesOf loads a folder with a configuration and files in conf.d. The returned file
// names are relative to the folder.
func routesOf(t *testing.T, files map[string]string) (cfg *Config, lines []string, settings []Setting) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, problems, settings := LoadSettings(&Flags{File: filepath.Join(dir, "config.yaml")}, required)
	for _, p := range problems {
		lines = append(lines, filepath.ToSlash(strings.ReplaceAll(p.String(), dir+string(filepath.Separator), "")))
		if zh := i18n.Chinese.Problem(p); zh == p.String() {
			t.Errorf("no Chinese for %q", p.Text.Format)
		}
	}
	for i := range settings {
		settings[i].File = filepath.ToSlash(strings.TrimPrefix(settings[i].File, dir+string(filepath.Separator)))
	}
	return cfg, lines, settings
}

// TestRoutesFolder checks the order of routes from several files, and the file of each
// route.
func TestRoutesFolder(t *testing.T) {
	cfg, lines, settings := routesOf(t, map[string]string{
		"config.yaml":             "routes: [{path: /main/}]\n",
		"conf.d/b.yaml":           "routes:\n  - path: /b/\n    upstream: http://127.0.0.1:2\n    access: public\n",
		"conf.d/a.yaml":           "routes: [{path: /a/, access: {users: [zs]}}, {path: /c/}]\n",
		"conf.d/empty.yaml":       "",
		"conf.d/none.yaml":        "routes: []\n",
		"conf.d/zz.yaml":          "routes: [{path: /}]\n",
		"conf.d/.hidden.yaml":     "x: [",
		"conf.d/.#a.yaml":         "x: [",
		"conf.d/a.yaml.dpkg-dist": "x: [",
		"conf.d/README":           "not YAML",
	})
	if len(lines) > 0 {
		t.Errorf("problems %q, want none", lines)
	}
	var paths []string
	for _, r := range cfg.Routes {
		paths = append(paths, r.Path)
	}
	if got := strings.Join(paths, " "); got != "/main/ /a/ /c/ /b/ /" {
		t.Errorf("routes %s, want /main/ /a/ /c/ /b/ /", got)
	}
	if r := cfg.Routes[3]; r.Upstream != "http://127.0.0.1:2" || !r.WebSocket || r.Access.Named != "public" {
		t.Errorf("routes[3] = %+v, want an upstream, the defaults, and public", r)
	}
	from := map[string]string{}
	for _, s := range settings {
		from[s.Key] = s.From()
	}
	for key, want := range map[string]string{"routes[0].path": "config.yaml:1", "routes[1].access": "conf.d/a.yaml:1",
		"routes[3].upstream": "conf.d/b.yaml:3", "routes[4].path": "conf.d/zz.yaml:1"} {
		if from[key] != want {
			t.Errorf("%s comes from %q, want %q", key, from[key], want)
		}
	}
}

// TestRoutesFolderMistakes checks that mistakes in a file are reported with their place.
func TestRoutesFolderMistakes(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"covered": {map[string]string{"config.yaml": "routes:\n  - path: /shop/\n",
			"conf.d/a.yaml": "routes:\n- path: /news/\n- path: /shop/cart/\n"},
			[]string{"conf.d/a.yaml:3: routes[2] is never reached: routes[0] (/shop/) at config.yaml:2 covers all of it; " +
				"a path belongs to one file"}},
		"the same path in two files": {map[string]string{"config.yaml": "", "conf.d/a.yaml": "routes: [{path: /a/}]",
			"conf.d/b.yaml": "\nroutes: [{path: /a/, access: public}]"},
			[]string{"conf.d/b.yaml:2: routes[1] is never reached: routes[0] (/a/) at conf.d/a.yaml:1 covers all of it; " +
				"a path belongs to one file"}},
		"covered in lower case": {map[string]string{"config.yaml": "",
			"conf.d/a.yaml": "routes: [{path: /A/, access: {users: [a]}}]",
			"conf.d/b.yaml": "routes: [{path: /a/, access: {users: [b]}}]"},
			[]string{"conf.d/b.yaml:1: routes[1] is never reached: in lower case routes[0] (/A/) at conf.d/a.yaml:1 covers " +
				"all of it; a path belongs to one file"}},
		"a part": {map[string]string{"config.yaml": "", "conf.d/a.yaml": "routes: [{path: /shop/pay/}]",
			"conf.d/b.yaml": "routes: [{path: /shop/}]"},
			[]string{"conf.d/b.yaml:1: warning: routes[1] shares requests with routes[0] (/shop/pay/) at conf.d/a.yaml:1, " +
				"which comes first and decides about them"}},
		"some methods": {map[string]string{"config.yaml": "routes: [{path: /shop/, methods: [GET]}]",
			"conf.d/b.yaml": "routes: [{path: /shop/pay/}]"},
			[]string{"conf.d/b.yaml:1: warning: routes[1] shares requests with routes[0] (/shop/) at config.yaml:1, " +
				"which comes first and decides about them"}},
		"other hosts": {map[string]string{"config.yaml": "cookie: {domain: example.com}",
			"conf.d/a.yaml": "routes: [{path: /, host: a.example.com}]",
			"conf.d/b.yaml": "routes: [{path: /, host: b.example.com}]"}, nil},
		"within one file": {map[string]string{"config.yaml": "",
			"conf.d/a.yaml": "routes: [{path: /}, {path: /b/}]"},
			[]string{"conf.d/a.yaml:1: warning: routes[1] is never reached: routes[0] (/) covers all of it; the first match " +
				"decides, so put it above"}},
		"other keys": {map[string]string{"config.yaml": "", "conf.d/a.yaml": "listen: :0\nroute: []\nroutes: [{path: /}]\n"},
			[]string{"conf.d/a.yaml:1: listen cannot be set here; a file in conf.d may contain routes only",
				"conf.d/a.yaml:2: route cannot be set here; a file in conf.d may contain routes only"}},
		"keys and values of a route": {map[string]string{"config.yaml": "",
			"conf.d/a.yaml": "routes:\n- path: a\n  acces: public\n- {path: /b/, access: {users: []}, timeout: 5}\n"},
			[]string{`conf.d/a.yaml:2: routes[0].path is "a"; it must begin with "/"`,
				"conf.d/a.yaml:3: routes[0].acces is not a key; did you mean access?",
				"conf.d/a.yaml:4: routes[1].access is empty; write public, signed_in, or lists such as {departments: [42]}",
				"conf.d/a.yaml:4: routes[1].timeout wants a duration such as 8h or 15m, got a number"}},
		"upstream beside it": {map[string]string{"config.yaml": "upstream: http://127.0.0.1:1",
			"conf.d/a.yaml": "routes: [{path: /a/}]"},
			[]string{"config.yaml:1: upstream is set together with routes; it is short for one route, so move it there"}},
		"no YAML, and the main file is none either": {map[string]string{"config.yaml": "a: [", "conf.d/a.yaml": "routes: ["},
			[]string{"conf.d/a.yaml:1: is not YAML at or just after this line: did not find expected node content",
				"config.yaml:1: is not YAML at or just after this line: did not find expected node content"}},
		"aliases by the million": {map[string]string{"config.yaml": "", "conf.d/a.yaml": "routes:\n- {path: /a, methods: &m [" +
			strings.Repeat("GET,", 50_000) + "]}\n" + strings.Repeat("- {path: /b, methods: *m}\n", 30_000)},
			[]string{"conf.d/a.yaml:2: routes[10].methods is repeated too often by aliases (*); write fewer of them"}},
		"odd forms": {map[string]string{"config.yaml": "", "conf.d/a.yaml": "- path: /", "conf.d/b.yaml": "routes:",
			"conf.d/c.yaml": "routes: {path: /}", "conf.d/d.yml": "routes: [{path: /}]", "conf.d/e.yaml/x": ""},
			[]string{"conf.d: contains e.yaml, which is not a regular file"}},
		"odd forms of files": {map[string]string{"config.yaml": "", "conf.d/a.yaml": "- path: /", "conf.d/b.yaml": "routes:",
			"conf.d/c.yaml": "routes: {path: /}", "conf.d/d.yml": "routes: [{path: /}]", "conf.d/E.YAML": "routes: [{path: /}]"},
			[]string{"conf.d/E.YAML: is not read, because its name does not end in .yaml; rename it",
				"conf.d/a.yaml:1: wants keys with values, got a list",
				"conf.d/b.yaml:1: routes has no value; write one, or remove the line",
				"conf.d/c.yaml:1: routes wants a list such as [a, b], got keys with values",
				"conf.d/d.yml: is not read, because its name does not end in .yaml; rename it"}},
	} {
		if _, got, _ := routesOf(t, tt.files); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n got %s\nwant %s", name, strings.Join(got, "\n     "), strings.Join(tt.want, "\n     "))
		}
	}
}

// TestRoutesFolderUnread checks that an unreadable folder, an unreadable file and too many
// files are mistakes.
func TestRoutesFolderUnread(t *testing.T) {
	load := func(list func(string) ([]string, error)) (lines []string) {
		l := NewLoader()
		l.List = list
		l.Read = func(name string) ([]byte, fs.FileMode, error) {
			if name != "config.yaml" {
				return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
			}
			return nil, 0o600, nil
		}
		_, problems := l.Load(&Flags{File: "config.yaml"}, required)
		for _, p := range problems {
			lines = append(lines, filepath.ToSlash(p.String()))
		}
		return lines
	}
	denied := load(func(folder string) ([]string, error) {
		return nil, &fs.PathError{Op: "open", Path: folder, Err: fs.ErrPermission}
	})
	file := load(func(string) ([]string, error) { return []string{"a.yaml"}, nil })
	absent := load(func(string) ([]string, error) { return nil, fs.ErrNotExist })
	for i, pair := range [][2]string{{strings.Join(denied, "\n"), "conf.d: cannot be read: permission denied"},
		{strings.Join(file, "\n"), "conf.d/a.yaml: cannot be read: permission denied"}, {strings.Join(absent, "\n"), ""}} {
		if pair[0] != pair[1] {
			t.Errorf("case %d: %q, want %q", i, pair[0], pair[1])
		}
	}
	dir := t.TempDir()
	for i := range maxRouteFiles + 1 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := ListRouteFiles(dir); err == nil {
		t.Errorf("ListRouteFiles of %d files = %d names, want an error", maxRouteFiles+1, len(names))
	}
}

// TestRoutesHoldNoSecret checks that routes contain no secret. Routes of several files are
// appended to one list, so no pointer into an entry may be kept while files are read, as
// for the file of a secret.
func TestRoutesHoldNoSecret(t *testing.T) {
	for _, k := range entryKeys() {
		if strings.HasPrefix(k.Path, "routes[]") && k.Secret {
			t.Errorf("%s is a secret: appendRoutes has to read its file before the list grows", k.Path)
		}
	}
}
