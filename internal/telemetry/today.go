package telemetry

import (
	"maps"
	"sync"
	"time"
)

// DailyCounts counts events since midnight, by the clock of this machine, for people to view;
// Prometheus has its own counters. A nil DailyCounts counts nothing. Safe for concurrent use.
type DailyCounts struct {
	Now func() time.Time // nil is time.Now

	mu      sync.Mutex
	day     time.Time
	signIns map[string]int
	ended   map[string]int
}

// todayReasons bounds each list; the reasons are codes of the program, so that it is never
// reached.
const todayReasons = 200

// TodayCounts are the counts of DailyCounts.
type TodayCounts struct {
	Since   time.Time
	SignIns map[string]int // by result: ok, or the code of the refusal
	Ended   map[string]int // sessions that ended before their expiry, by reason
}

// Add counts a finished sign-in.
func (d *DailyCounts) Add(result string) {
	if d != nil {
		d.count(func() map[string]int { return d.signIns }, result)
	}
}

// Ended counts a session that ended before its expiry.
func (d *DailyCounts) Ended(reason string) {
	if d != nil {
		d.count(func() map[string]int { return d.ended }, reason)
	}
}

func (d *DailyCounts) count(which func() map[string]int, key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn()
	list := which()
	if _, known := list[key]; known || len(list) < todayReasons {
		list[key]++
	}
}

// turn resets the counts at midnight.
func (d *DailyCounts) turn() {
	now := time.Now()
	if d.Now != nil {
		now = d.Now()
	}
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	if !midnight.Equal(d.day) {
		d.day, d.signIns, d.ended = midnight, map[string]int{}, map[string]int{}
	}
}

// Counts returns a copy.
func (d *DailyCounts) Counts() TodayCounts {
	if d == nil {
		return TodayCounts{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn()
	return TodayCounts{d.day, maps.Clone(d.signIns), maps.Clone(d.ended)}
}
