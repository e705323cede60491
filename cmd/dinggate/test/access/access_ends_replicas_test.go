package access

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/realtool"
)

// replicaEnd is a way in which one person of a fleet loses access.
type replicaEnd struct {
	name, person string
	page         string // a page that the person may open before
	status       int    // of its response afterwards
	do           func(*testing.T, *servertest.Fleet, *servertest.FleetClient, controlled)
}

var replicaEnds = []replicaEnd{
	{"sign-out", "zhangsan", "/", 302, func(_ *testing.T, _ *servertest.Fleet, c *servertest.FleetClient, on controlled) {
		c.SignOutAt(on.Program)
	}},
	{"ended by an administrator", "zhangsan", "/", 302, func(t *testing.T, _ *servertest.Fleet, _ *servertest.FleetClient, on controlled) {
		if out, err := servertest.RunControl(t, on.control, "sessions", "end", "zhangsan"); err != nil {
			t.Fatalf("sessions end: %v\n%s", err, out)
		}
	}},
	{"left the organisation", "lisi", "/", 302, func(t *testing.T, f *servertest.Fleet, _ *servertest.FleetClient, _ controlled) {
		done(t, f.Platform.Leave("lisi"))
	}},
	{"lost a role", "zhaoliu", "/money/", 403, func(t *testing.T, f *servertest.Fleet, _ *servertest.FleetClient, _ controlled) {
		done(t, f.Platform.SetRoles("zhaoliu"))
	}},
	{"moved to another department", "zhaoliu", "/hr/", 403, func(t *testing.T, f *servertest.Fleet, _ *servertest.FleetClient, _ controlled) {
		done(t, f.Platform.Move("zhaoliu", 43))
	}},
	{"account disabled, with an event", "wangwu", "/", 302, func(t *testing.T, f *servertest.Fleet, _ *servertest.FleetClient, _ controlled) {
		done(t, simulator.DisableTold(f.Platform, "wangwu"))
	}},
	{"outside the app's scope", "zhaoliu", "/", 302, func(t *testing.T, f *servertest.Fleet, _ *servertest.FleetClient, _ controlled) {
		done(t, f.Platform.ChangeApp("", func(a *simulator.App) { a.Scope, a.Range = []int64{44}, []int64{44} }))
	}},
	{"app stopped", "ouyang", "/", 302, func(t *testing.T, f *servertest.Fleet, _ *servertest.FleetClient, _ controlled) {
		done(t, f.Platform.ChangeApp("", func(a *simulator.App) { a.Stopped = true }))
	}},
}

// controlled is a replica with its control socket.
type controlled struct {
	*servertest.Program
	control string
}

// TestAccessEnds_Replicas: a person signs in at one replica and has a WebSocket, an event
// stream and a session at another one, with a real Redis. All of them end there within 5
// s.
func TestAccessEnds_Replicas(t *testing.T) {
	redis := realtool.StartRedis(t)
	app := servertest.TickingUpstream(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL(), "DINGGATE_SESSION_RECHECK=1h",
		"DINGGATE_UPSTREAM=")
	file := filepath.Join(t.TempDir(), "config.yaml")
	done(t, os.WriteFile(file, fmt.Appendf(nil, `
routes:
  - {path: /hr/, access: {departments: [44]}, upstream: %[1]q}
  - {path: /money/, access: {roles: [财务]}, upstream: %[1]q}
  - {path: /, upstream: %[1]q}
`, app.URL), 0o600))
	start := func() controlled {
		control := filepath.Join(t.TempDir(), "control.sock")
		cmd := exec.Command(servertest.Binary(t), "serve", "--config", file)
		cmd.Env = append(append(cmd.Environ(), servertest.Environ...), f.Environ...)
		cmd.Env = append(cmd.Env, "DINGGATE_ADMIN_CONTROL="+control)
		return controlled{servertest.Start(t, cmd), control}
	}
	a, b := start(), start()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done(t, f.Platform.WaitStreams(ctx, 2))
	for _, end := range replicaEnds {
		if end.name == "app stopped" {
			done(t, f.Platform.ChangeApp("", func(a *simulator.App) { a.Scope, a.Range = nil, nil }))
		}
		t.Run(end.name, func(t *testing.T) { end.measure(ctx, t, f, a, b) })
	}
}

func (end replicaEnd) measure(ctx context.Context, t *testing.T, f *servertest.Fleet, a, b controlled) {
	c := f.NewClient(a.Program)
	c.T = t
	c.SignInAt(a.Program, end.person)
	thief := f.Copy(c)
	thief.T, thief.To = t, b.Program
	if got := thief.Get(servertest.FleetURL + end.page).StatusCode; got != 200 {
		t.Fatalf("the page at the other replica = %d before anything happened", got)
	}
	open := thief.OpenStreams(ctx, b.Program)
	ended := make(chan string, 2)
	go func() {
		for {
			if _, _, err := open.WebSocket.Read(ctx); err != nil {
				ended <- "WebSocket"
				return
			}
		}
	}()
	go func(lines *bufio.Reader) {
		io.Copy(io.Discard, lines)
		ended <- "SSE"
	}(open.Lines)
	began := time.Now()
	end.do(t, f, c, a)
	took := map[string]time.Duration{}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for len(took) < 4 && time.Since(began) < 15*time.Second {
		if _, over := took["page"]; !over && thief.Get(servertest.FleetURL+end.page).StatusCode == end.status {
			took["page"] = time.Since(began)
		}
		if _, over := took["gateway"]; !over && thief.Get(servertest.FleetURL+"/oauth2/auth", "X-Original-URI: "+end.page,
			"X-Forwarded-Host: gate.test", "X-Forwarded-Proto: http").StatusCode != 200 {
			took["gateway"] = time.Since(began)
		}
		select {
		case place := <-ended:
			took[place] = time.Since(began)
		case <-again.C:
		}
	}
	line := "| " + end.name + " |"
	for _, place := range []string{"page", "WebSocket", "SSE", "gateway"} {
		after, over := took[place]
		if !over {
			t.Errorf("%s: not over at the other replica after 15 s", place)
		}
		line += fmt.Sprintf(" %d ms |", after.Milliseconds())
	}
	t.Log(line)
}
