package main

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// target is a system and a processor by Go's names.
type target struct{ os, arch string }

func (t target) String() string { return t.os + "/" + t.arch }

// binary is the name of the program there.
func (t target) binary() string {
	if t.os == "windows" {
		return "dinggate.exe"
	}
	return "dinggate"
}

func parseTargets(text string) (all []target, err error) {
	for _, word := range strings.Fields(text) {
		system, arch, ok := strings.Cut(word, "/")
		if !ok || system == "" || arch == "" {
			return nil, fmt.Errorf("target %q is not GOOS/GOARCH", word)
		}
		all = append(all, target{system, arch})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no targets")
	}
	return all, nil
}

// build compiles the program for every target, and for this machine, whose
// program writes the completions and manual pages.
func (r *release) build(ctx context.Context) error {
	all := r.targets
	if host := (target{runtime.GOOS, runtime.GOARCH}); !slices.Contains(all, host) {
		all = append(slices.Clone(all), host)
	}
	for _, t := range all {
		fmt.Println("build", t)
		out := filepath.Join(r.work, "bin", t.os+"_"+t.arch, t.binary())
		// GOFLAGS and the processor levels change the output: ignore the builder's own
		env := []string{"CGO_ENABLED=0", "GOOS=" + t.os, "GOARCH=" + t.arch, "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=",
			"GOAMD64=v1", "GOARM64=v8.0", "GORISCV64=rva20u64", "GOFIPS140=off"}
		_, err := command(ctx, env, "go", "build", "-trimpath", "-buildvcs=false", "-pgo="+r.profile,
			"-ldflags", "-s -w -buildid= -X dinggate/internal/buildinfo.version="+r.version.text+
				" -X dinggate/internal/buildinfo.commit="+r.revision,
			"-o", out, "./cmd/dinggate")
		if err != nil {
			return err
		}
		r.binaries[t] = out
	}
	return nil
}

// host is the program for this machine.
func (r *release) host() string { return r.binaries[target{runtime.GOOS, runtime.GOARCH}] }
