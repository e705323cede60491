//go:build !unix

package oidc

import (
	"testing"
	"time"
)

var begun = time.Now()

func cpuTime(*testing.B) time.Duration { return time.Since(begun) }
