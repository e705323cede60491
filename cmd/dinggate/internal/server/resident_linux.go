package server

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// ForgetStart releases the pages of the program file that only the start needed, two
// thirds of the resident memory at that time: parsers of the configuration, of pages and
// of patterns, and their tables. A page that is needed again is read from the page
// cache. Without /proc it does nothing.
func ForgetStart() {
	program, err := os.Executable()
	if err != nil {
		return
	}
	areas, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	var from, to uintptr
	for line := range strings.Lines(string(areas)) {
		name, size, _ := strings.Cut(line, ":")
		switch {
		case strings.Contains(name, " "): // 00400000-01016000 r-xp 00000000 fe:00 1042 /usr/bin/dinggate
			fmt.Sscanf(name, "%x-%x", &from, &to)
			if strings.Contains(name, " rw") || !strings.HasSuffix(strings.TrimSpace(line), program) {
				to = 0
			}
		case (name == "Anonymous" || name == "Swap") && strings.TrimSpace(size) != "0 kB":
			to = 0 // it contains written data, such as relocations, that the file lacks
		case name == "Swap" && to != 0:
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED)
		}
	}
}
