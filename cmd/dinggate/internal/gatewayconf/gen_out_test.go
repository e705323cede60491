package gatewayconf_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// --out writes each file under its name, and does not overwrite changed files.
func TestGenOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	out, stderr, code := gen(t, "haproxy", deployConfig(t), "--out", dir)
	if want := dir + "/dinggate.lua\n" + dir + "/haproxy.cfg\n"; code != 0 || out != want || stderr != "" {
		t.Fatalf("gen haproxy --out = %d, %q, %q, want 0 and %q", code, out, stderr, want)
	}
	same := func(name string) bool {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile("../../../../deploy/haproxy/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(got) == string(want)
	}
	for _, name := range []string{"dinggate.lua", "haproxy.cfg"} {
		if !same(name) {
			t.Errorf("gen haproxy --out writes another %s than it prints", name)
		}
	}
	if _, stderr, code := gen(t, "haproxy", deployConfig(t), "--out="+dir); code != 0 {
		t.Errorf("the same again = %d %s, want 0", code, stderr)
	}
	if err := os.WriteFile(filepath.Join(dir, "haproxy.cfg"), []byte("mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(dir, "dinggate.lua"))
	if out, stderr, code := gen(t, "haproxy", deployConfig(t), "--out", dir); code != 1 || out != "" ||
		!strings.Contains(stderr, "haproxy.cfg") {
		t.Errorf("over a changed file = %d, %q, %q, want 1 and its name", code, out, stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "dinggate.lua")); err == nil || same("haproxy.cfg") {
		t.Error("something was written beside the existing file")
	}
	if _, stderr, code := gen(t, "haproxy", deployConfig(t), "--out", dir, "--force"); code != 0 ||
		!same("haproxy.cfg") || !same("dinggate.lua") {
		t.Errorf("by force = %d %s", code, stderr)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the folder holds %v, %v, want the two files", entries, err)
	}
	for _, more := range [][]string{{"--out"}, {"--out="}, {"--force"}, {"--out", dir, "--out", dir}} {
		if out, _, code := gen(t, "haproxy", deployConfig(t), more...); code != 2 || out != "" {
			t.Errorf("gen haproxy %q = %d %q, want 2", more, code, out)
		}
	}
	if _, stderr, code := gen(t, "caddy", deployConfig(t), "--out", "/dev/null/x"); code != 1 || stderr == "" {
		t.Errorf("into no folder = %d %q, want 1", code, stderr)
	}
}
