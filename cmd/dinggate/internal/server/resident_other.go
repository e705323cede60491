//go:build !linux

package server

// ForgetStart does nothing: only Linux's /proc says which pages could go.
func ForgetStart() {}
