package main

import (
	"fmt"
	"runtime"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/internal/buildinfo"
)

// runVersion prints the version information for a bug report.
func runVersion(c cli.Invocation) int {
	fmt.Fprintf(c.Stdout, "dinggate %s\nrevision %s\n%s %s/%s\n", buildinfo.Version(), buildinfo.Revision(),
		runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return 0
}
