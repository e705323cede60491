//go:build !linux

package server

// forgetStart does nothing: only Linux's /proc says which pages could go.
func forgetStart() {}
