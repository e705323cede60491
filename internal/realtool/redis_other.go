//go:build !unix

package realtool

// Hang skips the test: a process cannot be stopped here without ending it.
func (r *Redis) Hang() { r.t.Skip("SKIPPED: a process cannot be stopped here") }

// Wake continues a stopped process.
func (r *Redis) Wake() {}
