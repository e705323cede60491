//go:build !linux

package server

// ForgetStart does nothing: only Linux's /proc lists the pages.
func ForgetStart() {}
