package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// certificates are the image's root certificates, copied from the build machine.
const certificates = "/etc/ssl/certs/ca-certificates.crt"

// image builds one OCI archive with an index: an image of the Dockerfile for each
// processor. It also contains Docker's manifest.json, for `docker load`. No program runs
// in the images during the build, so no emulator is needed.
func (r *release) image(ctx context.Context) error {
	index := "dinggate:" + r.version.plain()
	b := func(args ...string) (string, error) {
		store := []string{"--storage-driver", "vfs", "--root", filepath.Join(r.work, "store"), "--runroot",
			filepath.Join(r.work, "run")}
		return command(ctx, nil, "buildah", append(store, args...)...)
	}
	if _, err := b("manifest", "create", index); err != nil {
		return err
	}
	found := false
	for _, t := range r.targets {
		if t.os != "linux" {
			continue
		}
		found = true
		fmt.Println("image", t)
		folder, err := r.imageContext(t)
		if err != nil {
			return err
		}
		args := []string{"bud", "--isolation", "chroot", "--format", "oci", "--platform", t.String(),
			"--manifest", index, "--timestamp", fmt.Sprint(r.epoch.Unix())}
		for _, arg := range []string{
			"BINARY=prebuilt", "VERSION=" + r.version.plain(), "REVISION=" + r.revision,
			"SOURCE=" + r.source, "CREATED=" + r.epoch.Format(time.RFC3339),
		} {
			args = append(args, "--build-arg", arg)
		}
		if _, err := b(append(args, folder)...); err != nil {
			return err
		}
	}
	if !found {
		return nil
	}
	folder := layout(filepath.Join(r.work, "oci"))
	if _, err := b("manifest", "push", "--all", "--format", "oci", index, "oci:"+string(folder)); err != nil {
		return err
	}
	if err := folder.addHealthcheck(index); err != nil {
		return err
	}
	if err := folder.addDockerManifest(index); err != nil {
		return err
	}
	return r.packLayout(string(folder), filepath.Join(r.out, "dinggate_"+r.version.plain()+"_image.oci.tar"))
}

// imageContext is what the Dockerfile needs for its stage prebuilt.
func (r *release) imageContext(t target) (string, error) {
	folder := filepath.Join(r.work, "context", t.arch)
	for from, to := range map[string]string{
		"Dockerfile": "Dockerfile", "go.mod": "go.mod",
		r.binaries[t]: "dist/dinggate", certificates: "dist/ca-certificates.crt",
	} {
		data, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		to = filepath.Join(folder, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return "", err
		}
		mode := os.FileMode(0o644)
		if filepath.Base(to) == "dinggate" {
			mode = 0o755
		}
		if err := os.WriteFile(to, data, mode); err != nil {
			return "", err
		}
		if err := os.Chmod(to, mode); err != nil { // independent of the umask
			return "", err
		}
	}
	return folder, nil
}

// packLayout packs an OCI layout folder as docker, podman, skopeo and crane read it.
func (r *release) packLayout(folder, file string) error {
	var entries []entry
	err := walkFiles(folder, func(name, path string) error {
		entries = append(entries, entry{name, path, 0o644})
		return nil
	})
	if err != nil {
		return err
	}
	return create(file, func(w io.Writer) error { return writeTar(w, entries, r.epoch) })
}
