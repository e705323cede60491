package server

import "testing"

func TestPacer(t *testing.T) {
	const mib = 1 << 20
	type tick struct {
		cycles, live uint64
		want         int
	}
	for name, ticks := range map[string][]tick{
		"a start is not busy":           {{2, 3 * mib, 100}, {0, 3 * mib, 100}, {3, 3 * mib, 100}},
		"busy: room of 16 MiB":          {{4, 8 * mib, 200}, {1, 8 * mib, 200}, {2, 8 * mib, 200}},
		"a large heap has room anyway":  {{9, 16 * mib, 100}, {9, 400 * mib, 100}},
		"nothing is known yet":          {{9, 0, 100}},
		"small changes change nothing":  {{4, 4 * mib, 400}, {1, 4*mib + mib/2, 400}, {1, 8 * mib, 200}},
		"a heap that outgrows the room": {{4, 8 * mib, 200}, {1, 32 * mib, 100}, {1, 8 * mib, 200}},
		"quiet for ten ticks": {{4, 8 * mib, 200}, {0, 8 * mib, 200}, {0, 8 * mib, 200}, {0, 8 * mib, 200},
			{0, 8 * mib, 200}, {0, 8 * mib, 200}, {0, 8 * mib, 200}, {0, 8 * mib, 200}, {0, 8 * mib, 200},
			{0, 8 * mib, 200}, {0, 8 * mib, 100}, {3, 8 * mib, 100}},
	} {
		p := pacer{percent: 100}
		for i, at := range ticks {
			if p.percent = p.next(at.cycles, at.live); p.percent != at.want {
				t.Errorf("%s: tick %d: %d percent, want %d", name, i, p.percent, at.want)
			}
		}
	}
}
