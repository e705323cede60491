//go:build unix

package access

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/realtool"
	"dinggate/session"
)

// BenchmarkConsole measures the first page of the console, and a search, over HTTP with
// 10,000 sessions of 10,000 people in a real Redis.
func BenchmarkConsole(b *testing.B) {
	redis := realtool.StartRedis(b)
	h := servertest.New(b, func(c *config.Config) {
		servertest.Administrators(c)
		c.Session.Store, c.Redis.URL = session.StoreRedis, conf.NewSecret(redis.URL())
	})
	for i := range 10_000 {
		id := fmt.Sprintf("person-%05d", i)
		_, _, err := h.Gateway.Sessions.Begin(b.Context(), session.SignIn{
			User:   identity.User{UnionID: "union-" + id, UserID: id, Username: id, Name: "员工" + id},
			Device: "Chrome · Windows", Client: netip.MustParseAddr("192.0.2.7"),
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	boss := h.NewClient()
	boss.SignIn(h.URL+"/a", "zhangsan")
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for !strings.Contains(boss.Get(h.URL+"/oauth2/console", "Accept-Language: en").Text, "10001 sessions") {
		<-again.C
	}
	for name, path := range map[string]string{"first page": "", "search": "?q=person-04217"} {
		b.Run(name, func(b *testing.B) {
			begin := processorTime(b)
			for b.Loop() {
				if a := boss.Get(h.URL + "/oauth2/console" + path); a.StatusCode != 200 {
					b.Fatal(a.StatusCode)
				}
			}
			b.ReportMetric(float64((processorTime(b)-begin).Milliseconds())/float64(b.N), "cpu-ms/op") // on a busy machine, too
		})
	}
}

// processorTime returns the CPU time of this process, including its clients but not Redis.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
