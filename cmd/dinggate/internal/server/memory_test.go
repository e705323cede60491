package server

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"testing/fstest"

	"dinggate/cmd/dinggate/internal/config"
)

func TestGroupMemory(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  int64
	}{
		"no control groups": {fstest.MapFS{}, 0},
		"a container": {fstest.MapFS{
			"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("134217728\n"),
		}, 128 << 20},
		"no limit": {fstest.MapFS{
			"proc/self/cgroup": file("0::/system.slice/dinggate.service\n"), "sys/fs/cgroup/memory.max": file("max\n"),
			"sys/fs/cgroup/system.slice/dinggate.service/memory.max": file("max\n"),
		}, 0},
		"the lowest of those around it": {fstest.MapFS{
			"proc/self/cgroup":                     file("0::/a/b\n"),
			"sys/fs/cgroup/a/memory.max":           file("1048576\n"),
			"sys/fs/cgroup/a/b/memory.max":         file("2097152\n"),
			"sys/fs/cgroup/a/unrelated/memory.max": file("1\n"),
		}, 1 << 20},
		"version 1": {fstest.MapFS{
			"proc/self/cgroup":                                    file("9:cpu,cpuacct:/\n4:memory:/docker/x\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":          file("9223372036854771712\n"),
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": file("268435456\n"),
		}, 256 << 20},
		"junk": {fstest.MapFS{
			"proc/self/cgroup": file("0\n::\n0::/../..\n"), "sys/fs/cgroup/memory.max": file("-"),
		}, 0},
	} {
		if got := groupMemory(c.files); got != c.want {
			t.Errorf("%s: groupMemory() = %d, want %d", name, got, c.want)
		}
	}
}

// TestGroupFiles checks that the limits of connections and of Go's memory follow the limit
// of the control group, with files of the kernel's format in either version.
func TestGroupFiles(t *testing.T) {
	if goMemory() != 0 {
		t.Skip("SKIPPED: GOMEMLIMIT is set")
	}
	const unit = "system.slice/dinggate.service"
	for name, c := range map[string]struct {
		files       map[string]string
		connections int
		memory      int64
	}{
		"version 2, a container": {map[string]string{
			"proc/self/cgroup":                 "0::/\n",
			"sys/fs/cgroup/cgroup.controllers": "cpu memory pids\n",
			"sys/fs/cgroup/memory.max":         "134217728\n",
			"sys/fs/cgroup/memory.high":        "max\n",
		}, 3723, 120795948},
		"version 2, a unit with MemoryMax=": {map[string]string{
			"proc/self/cgroup":                          "0::/" + unit + "\n",
			"sys/fs/cgroup/cgroup.controllers":          "cpu memory pids\n",
			"sys/fs/cgroup/system.slice/memory.max":     "max\n",
			"sys/fs/cgroup/" + unit + "/memory.max":     "67108864\n",
			"sys/fs/cgroup/" + unit + "/memory.current": "9000000\n",
		}, 1489, 60397974},
		"version 2, a slice that holds less than its unit": {map[string]string{
			"proc/self/cgroup":                      "0::/" + unit + "\n",
			"sys/fs/cgroup/system.slice/memory.max": "67108864\n",
			"sys/fs/cgroup/" + unit + "/memory.max": "134217728\n",
		}, 1489, 60397974},
		"both mounted, memory with version 1": {map[string]string{
			"proc/self/cgroup":                                    "4:memory:/docker/x\n1:cpu:/docker/x\n0::/docker/x\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":          "9223372036854771712\n",
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "134217728\n",
			"sys/fs/cgroup/unified/cgroup.controllers":            "\n",
		}, 3723, 120795948},
		"version 2 without a limit": {map[string]string{
			"proc/self/cgroup": "0::/" + unit + "\n", "sys/fs/cgroup/" + unit + "/memory.max": "max\n",
		}, 1 << 20, math.MaxInt64},
	} {
		dir := t.TempDir()
		for file, text := range c.files {
			at := filepath.Join(dir, filepath.FromSlash(file))
			if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		root := os.DirFS(dir)
		want := c.connections
		if files := OpenFiles(); files != 0 {
			want = min(want, max(16, (files-reservedFiles)/2))
		}
		if got := mostConnections(config.ServerConfig{}, root); got != want {
			t.Errorf("%s: %d connections at most, want %d", name, got, want)
		}
		if got := mostConnections(config.ServerConfig{MaxConnections: 7}, root); got != 7 {
			t.Errorf("%s: %d connections where 7 are configured", name, got)
		}
		limitMemory(root)
		got := debug.SetMemoryLimit(math.MaxInt64)
		if got != c.memory {
			t.Errorf("%s: Go's memory limit = %d, want %d", name, got, c.memory)
		}
	}
}

func TestConnectionsIn(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		goLimit, group int64
		least, most    int
	}{
		{0, 0, math.MaxInt, math.MaxInt},
		{256 * mib, 0, 10_000, 12_000},
		{0, 128 * mib, 3000, 4000},
		{115 * mib, 128 * mib, 3000, 4000},
		{64 * mib, 1024 * mib, 2000, 2400},
		{8 * mib, 0, 64, 64},
		{0, 1, 64, 64},
	} {
		if got := connectionsIn(c.goLimit, c.group); got < c.least || got > c.most {
			t.Errorf("connectionsIn(%d, %d) = %d, want %d to %d", c.goLimit, c.group, got, c.least, c.most)
		}
	}
}

func TestSessionsIn(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		goLimit, group int64
		want           int
	}{
		{0, 0, 50_000},
		{0, 128 * mib, 10_000},
		{0, 512 * mib, 26_843},
		{461 * mib, 512 * mib, 24_169},
		{0, 4096 * mib, 50_000},
	} {
		if got := sessionsIn(c.goLimit, c.group); got != c.want {
			t.Errorf("sessionsIn(%d, %d) = %d, want %d", c.goLimit, c.group, got, c.want)
		}
	}
}
