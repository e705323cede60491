package server_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/server"
)

func TestForgetStart(t *testing.T) {
	before := residentFile(t)
	server.ForgetStart()
	if after := residentFile(t); after > before*3/4 {
		t.Errorf("after forgetStart %d KiB of files are resident, of %d before", after, before)
	}
}

// residentFile returns how much of files the process has in memory, in KiB.
func residentFile(t *testing.T) (kib int) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc here:", err)
	}
	_, rest, found := strings.Cut(string(text), "RssFile:")
	if _, err := fmt.Sscan(rest, &kib); !found || err != nil {
		t.Skip("the kernel does not report RssFile")
	}
	return kib
}
