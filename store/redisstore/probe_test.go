package redisstore

import (
	"strconv"
	"testing"
	"time"

	"dinggate/internal/realtool"

	"github.com/alicebob/miniredis/v2"
)

// TestSlots: the slots that Redis computes, and probes in each sixteenth.
func TestSlots(t *testing.T) {
	for key, want := range map[string]int{
		"": 0, "123456789": 12739, "foo": 12182, "{foo}bar": 12182, "a{foo}b{c}": 12182,
	} {
		if got := slotOf(key); got != want {
			t.Errorf("slotOf(%q) = %d, want %d", key, got, want)
		}
	}
	for i, key := range probeKeys("dinggate:", true) {
		if got := slotOf(key) / (slotCount / probes); got != i {
			t.Errorf("%s is in sixteenth %d, want %d", key, got, i)
		}
	}
}

// TestProbe: all or nothing of a single server, a share of a cluster, whichever master dies.
func TestProbe(t *testing.T) {
	server := miniredis.RunT(t)
	alone := open(t, "redis://"+server.Addr())
	if h := alone.Probe(t.Context()); h != (Health{1, 1, nil}) {
		t.Errorf("Probe(a server) = %+v", h)
	}
	server.SetError("OOM command not allowed")
	if h := alone.Probe(t.Context()); h.Writes != 0 || h.Reads != 1 || Reason(h.Err) != "oom" {
		t.Errorf("Probe(a server without memory) = %+v", h)
	}
	server.Close()
	if h := alone.Probe(t.Context()); h.Writes != 0 || h.Reads != 0 || h.Err == nil {
		t.Errorf("Probe(a server that is away) = %+v", h)
	}

	url, masters := realtool.StartCluster(t, 3, time.Minute, "no")
	s := open(t, url, impatient)
	for _, key := range append(s.probed, "{}foo", "foo{", "}{a}", "{{a}}") {
		if got := masters[0].Do("CLUSTER", "KEYSLOT", key); got != strconv.Itoa(slotOf(key))+"\n" {
			t.Errorf("slotOf(%q) = %d, Redis says %s", key, slotOf(key), got)
		}
	}
	for i, r := range masters {
		r.Kill()
		h := s.Probe(t.Context())
		if h.Writes < 0.6 || h.Writes > 0.7 || h.Reads != h.Writes || h.Err == nil {
			t.Errorf("Probe(master %d of 3 is away) = %+v, want two thirds", i, h)
		}
		r.Start()
		r.Await("an answer of all again", func() bool { return s.Probe(t.Context()) == Health{1, 1, nil} })
	}
}
