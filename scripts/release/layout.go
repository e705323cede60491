package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// healthcheck is the Dockerfile's HEALTHCHECK. The OCI format has no field for it, and
// buildah omits it; Docker's own builder stores it where Docker looks for it.
var healthcheck = map[string]any{"Test": []string{"CMD", "/usr/bin/dinggate", "healthcheck"}, "Interval": 30e9,
	"Timeout": 3e9}

// layout is a folder in OCI's image layout: index.json, and blobs named by their digest.
type layout string

type object = map[string]any

// addHealthcheck changes the configuration of every image in the layout, and every blob
// that refers to it by digest. The index gets the name under which podman and containerd
// load it.
func (l layout) addHealthcheck(name string) error {
	top, err := l.read("index.json")
	if err != nil {
		return err
	}
	for _, entry := range descriptors(top) {
		entry["annotations"] = object{"org.opencontainers.image.ref.name": name,
			"io.containerd.image.name": "docker.io/library/" + name}
		err := l.replace(entry, func(index object) error {
			for _, entry := range descriptors(index) {
				if err := l.replace(entry, l.changeImage); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	data, err := json.Marshal(top)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(string(l), "index.json"), data, 0o644)
}

// addDockerManifest adds the file that `docker load` reads instead of index.json without
// the containerd image store. Every image gets its own tag, such as
// dinggate:1.0.0-arm64, since such a Docker has no multi-platform images.
func (l layout) addDockerManifest(name string) error {
	top, err := l.read("index.json")
	if err != nil {
		return err
	}
	var all []object
	for _, entry := range descriptors(top) {
		index, err := l.follow(entry)
		if err != nil {
			return err
		}
		for _, entry := range descriptors(index) {
			platform, _ := entry["platform"].(object)
			manifest, err := l.follow(entry)
			if err != nil {
				return err
			}
			one := object{"RepoTags": []string{fmt.Sprintf("%s-%v", name, platform["architecture"])}}
			if one["Config"], err = l.path(manifest["config"]); err != nil {
				return err
			}
			layers, _ := manifest["layers"].([]any)
			paths := make([]string, len(layers))
			for i := range layers {
				if paths[i], err = l.path(layers[i]); err != nil {
					return err
				}
			}
			one["Layers"] = paths
			all = append(all, one)
		}
	}
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(string(l), "manifest.json"), data, 0o644)
}

// follow reads the blob that a descriptor names.
func (l layout) follow(descriptor object) (object, error) {
	path, err := l.path(descriptor)
	if err != nil {
		return nil, err
	}
	return l.read(path)
}

// path is where the blob of a descriptor is, as archives write it.
func (l layout) path(descriptor any) (string, error) {
	d, _ := descriptor.(object)
	digest, _ := d["digest"].(string)
	file, err := l.blob(digest)
	return filepath.ToSlash(file), err
}

func (l layout) changeImage(manifest object) error {
	descriptor, _ := manifest["config"].(object)
	return l.replace(descriptor, func(image object) error {
		config, ok := image["config"].(object)
		if !ok {
			return fmt.Errorf("an image has no config: %v", image)
		}
		config["Healthcheck"] = healthcheck
		return nil
	})
}

// replace changes the blob that a descriptor names, and the descriptor.
func (l layout) replace(descriptor object, change func(object) error) error {
	digest, _ := descriptor["digest"].(string)
	old, err := l.blob(digest)
	if err != nil {
		return err
	}
	content, err := l.read(old)
	if err != nil {
		return err
	}
	if err := change(content); err != nil {
		return err
	}
	data, err := json.Marshal(content) // keys sorted
	if err != nil {
		return err
	}
	descriptor["digest"], descriptor["size"] = fmt.Sprintf("sha256:%x", sha256.Sum256(data)), len(data)
	if err := os.Remove(filepath.Join(string(l), old)); err != nil {
		return err
	}
	file, err := l.blob(descriptor["digest"].(string))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(string(l), file), data, 0o644)
}

func (l layout) blob(digest string) (string, error) {
	sum, ok := strings.CutPrefix(digest, "sha256:")
	if !ok || len(sum) != 2*sha256.Size {
		return "", fmt.Errorf("digest %q", digest)
	}
	return filepath.Join("blobs", "sha256", sum), nil
}

func (l layout) read(file string) (object, error) { return readObject(filepath.Join(string(l), file)) }

func readObject(file string) (out object, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // numbers stay as they are written
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return out, nil
}

func descriptors(index object) (all []object) {
	list, _ := index["manifests"].([]any)
	for _, entry := range list {
		if o, ok := entry.(object); ok {
			all = append(all, o)
		}
	}
	return all
}
