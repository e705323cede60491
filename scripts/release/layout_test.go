package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// blobIn writes a blob of a layout and gives its descriptor.
func blobIn(t *testing.T, folder, mediaType string, data []byte) object {
	t.Helper()
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	if err := os.MkdirAll(filepath.Join(folder, "blobs/sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "blobs/sha256", sum), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return object{"mediaType": mediaType, "digest": "sha256:" + sum, "size": len(data)}
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// twoImages is a layout as buildah leaves it: an index in index.json, and in that one
// image for each of two processors.
func twoImages(t *testing.T) layout {
	t.Helper()
	const oci = "application/vnd.oci.image."
	folder := t.TempDir()
	var manifests []object
	for _, arch := range []string{"amd64", "arm64"} {
		var plain, layer bytes.Buffer
		w := tar.NewWriter(&plain)
		if err := w.WriteHeader(&tar.Header{Name: "arch", Mode: 0o644, Size: int64(len(arch))}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(arch))
		w.Close()
		z := gzip.NewWriter(&layer)
		z.Write(plain.Bytes())
		z.Close()
		diff := fmt.Sprintf("sha256:%x", sha256.Sum256(plain.Bytes()))
		config := blobIn(t, folder, oci+"config.v1+json", jsonOf(t, object{"architecture": arch, "os": "linux",
			"config": object{}, "rootfs": object{"type": "layers", "diff_ids": []string{diff}}}))
		manifest := blobIn(t, folder, oci+"manifest.v1+json", jsonOf(t, object{"schemaVersion": 2,
			"mediaType": oci + "manifest.v1+json", "config": config,
			"layers": []object{blobIn(t, folder, oci+"layer.v1.tar+gzip", layer.Bytes())}}))
		manifest["platform"] = object{"architecture": arch, "os": "linux"}
		manifests = append(manifests, manifest)
	}
	index := blobIn(t, folder, oci+"index.v1+json", jsonOf(t, object{"schemaVersion": 2,
		"mediaType": oci + "index.v1+json", "manifests": manifests}))
	files := map[string]any{"index.json": object{"schemaVersion": 2, "manifests": []object{index}},
		"oci-layout": object{"imageLayoutVersion": "1.0.0"}}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), jsonOf(t, content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return layout(folder)
}

// TestDockerManifest: manifest.json names every image with files that are there, after
// the healthcheck has changed their names.
func TestDockerManifest(t *testing.T) {
	l := twoImages(t)
	if err := l.addHealthcheck("dinggate:1.0.0"); err != nil {
		t.Fatal(err)
	}
	if err := l.addDockerManifest("dinggate:1.0.0"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(string(l), "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var images []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(data, &images); err != nil {
		t.Fatal(err)
	}
	var tags []string
	for _, image := range images {
		tags = append(tags, image.RepoTags...)
		config, err := l.read(image.Config)
		if settings, _ := config["config"].(object); err != nil || settings["Healthcheck"] == nil {
			t.Errorf("%v: its configuration %s is %v, %v, want one with a healthcheck", image.RepoTags, image.Config, config, err)
		}
		for _, layer := range image.Layers {
			if _, err := os.Stat(filepath.Join(string(l), layer)); err != nil {
				t.Errorf("%v: %v", image.RepoTags, err)
			}
		}
		if len(image.Layers) != 1 {
			t.Errorf("%v has %d layers, want 1", image.RepoTags, len(image.Layers))
		}
	}
	if want := []string{"dinggate:1.0.0-amd64", "dinggate:1.0.0-arm64"}; !slices.Equal(tags, want) {
		t.Errorf("the images are %v, want %v", tags, want)
	}
}
