//go:build !unix

package realtool

// Hang skips the test: no process can be stopped here without ending it.
func (r *Redis) Hang() { r.t.Skip("SKIPPED: a process cannot be stopped here") }

// Wake ends what Hang began.
func (r *Redis) Wake() {}
