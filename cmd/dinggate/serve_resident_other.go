//go:build !linux

package main

// forgetStart does nothing: only Linux's /proc says which pages could go.
func forgetStart() {}
