package dingtalk_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/ratelimit"
)

// TestThrottledTokens: calls that the budget does not pace stop while DingTalk throttles them,
// as all calls do without a budget (threats V3).
func TestThrottledTokens(t *testing.T) {
	for name, budget := range map[string]*ratelimit.Budget{"no budget": nil, "budget": {Rate: 18}} {
		g := newEnv(t)
		var ahead atomic.Int64
		g.client.Budget = budget
		g.client.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		g.Fault(simulator.Fault{On: pathAppToken, Do: simulator.Code("Forbidden.AccessDenied.QpsLimitForApi")})
		lookUp := func() string {
			_, err := g.dir.Person(t.Context(), g.unionID(t, "zhangsan"))
			return verdict(err)
		}
		for _, later := range []time.Duration{0, 0, 0, 0, 2 * time.Second} {
			ahead.Add(int64(later))
			if got := lookUp(); got != "later throttled" {
				t.Errorf("%s: %s, want later throttled", name, got)
			}
		}
		if got, want := g.results(pathAppToken), "throttled held held held throttled"; strings.Join(got, " ") != want {
			t.Errorf("%s: calls for the app token: %v, want %s", name, got, want)
		}
		g.ClearFaults()
		ahead.Add(int64(10 * time.Second))
		if got := lookUp(); got != "" {
			t.Errorf("%s: after the throttling: %s, want no failure", name, got)
		}
	}
}
