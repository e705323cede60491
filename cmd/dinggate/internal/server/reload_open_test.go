package server_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"
)

// openSite is the shipped program with a simulated DingTalk and routes in a file, in front
// of an application with WebSockets and event streams.
func openSite(t *testing.T, routes string) (*servertest.FileEnv, *servertest.Fleet) {
	f := servertest.NewFleet(t)
	s := &servertest.FileEnv{Dir: t.TempDir()}
	s.File = filepath.Join(s.Dir, "config.yaml")
	s.Write(t, "config.yaml", routes)
	cmd := exec.Command(servertest.Binary(t), "serve", "--config", s.File)
	cmd.Env = append(append(cmd.Environ(), servertest.Environ...), f.Environ...)
	cmd.Env = append(cmd.Env, "DINGGATE_UPSTREAM=")
	s.Program = servertest.Start(t, cmd)
	return s, f
}

// TestReloadAndOpenStreams checks that open streams continue across reloads, and end when
// their session ends or when the new rules do not admit the person (threats W2, V27).
func TestReloadAndOpenStreams(t *testing.T) {
	app := servertest.TickingUpstream(t)
	routes := func(extra, access string) string {
		return fmt.Sprintf(
			"sign_in: {title: %s}\nroutes:\n- {path: /open/, access: public, upstream: %q}\n- {path: /, access: "+
				"%s, upstream: %q}\n", extra, app.URL, access, app.URL,
		)
	}
	s, f := openSite(t, routes("first", "signed_in"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	signsOut, refused, stays := f.NewClient(s.Program), f.NewClient(s.Program), f.NewClient(s.Program)
	signsOut.SignInAt(s.Program, "zhangsan")
	refused.SignInAt(s.Program, "lisi")
	stays.SignInAt(s.Program, "wangwu")
	a, b, c := signsOut.OpenStreams(ctx, s.Program), refused.OpenStreams(ctx, s.Program), stays.OpenStreams(ctx, s.Program)
	for i, title := range []string{"second", "third"} {
		s.Write(t, "config.yaml", routes(title, "signed_in"))
		servertest.Eventually(t, title+" serves", func() bool { return s.Reloads() > i })
		for _, o := range []*servertest.Streams{a, b, c} {
			o.Alive(ctx, t, title)
		}
	}
	signsOut.SignOutAt(s.Program)
	a.Gone(ctx, t, "after the sign-out")
	b.Alive(ctx, t, "another's sign-out")
	s.Write(t, "config.yaml", routes("fourth", "{users: [wangwu, zhangsan]}"))
	b.Gone(ctx, t, "after a rule that denies this person")
	c.Alive(ctx, t, "a rule that allows this person")
}
