// Command release builds everything a release consists of, from one checkout.
//
//	git describe ─► binaries ─┬─► archives ──────────┐
//	                          ├─► deb, rpm ──────────┤
//	                          ├─► image (OCI index) ─┼─► SHA256SUMS ─► SHA256SUMS.sig
//	                          └─► SBOM per binary ───┘
//
// The same commit produces the same bytes, at any time and in any folder: times come from
// SOURCE_DATE_EPOCH, owners are fixed, names are sorted, and no file contains a path of
// the machine. docs/releasing.md lists the further requirements.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// release is one run of the command.
type release struct {
	version    version
	revision   string
	source     string // the repository's address, for the image's labels
	maintainer string // of the packages: Name <mail>
	epoch      time.Time
	targets    []target
	parts      []string
	profile    string // for -pgo, "off" for a faster build
	out        string // the finished files; emptied at the start
	work       string // everything else; removed at the end
	binaries   map[target]string
}

var allParts = []string{"archive", "package", "image", "sbom"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	r, key, err := parse(args)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if r.work, err = os.MkdirTemp("", "dinggate-release"); err != nil {
		return err
	}
	defer os.RemoveAll(r.work)
	steps := []struct {
		part string
		run  func(context.Context) error
	}{{"", r.build}, {"", r.generate}, {"archive", r.archives}, {"package", r.packages}, {"image", r.image}, {"sbom", r.sboms}}
	for _, step := range steps {
		if step.part != "" && !slices.Contains(r.parts, step.part) {
			continue
		}
		if err := step.run(ctx); err != nil {
			return err
		}
	}
	sums, err := r.checksums()
	if err != nil {
		return err
	}
	if key == "" {
		fmt.Println("no RELEASE_KEY: SHA256SUMS is not signed")
		return nil
	}
	return sign(sums, key)
}

// parse parses the flags. Their defaults come from the environment that `make release` sets.
func parse(args []string) (*release, string, error) {
	f := flag.NewFlagSet("release", flag.ContinueOnError)
	r := &release{binaries: map[target]string{}}
	described := f.String("version", "", "what `git describe --tags --always --dirty` prints, such as v1.0.0")
	f.StringVar(&r.revision, "revision", "", "the commit")
	f.StringVar(&r.source, "source", "", "the address of the repository")
	f.StringVar(&r.maintainer, "maintainer", "The dinggate authors <dinggate@localhost>", "maintainer of the packages")
	f.StringVar(&r.profile, "pgo", "test/bench/dinggate.pgo",
		"profile for the compiler; off: a build that is done sooner, for tests")
	f.StringVar(&r.out, "out", "dist/release", "folder of the finished files; it is emptied first")
	targets := f.String("targets", "linux/amd64", "GOOS/GOARCH, separated by blanks")
	parts := f.String("parts", strings.Join(allParts, ","), "what to make, separated by commas")
	key := f.String("key", os.Getenv("RELEASE_KEY"), "PEM file with the Ed25519 key that signs SHA256SUMS")
	if err := f.Parse(args); err != nil {
		return nil, "", err
	}
	var err error
	if r.version, err = parseVersion(*described); err != nil {
		return nil, "", err
	}
	if r.targets, err = parseTargets(*targets); err != nil {
		return nil, "", err
	}
	for part := range strings.SplitSeq(*parts, ",") {
		if !slices.Contains(allParts, part) {
			return nil, "", fmt.Errorf("no part %q; there are %s", part, strings.Join(allParts, ", "))
		}
		r.parts = append(r.parts, part)
	}
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil || seconds <= 0 {
		return nil, "",
			errors.New(
				"set SOURCE_DATE_EPOCH to the time of the commit, as `make release` does: git log -1 --format=%ct",
			)
	}
	r.epoch = time.Unix(seconds, 0).UTC()
	return r, *key, nil
}

// name is the name of a finished file: dinggate_1.0.0_linux_amd64.tar.gz.
func (r *release) name(t target, suffix string) string {
	return fmt.Sprintf("dinggate_%s_%s_%s%s", r.version.plain(), t.os, t.arch, suffix)
}

// command runs a program with additional environment variables; an error contains its
// output.
func command(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, errs.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// tool is a program that scripts/tools has built, by NAME@VERSION.
func tool(name string) (string, error) {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	program, _, _ := strings.Cut(name, "@")
	path := filepath.Join(cache, "dinggate-tools", name, program)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is not built: run `scripts/tools %s`", name, program)
	}
	return path, nil
}
