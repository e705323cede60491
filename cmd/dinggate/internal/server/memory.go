package server

import (
	"io/fs"
	"math"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// connectionMemory is the memory of an idle connection (docs/operating.md), rounded up.
	connectionMemory = 22 << 10
	// baseMemory is the memory of the process without connections.
	baseMemory = 16 << 20
	// leastConnections is the lower bound, however little memory there is.
	leastConnections = 64

	// sessionMemory is the memory of a cached session (docs/scaling.md), rounded up.
	sessionMemory = 2500
	leastSessions = 10_000
	mostSessions  = 50_000
)

// connectionsIn is the number of idle connections that fit into the memory limit of Go's
// runtime, and into three quarters of the control group's, which also counts the
// kernel's part of each connection. 0 means no limit.
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

// sessionsIn is the number of sessions to cache: as many as fit into an eighth of the
// memory. With Redis, each other session costs a request to it, and is not available
// during its outage.
func sessionsIn(goLimit, group int64) int {
	room := lower(goLimit, group)
	if room == 0 {
		return mostSessions
	}
	return int(min(mostSessions, max(leastSessions, room/8/sessionMemory)))
}

// goMemory returns GOMEMLIMIT, 0 if it is not set.
func goMemory() int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return limit
	}
	return 0
}

// limitMemory sets the memory limit of Go's runtime to nine tenths of the control
// group's if GOMEMLIMIT is not set: without a limit the kernel would kill the process
// before it collects garbage.
func limitMemory(root fs.FS) {
	if group := groupMemory(root); group > 0 && goMemory() == 0 {
		debug.SetMemoryLimit(group / 10 * 9)
	}
}

// groupMemory returns the memory limit of the process's control group and its parents,
// version 2 or 1; 0 if there is none. root is the root of the file system.
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

// memoryBelow returns the lowest limit of a group's directory and those above it. In a
// container the group's own path may not exist: its root is the container's.
func memoryBelow(root fs.FS, mount, group, file string) (limit int64) {
	for at := path.Clean("/" + group); ; at = path.Dir(at) {
		text, err := fs.ReadFile(root, path.Join(mount, at, file))
		if n, bad := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && bad == nil && n < 1<<50 {
			limit = lower(limit, n) // version 1 writes "none" as a number close to the maximum
		}
		if at == "/" {
			return limit
		}
	}
}

// lower returns the lower of two limits; 0 means none.
func lower(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
