package fleet

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/realtool"
)

// A one-time ticket for a host of another domain is valid once in a fleet with a real
// Redis: the second replica refuses it (threats S20), also with concurrent requests.
func TestTicketAtSecondReplica(t *testing.T) {
	redis := realtool.StartRedis(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL=redis://"+redis.Addr)
	i := slices.IndexFunc(f.Environ, func(v string) bool { return strings.HasPrefix(v, "DINGGATE_UPSTREAM=") })
	upstream := strings.TrimPrefix(f.Environ[i], "DINGGATE_UPSTREAM=")
	file := filepath.Join(t.TempDir(), "config.yaml")
	routes := "routes:\n  - {path: /, host: wiki.test, upstream: \"" + upstream + "\"}\n  - {path: /, upstream: \"" + upstream + "\"}\n"
	if err := os.WriteFile(file, []byte(routes), 0o600); err != nil {
		t.Fatal(err)
	}
	f.Environ[i] = "DINGGATE_CONFIG=" + file
	first, second := f.Replica(), f.Replica()

	browser := func() *servertest.FleetClient {
		c := f.NewClient(first)
		c.HTTP.Transport = &http.Transport{DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if strings.HasSuffix(addr, ".test:80") {
					addr = strings.TrimPrefix(c.To.Public, "http://")
				}
				return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, addr)
			}}
		return c
	}
	// ticket is a person during the transfer to wiki.test: the URL with the ticket, and
	// the cookies of that host.
	ticket := func() (arrive string, cookies string) {
		c := browser()
		c.SignInAt(first, "zhangsan")
		leave := c.Get("http://wiki.test/page").Header.Get("Location")
		arrive = c.Get(leave).Header.Get("Location")
		if !strings.HasPrefix(arrive, "http://wiki.test/oauth2/arrive?ticket=") {
			t.Fatalf("leaving by %q leads to %q, want a ticket", leave, arrive)
		}
		r, _ := http.NewRequest("GET", arrive, nil)
		for _, one := range c.HTTP.Jar.Cookies(r.URL) {
			cookies += one.Name + "=" + one.Value + "; "
		}
		return arrive, strings.TrimSuffix(cookies, "; ")
	}
	arrivesAt := func(p *servertest.Program, arrive, cookies string) bool {
		c := browser()
		c.To = p
		a := c.Get(arrive, "Cookie: "+cookies)
		in := slices.ContainsFunc(a.Cookies(), func(one *http.Cookie) bool { return one.Name == "dinggate" && one.Value != "" })
		if !in && a.StatusCode != 403 {
			t.Errorf("a ticket that counts no more = %d, want 403", a.StatusCode)
		}
		return in
	}
	for _, order := range [][2]*servertest.Program{{first, second}, {second, first}, {second, second}} {
		arrive, cookies := ticket()
		if !arrivesAt(order[0], arrive, cookies) {
			t.Fatalf("a fresh ticket gives no session\n%s", order[0].Log)
		}
		if arrivesAt(order[1], arrive, cookies) {
			t.Error("a used ticket gives a session at the second replica")
		}
	}
	for range 10 {
		arrive, cookies := ticket()
		var all sync.WaitGroup
		var mu sync.Mutex
		sessions := 0
		for _, p := range []*servertest.Program{first, second, first, second} {
			all.Go(func() {
				if arrivesAt(p, arrive, cookies) {
					mu.Lock()
					sessions++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if sessions != 1 {
			t.Errorf("a ticket requested at once at two replicas gives %d sessions, want 1", sessions)
		}
	}
}
