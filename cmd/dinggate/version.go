package main

import (
	"fmt"
	"io"
	"runtime"
)

// runVersion prints what somebody who reports a problem is asked for.
func runVersion(out io.Writer) {
	fmt.Fprintf(out, "dinggate %s\nrevision %s\n%s %s/%s\n", release(), revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
