package image

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const repository = "../../../.."

// ignored implements .dockerignore: the last pattern that matches a path, or one of its
// folders, decides.
type ignored []struct {
	pattern *regexp.Regexp
	include bool
}

func dockerignore(t *testing.T) (all ignored) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		line, include := strings.CutPrefix(line, "!")
		expr := regexp.QuoteMeta(strings.Trim(line, "/"))
		expr = strings.NewReplacer(`\*\*/`, `(.*/)?`, `\*\*`, `.*`, `\*`, `[^/]*`, `\?`, `[^/]`).Replace(expr)
		all = append(all, struct {
			pattern *regexp.Regexp
			include bool
		}{regexp.MustCompile("^" + expr + "(/.*)?$"), include})
	}
	return all
}

func (all ignored) has(path string) (out bool) {
	for _, i := range all {
		if i.pattern.MatchString(path) {
			out = !i.include
		}
	}
	return out
}

// buildContext lists the files that `COPY . .` adds to the build stage, as paths of the
// repository.
func buildContext(t *testing.T) (paths []string) {
	t.Helper()
	all := dockerignore(t)
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == repository {
			return err
		}
		path, err = filepath.Rel(repository, path)
		switch {
		case err != nil:
		case d.IsDir() && all.has(filepath.ToSlash(path)): // no pattern includes a part of an ignored folder
			return fs.SkipDir
		case !d.IsDir() && !all.has(filepath.ToSlash(path)):
			paths = append(paths, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// dockerfile returns the Dockerfile with each instruction on one line.
func dockerfile(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\\\n", "")
}

// TestImageContext checks that the build context contains every file of every package in
// the program, and that the command of the Dockerfile builds the program from it.
func TestImageContext(t *testing.T) {
	context := buildContext(t)
	out, err := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,Module,GoFiles,EmbedFiles", "dinggate/cmd/dinggate").Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	needed, zones := []string{"go.mod", "go.sum", "test/bench/dinggate.pgo"}, false
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p struct {
			ImportPath, Dir     string
			Module              *struct{ Main bool }
			GoFiles, EmbedFiles []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		zones = zones || p.ImportPath == "time/tzdata"
		if p.Module == nil || !p.Module.Main {
			continue
		}
		dir, err := filepath.Rel(root, p.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range append(p.GoFiles, p.EmbedFiles...) {
			needed = append(needed, filepath.ToSlash(filepath.Join(dir, file)))
		}
	}
	for _, file := range needed {
		if !slices.Contains(context, file) {
			t.Errorf("the program needs %s, which .dockerignore keeps out", file)
		}
	}
	if !zones {
		t.Error("the program has no time/tzdata: TZ would do nothing in an image without zoneinfo")
	}

	dir := t.TempDir()
	for _, file := range context {
		copyFile(t, filepath.Join(repository, file), filepath.Join(dir, "src", file))
	}
	command := regexp.MustCompile(`(?m)^RUN (.* go build .*)$`).FindStringSubmatch(dockerfile(t))
	if command == nil {
		t.Fatal("the Dockerfile runs no go build")
	}
	if err := os.Mkdir(filepath.Join(dir, "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	// Without the profile, which recompiles every package and takes a minute more.
	build := exec.Command("sh", "-c",
		strings.NewReplacer("/out/", dir+"/out/", "-pgo=test/bench/dinggate.pgo", "-pgo=off").Replace(command[1]))
	build.Dir = filepath.Join(dir, "src")
	build.Env = append(os.Environ(), "VERSION=v1.2.3", "REVISION=0123456789abcdef", "GOFLAGS=-mod=readonly")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, output)
	}
	output, err := exec.Command(filepath.Join(dir, "out/dinggate"), "version").CombinedOutput()
	if want := "dinggate v1.2.3\nrevision 0123456789abcdef\n"; err != nil || !strings.HasPrefix(string(output), want) {
		t.Errorf("dinggate version = %q, %v, want %q", output, err, want)
	}
}

// A new package or asset is in the build without a change of .dockerignore; a file that
// may contain a secret is not.
func TestDockerignore(t *testing.T) {
	all := dockerignore(t)
	for _, tt := range []struct {
		path string
		want bool
	}{
		{"go.mod", false}, {"fresh/fresh.go", false}, {"fresh/deep/er/asset.bin", false},
		{"cmd/dinggate/internal/gatewayconf/gen/fresh/x.yaml.tmpl", false}, {"dist/dinggate", false},
		{"fresh/fresh_test.go", true}, {"fresh/testdata/x", true}, {".git/config", true}, {"docs/x.md", true},
		{"README.md", true},
		{"config.yaml", true}, {".env", true}, {"deploy/.env.local", true}, {"fresh/tls.key", true},
		{"cert.pem", true}, {"users.htpasswd", true},
	} {
		if got := all.has(tt.path); got != tt.want {
			t.Errorf(".dockerignore keeps %s out = %v, want %v", tt.path, got, tt.want)
		}
	}
}
