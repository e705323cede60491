package server

import (
	"math"
	"testing"
	"testing/fstest"
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
