package main

import (
	"fmt"
	"io"
	"runtime"

	"dinggate/internal/buildinfo"
)

// runVersion prints what somebody who reports a problem is asked for.
func runVersion(out io.Writer) {
	fmt.Fprintf(out, "dinggate %s\nrevision %s\n%s %s/%s\n", buildinfo.Version(), buildinfo.Revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
