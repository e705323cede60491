package server

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// heapFloor is memory that is allocated and never touched, so that it uses no RAM. The
	// collector waits until the heap doubles: a heap of a few megabytes would need a cycle
	// every few hundred requests, and a cycle costs as much as fifty requests.
	heapFloor = 4 << 20

	// busyRoom is how much a busy process may allocate between two cycles. A larger heap
	// has as much room as its own size.
	busyRoom = 16 << 20

	collectorTick = time.Second
	busyCycles    = 4  // per tick: the process becomes busy
	quietTicks    = 10 // without a cycle: it is no longer busy
)

// tuneCollector gives the garbage collector more room while requests keep it busy, and
// reverts this afterwards, until ctx ends. It does nothing if the environment sets GOGC.
// GOMEMLIMIT and the control group's limit always apply, since the runtime collects
// earlier near them.
func tuneCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	ticks := time.NewTicker(collectorTick)
	defer ticks.Stop()
	p, last := pacer{percent: 100}, uint64(0)
	sample := []metrics.Sample{{Name: "/gc/cycles/automatic:gc-cycles"}, {Name: "/gc/heap/live:bytes"}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		metrics.Read(sample)
		cycles := sample[0].Value.Uint64()
		if percent := p.next(cycles-last, sample[1].Value.Uint64()); percent != p.percent {
			debug.SetGCPercent(percent)
			p.percent = percent
		}
		last = cycles
	}
}

// pacer determines the collector's percentage at each tick.
type pacer struct {
	percent int
	busy    bool
	quiet   int // consecutive ticks without a cycle
}

// next returns the percentage after a tick with so many cycles, the last of which left
// live bytes. It changes by at least a quarter, because each change stops the process
// for a moment.
func (p *pacer) next(cycles, live uint64) int {
	switch {
	case cycles >= busyCycles:
		p.busy, p.quiet = true, 0
	case cycles > 0:
		p.quiet = 0
	default:
		if p.quiet++; p.quiet >= quietTicks {
			p.busy = false
		}
	}
	if !p.busy || live == 0 || live >= busyRoom {
		return 100
	}
	percent := int(100 * busyRoom / live)
	if p.percent > 100 && percent*4 < p.percent*5 && percent*5 > p.percent*4 {
		return p.percent
	}
	return percent
}
