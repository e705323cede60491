package release_test

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestArchive unpacks the archive and runs what is in it.
func TestArchive(t *testing.T) {
	needTools(t)
	dir := unpacked(t)
	if printed, want := output(t, filepath.Join(dir, "dinggate"), "version"),
		"dinggate v1.0.0\nrevision "+revision+"\n"; !strings.HasPrefix(printed, want) {
		t.Errorf("dinggate version = %q, want %q", printed, want)
	}
	for _, file := range []string{"LICENSE", "THIRD_PARTY_NOTICES", "README.md", "README.zh-CN.md", "CHANGELOG.md",
		"CHANGELOG.zh-CN.md", "config.example.yaml",
		"systemd/dinggate.service", "completions/_dinggate", "man/man1/dinggate.1"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			t.Error(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "dinggate"))
	if err != nil || info.Mode().Perm() != 0o755 || info.ModTime().Unix() != 1767323045 {
		t.Errorf("the program is %v, %v", info, err)
	}
}

// unpacked is the folder in the archive.
func unpacked(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	output(t, "tar", "-x", "-z", "-f", older().file(t, "*.tar.gz"), "-C", dir)
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the archive holds %q, %v, want one folder", found, err)
	}
	return found[0]
}

// TestSBOM: the bill of materials names the modules that the binary was linked
// from, as the Go command says itself, no more and no less.
func TestSBOM(t *testing.T) {
	needTools(t)
	info, err := buildinfo.ReadFile(filepath.Join(unpacked(t), "dinggate"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"std@" + info.GoVersion}
	for _, m := range info.Deps {
		want = append(want, m.Path+"@"+m.Version)
	}
	listed := output(t, "go", "list", "-deps", "-f",
		"{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}}{{end}}{{end}}", repository+"/cmd/dinggate")
	for m := range strings.FieldsSeq(listed) {
		if !slices.Contains(want, m) {
			t.Errorf("go list -m names %s, the binary does not", m)
		}
	}
	data, err := os.ReadFile(older().file(t, "*.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var sbom struct {
		BOMFormat    string
		SerialNumber string
		Metadata     struct {
			Timestamp string
			Component struct{ Name, Version string }
		}
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(data, &sbom); err != nil {
		t.Fatal(err)
	}
	if sbom.BOMFormat != "CycloneDX" || sbom.Metadata.Component.Name != "dinggate" ||
		sbom.Metadata.Component.Version != "v1.0.0" || sbom.SerialNumber != "" {
		t.Errorf("the bill of materials is %+v", sbom.Metadata)
	}
	var got []string
	for _, c := range sbom.Components {
		got = append(got, c.Name+"@"+c.Version)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the bill of materials lists\n%s\nthe binary has\n%s", strings.Join(got, "\n"),
			strings.Join(want, "\n"))
	}
}

// TestChecksums: sha256sum accepts SHA256SUMS, and OpenSSL the signature that
// docs/releasing.md has people verify; not after a change.
func TestChecksums(t *testing.T) {
	needTools(t)
	dir := t.TempDir()
	key, public, out := filepath.Join(dir, "release.key"), filepath.Join(dir, "release.pub"), filepath.Join(dir, "out")
	output(t, "openssl", "genpkey", "-algorithm", "ed25519", "-out", key)
	output(t, "openssl", "pkey", "-in", key, "-pubout", "-out", public)
	if err := releaseIn(repository, out, "v1.0.0", "sbom", target(), "off", "RELEASE_KEY="+key); err != nil {
		t.Fatal(err)
	}
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = out
	if printed, err := check.CombinedOutput(); err != nil {
		t.Errorf("sha256sum --check: %v\n%s", err, printed)
	}
	verify := func() error {
		return exec.Command("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in",
			out+"/SHA256SUMS", "-sigfile", out+"/SHA256SUMS.sig").Run()
	}
	if err := verify(); err != nil {
		t.Errorf("openssl does not accept the signature: %v", err)
	}
	sums, err := os.ReadFile(out + "/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(out+"/SHA256SUMS", append(sums, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	if verify() == nil {
		t.Error("openssl accepts the signature of other bytes")
	}
	if err := os.WriteFile(key, []byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	if err := releaseIn(repository, out, "v1.0.0", "sbom", target(), "off", "RELEASE_KEY="+key); err == nil ||
		strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("with a key that is none: %v", err)
	}
}
