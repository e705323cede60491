package servertest

import (
	"testing"
	"time"
)

// Eventually polls until ok, and logs how long it took. It fails after a minute: the
// machine may be busy.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	begin := time.Now()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for time.Since(begin) < time.Minute {
		if ok() {
			t.Logf("%s: after %v", what, time.Since(begin).Round(time.Millisecond))
			return
		}
		<-again.C
	}
	t.Fatalf("%s: not within a minute", what)
}
