package main

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
)

// nfpmTool is the newest nfpm whose modules are all published.
const nfpmTool = "nfpm@v2.45.2"

// rpmArch is RPM's name for a processor; dpkg's names are the same as Go's.
var rpmArch = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "loong64": "loongarch64", "riscv64": "riscv64"}

// packages makes a deb and an rpm per processor for Linux, from deploy/package/nfpm.yaml.
func (r *release) packages(ctx context.Context) error {
	nfpm, err := tool(nfpmTool)
	if err != nil {
		return err
	}
	changelog := filepath.Join(r.work, "changelog.gz")
	if err := r.debChangelog(changelog); err != nil {
		return err
	}
	homepage := ""
	if strings.HasPrefix(r.source, "https://") {
		homepage = r.source
	}
	for _, t := range r.targets {
		if t.os != "linux" {
			continue
		}
		arch, ok := rpmArch[t.arch]
		if !ok {
			return fmt.Errorf("packages.go knows no name of RPM for %s", t.arch)
		}
		for _, p := range []struct{ kind, arch, file string }{
			{"deb", t.arch, fmt.Sprintf("dinggate_%s_%s.deb", r.version.packaged(), t.arch)},
			{"rpm", arch, fmt.Sprintf("dinggate-%s-1.%s.rpm", r.version.packaged(), arch)},
		} {
			fmt.Println("package", p.file)
			env := []string{"PACKAGE_ARCH=" + p.arch, "PACKAGE_VERSION=" + r.version.packaged(),
				"PACKAGE_MAINTAINER=" + r.maintainer,
				"PACKAGE_HOMEPAGE=" + homepage, "PACKAGE_CHANGELOG=" + changelog,
				"PACKAGE_BINARY=" + r.binaries[t], "PACKAGE_GENERATED=" + filepath.Join(r.work, "generated")}
			_, err := command(ctx, env, nfpm, "package", "--config", "deploy/package/nfpm.yaml", "--packager", p.kind,
				"--target", filepath.Join(r.out, p.file))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// debChangelog writes the package history that dpkg's tools read: this version, and where
// to find the rest.
func (r *release) debChangelog(file string) error {
	return create(file, func(w io.Writer) error {
		z, err := gzip.NewWriterLevel(w, gzip.BestCompression) // neither name nor time in it
		if err != nil {
			return err
		}
		fmt.Fprintf(z, "dinggate (%s) stable; urgency=medium\n\n  * Every change: CHANGELOG.md in this folder.\n\n -- %s  %s\n",
			r.version.packaged(), r.maintainer, r.epoch.Format(time.RFC1123Z))
		return z.Close()
	})
}
