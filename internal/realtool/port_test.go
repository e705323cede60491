package realtool

import "testing"

// TestFreeAddr: no port is returned twice, to this process or to another one.
func TestFreeAddr(t *testing.T) {
	seen := map[string]bool{}
	for range 2 {
		for range 3 * portBlock / 2 {
			addr := FreeAddr(t)
			if seen[addr] {
				t.Fatalf("%s is returned twice", addr)
			}
			seen[addr] = true
		}
		ports.next, ports.end = 0, 0 // as in another process: only the listeners of this one remain
	}
}
