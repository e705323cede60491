package release_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"dinggate/internal/realtool"
)

// TestReleaseImage reads the OCI archive back, and runs the image as `docker run
// --read-only -e …` does: as its own user, nothing to write to, no file but the
// program's and no configuration but the environment. It listens on every address,
// or a published port would not reach it.
func TestReleaseImage(t *testing.T) {
	needTools(t)
	archive := older().file(t, "*_image.oci.tar")
	dir := t.TempDir()
	output(t, "tar", "-x", "-f", archive, "-C", dir)
	config := imageConfig(t, dir)
	if config.User != "65532:65532" || !slices.Contains(config.Env, "DINGGATE_LISTEN=:4180") ||
		config.Labels["org.opencontainers.image.version"] != "1.0.0" ||
		config.Labels["org.opencontainers.image.created"] != "2026-01-02T03:04:05Z" ||
		len(config.Healthcheck.Test) < 2 {
		t.Errorf("the image says %+v", config)
	}

	b := func(args ...string) *exec.Cmd {
		return exec.Command("buildah",
			append([]string{"--storage-driver", "vfs", "--root", dir + "/store", "--runroot", dir + "/run"},
				args...)...)
	}
	pulled, err := b("from", "--pull-never", "oci-archive:"+archive).Output()
	if err != nil {
		t.Fatal(err)
	}
	container := strings.TrimSpace(string(pulled))
	mounted, err := b("mount", container).Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b("umount", container).Run(); b("rm", container).Run() })
	root := strings.TrimSpace(string(mounted))

	// A read-only root of its own, as the image's user.
	address := realtool.FreeAddr(t)
	cmd := exec.Command("unshare", "--mount", "sh", "-ec",
		`mount --make-rprivate /; mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; root=$1; shift
exec chroot --userspec 65532:65532 "$root" "$@"`, "run", root)
	cmd.Args = append(append(cmd.Args, config.Entrypoint...), config.Cmd...)
	cmd.Env = append(slices.Clone(config.Env), "DINGGATE_LISTEN="+address, "DINGGATE_ADMIN_LISTEN=127.0.0.1:0",
		"DINGGATE_PUBLIC_URL=http://"+address,
		"DINGGATE_DINGTALK_CLIENT_ID=x", "DINGGATE_DINGTALK_CLIENT_SECRET=x", "DINGGATE_DINGTALK_CORP_ID=x",
		"DINGGATE_DINGTALK_EVENTS=false",
		"DINGGATE_COOKIE_SECRETS=bXkgdmVyeSBvd24gMzIgYnl0ZSBzZWNyZXQga2V5ISE=", "DINGGATE_UPSTREAM=http://127.0.0.1:1")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); cmd.Wait() })
	if got := answer(t, "http://"+address+"/oauth2/sign_in"); got != http.StatusOK {
		printed, _ := os.ReadFile(log.Name())
		t.Errorf("the sign-in page of the image = %d, want 200:\n%s", got, printed)
	}
}

// answer is the status that a server answers with as soon as it is there.
func answer(t *testing.T, address string) int {
	t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for limit := time.Now().Add(30 * time.Second); time.Now().Before(limit); <-again.C {
		res, err := http.Get(address)
		if err != nil {
			continue
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res.StatusCode
	}
	return 0
}

type runConfig struct {
	User                 string
	Env, Cmd, Entrypoint []string
	Labels               map[string]string
	Healthcheck          struct{ Test []string }
}

// imageConfig walks an OCI layout from its index to the one image for this processor.
func imageConfig(t *testing.T, layout string) (config runConfig) {
	t.Helper()
	read := func(digest string, into any) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(layout, digest))
		if err == nil {
			err = json.Unmarshal(data, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	blob := func(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }
	var index struct {
		Manifests []struct {
			Digest, MediaType string
			Annotations       map[string]string
			Platform          struct{ OS, Architecture string }
		}
	}
	read("index.json", &index)
	if len(index.Manifests) != 1 || !strings.HasSuffix(index.Manifests[0].MediaType, "image.index.v1+json") {
		t.Fatalf("index.json has %+v, want one index of images", index)
	}
	read(blob(index.Manifests[0].Digest), &index)
	for _, m := range index.Manifests {
		if "linux/"+m.Platform.Architecture != target() {
			continue
		}
		var manifest struct{ Config struct{ Digest string } }
		read(blob(m.Digest), &manifest)
		var image struct{ Config runConfig }
		read(blob(manifest.Config.Digest), &image)
		return image.Config
	}
	t.Fatalf("the index has no image for %s: %+v", target(), index)
	return config
}
