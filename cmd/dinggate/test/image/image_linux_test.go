package image

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/realtool"
)

// buildah runs buildah with its own storage; its isolation needs root, but no daemon.
type buildah struct {
	t         *testing.T
	path, dir string
}

func newBuildah(t *testing.T) *buildah {
	t.Helper()
	b := &buildah{t, realtool.Path(t, "buildah"), t.TempDir()}
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: buildah's chroot isolation needs root")
	}
	return b
}

func (b *buildah) command(args ...string) *exec.Cmd {
	return exec.Command(b.path,
		append([]string{"--storage-driver", "vfs", "--root", b.dir + "/store", "--runroot", b.dir + "/run"},
			args...)...)
}

func (b *buildah) run(args ...string) string {
	b.t.Helper()
	out, err := b.command(args...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("buildah %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// container creates a container of an image that is removed at the end of the test.
func (b *buildah) container(image string) string {
	b.t.Helper()
	name := b.run("from", image)
	b.t.Cleanup(func() { b.run("rm", name) })
	return name
}

// TestImage builds the container image from the Dockerfile, checks its metadata, and
// serves from it as the user in the metadata: first without a file, then with one. Its
// health check reaches the admin listener.
func TestImage(t *testing.T) {
	b := newBuildah(t)
	dir := t.TempDir()
	for from, to := range map[string]string{"../../../../Dockerfile": "Dockerfile", "../../../../.dockerignore": ".dockerignore",
		"../../../../go.mod": "go.mod",
		servertest.Binary(t): "dist/dinggate", "/etc/ssl/certs/ca-certificates.crt": "dist/ca-certificates.crt"} {
		copyFile(t, from, filepath.Join(dir, to))
	}
	labels := map[string]string{"VERSION": "v1.2.3", "REVISION": "0123456789abcdef",
		"CREATED": "2026-01-02T03:04:05Z", "SOURCE": "https://git.example.com/dinggate"}
	// the OCI format drops HEALTHCHECK
	args := []string{"bud", "--isolation", "chroot", "--format", "docker", "--build-arg", "BINARY=prebuilt"}
	for name, value := range labels {
		args = append(args, "--build-arg", name+"="+value)
	}
	b.run(append(args, "-t", "dinggate:test", dir)...)
	var image struct{ Docker struct{ Config imageConfig } }
	if err := json.Unmarshal([]byte(b.run("inspect", "--type", "image", "dinggate:test")), &image); err != nil {
		t.Fatal(err)
	}
	config := image.Docker.Config
	for name, want := range labels {
		if got := config.Labels["org.opencontainers.image."+strings.ToLower(name)]; got != want {
			t.Errorf("the label %s is %q, want %q", strings.ToLower(name), got, want)
		}
	}
	if _, ok := config.ExposedPorts["4180/tcp"]; !ok || config.User != "65532:65532" ||
		len(config.Healthcheck.Test) < 2 {
		t.Fatalf("the image says %+v", config)
	}
	container := b.container("dinggate:test")
	inside := func(env []string, volume string, args ...string) *exec.Cmd {
		all := []string{"run", "--isolation", "chroot", "--user", config.User}
		if volume != "" {
			all = append(all, "--volume", volume)
		}
		for _, variable := range env {
			all = append(all, "--env", variable)
		}
		return b.command(append(append(all, container, "--"), args...)...)
	}
	if out, err := inside(nil, "", append(config.Entrypoint, "version")...).CombinedOutput(); err != nil ||
		!strings.Contains(string(out), "dinggate v0.0.0-test") {
		t.Errorf("dinggate version in the image prints %q, %v", out, err)
	}

	// The command that Docker runs: the entrypoint with CMD, and the health check. The
	// port in the image's own DINGGATE_LISTEN may be in use here.
	serving, healthcheck := append(config.Entrypoint, config.Cmd...), config.Healthcheck.Test[1:]
	address := realtool.FreeAddr(t)
	file := filepath.Join(dir, "config.yaml")
	copyFile(t, "testdata/image.yaml", file)
	text, err := os.ReadFile(file)
	if err != nil || os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "ADDRESS", address)), 0o644) != nil {
		t.Fatal("the configuration cannot be written: ", err)
	}
	if err := os.Chmod(dir, 0o777); err != nil { // the image's user creates the socket there
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		env    []string
		volume string
	}{
		{"environment", append(slices.Clone(servertest.Environ), "DINGGATE_ADMIN_LISTEN="+address), ""},
		{"socket", append(slices.Clone(servertest.Environ), "DINGGATE_ADMIN_LISTEN=unix:/run/admin.sock"), dir + ":/run"},
		{"file", []string{"DINGGATE_LISTEN=127.0.0.1:0"}, file + ":/etc/dinggate/config.yaml:ro"},
		{"file elsewhere", []string{"DINGGATE_CONFIG=/run/config.yaml", "DINGGATE_LISTEN=127.0.0.1:0"}, dir + ":/run"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if out, err := inside(tt.env, tt.volume, healthcheck...).CombinedOutput(); err == nil {
				t.Errorf("the health check before serve says %s", out)
			}
			env := append(slices.Clone(tt.env), "TZ=Asia/Kathmandu")
			cmd := inside(env, tt.volume, serving...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			p := servertest.Start(t, cmd)
			t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // also the processes that buildah started
			if out, err := inside(tt.env, tt.volume, healthcheck...).CombinedOutput(); err != nil {
				t.Errorf("the health check = %v: %s", err, out)
			}
			if log := p.Log.String(); !strings.Contains(log, "+05:45") { // only one place in Asia has that offset
				t.Errorf("the log is not in the zone of TZ:\n%s", log)
			}
		})
	}
}

type imageConfig struct {
	User            string
	Cmd, Entrypoint []string
	Labels          map[string]string
	ExposedPorts    map[string]struct{}
	Healthcheck     struct{ Test []string }
}

// TestImageBuildah checks that buildah interprets .dockerignore as TestImageContext does.
func TestImageBuildah(t *testing.T) {
	b := newBuildah(t)
	file := filepath.Join(t.TempDir(), "Dockerfile")
	if err := os.WriteFile(file, []byte("FROM scratch\nCOPY . /src/\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.run("bud", "--isolation", "chroot", "-f", file, "-t", "context:test", repository)
	root := filepath.Join(b.run("mount", b.container("context:test")), "src")
	var got []string
	if err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			path, err = filepath.Rel(root, path)
			got = append(got, filepath.ToSlash(path))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	want := buildContext(t)
	for _, path := range append(slices.Clone(got), want...) {
		if slices.Contains(got, path) != slices.Contains(want, path) {
			t.Errorf("in buildah's context %s is %v, want %v", path, slices.Contains(got, path),
				slices.Contains(want, path))
		}
	}
}
