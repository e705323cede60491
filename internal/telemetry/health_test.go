package telemetry

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestToday(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d DailyCounts
		d.Add("ok")
		d.Add("ok")
		d.Add("not_member")
		d.Ended("left")
		if got := d.Counts(); got.SignIns["ok"] != 2 || got.SignIns["not_member"] != 1 || got.Ended["left"] != 1 {
			t.Errorf("Counts() = %+v", got)
		}
		time.Sleep(24 * time.Hour)
		if got := d.Counts(); len(got.SignIns)+len(got.Ended) != 0 {
			t.Errorf("a day later Counts() = %+v, want nothing", got)
		}
		for i := range 10 * todayReasons {
			d.Add(string(rune(0x4e00 + i)))
		}
		if got := len(d.Counts().SignIns); got != todayReasons {
			t.Errorf("%d reasons are stored, want %d", got, todayReasons)
		}
		var none *DailyCounts
		none.Add("ok")
		none.Ended("left")
	})
}

func TestHealth(t *testing.T) {
	var h Health
	at := time.Unix(100, 0)
	h.Call("/b", "ok", "", true, at)
	h.Call("/a", "timeout", "", false, at)
	h.Call("/b", "refused", "60011", false, at.Add(time.Second))
	got := h.Calls()
	if len(got) != 2 || got[0].Call != "/a" ||
		got[1] != (CallHealth{"/b", at, at.Add(time.Second), "refused", "60011"}) {
		t.Errorf("Calls() = %+v", got)
	}
}

// TestUntrustedForwarders: a proxy with many requests stays in the list, however many others there
// are.
func TestUntrustedForwarders(t *testing.T) {
	var s UntrustedForwarders
	proxy := netip.MustParseAddr("10.0.0.5")
	at := time.Unix(100, 0)
	for i := range 1000 {
		s.Note(proxy, at)
		s.Note(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), at)
	}
	if got := s.List(); len(got) != untrustedMax || got[0] != (UntrustedForwarder{proxy, 1000, at}) {
		t.Errorf("List() = %d, first %+v, want %d with the proxy first", len(got), got[0], untrustedMax)
	}
}
