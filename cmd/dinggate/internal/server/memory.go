package server

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// connectionMemory is what an idle connection takes (docs/running.md), rounded up.
	connectionMemory = 22 << 10
	// baseMemory is what the process takes without connections.
	baseMemory = 16 << 20
	// leastConnections are taken however little memory there is.
	leastConnections = 64
)

// connectionsIn is how many idle connections fit: into the memory limit of Go's
// runtime, and into three quarters of the control group's, in which the kernel's
// part of each connection counts too. 0 means no limit.
func connectionsIn(goLimit, group int64) int {
	room := int64(math.MaxInt64)
	if goLimit > 0 {
		room = goLimit
	}
	if group > 0 {
		room = min(room, group/4*3)
	}
	if room == math.MaxInt64 {
		return math.MaxInt
	}
	return int(max(leastConnections, (room-baseMemory)/connectionMemory))
}

// goMemory is GOMEMLIMIT, 0 without one.
func goMemory() int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return limit
	}
	return 0
}

// limitMemory gives Go's runtime nine tenths of the control group's memory where
// GOMEMLIMIT gives it none: near a limit that it does not know it would be killed
// instead of collecting.
func limitMemory() {
	if group := groupMemory(os.DirFS("/")); group > 0 && goMemory() == 0 {
		debug.SetMemoryLimit(group / 10 * 9)
	}
}

// groupMemory is the memory limit of the process's control group and of those that
// it is in, version 2 or 1; 0 without one. root is the file system's.
func groupMemory(root fs.FS) (limit int64) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[1] == "":
			limit = lower(limit, memoryBelow(root, "sys/fs/cgroup", parts[2], "memory.max"))
		case strings.Contains(","+parts[1]+",", ",memory,"):
			limit = lower(limit, memoryBelow(root, "sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes"))
		}
	}
	return limit
}

// memoryBelow is the lowest limit in the group's directory and those above it. In
// a container the group's own path may lead nowhere: its root is the container's.
func memoryBelow(root fs.FS, mount, group, file string) (limit int64) {
	for at := path.Clean("/" + group); ; at = path.Dir(at) {
		text, err := fs.ReadFile(root, path.Join(mount, at, file))
		if n, bad := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && bad == nil && n < 1<<50 {
			limit = lower(limit, n) // version 1 writes "none" as a number near the greatest
		}
		if at == "/" {
			return limit
		}
	}
}

// lower is the lower of two limits, of which 0 is none.
func lower(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
