package sso

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/realtool"
)

// ssoFleet is a fleet whose replicas are the SSO service of a platform. plain_callback is
// on: the simulated DingTalk compares the registered address exactly.
func ssoFleet(t *testing.T, env ...string) (*servertest.Fleet, *servertest.SSOApp) {
	p := servertest.NewSSOApp(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := fmt.Sprintf(
		"sso_server:\n  plain_callback: true\n  clients:\n    - client_id: %s\n      client_secret: %s\n "+
			"     redirect_urls: [%q]\n", p.ID, p.Secret, p.CallbackURL(),
	)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := servertest.NewFleet(t, append([]string{"DINGGATE_CONFIG=" + file, "DINGGATE_DINGTALK_EVENTS=false"}, env...)...)
	if err := f.Platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) {
		a.Redirects = append(a.Redirects, servertest.FleetURL+"/dingtalk/callback")
	}); err != nil {
		t.Fatal(err)
	}
	return f, p
}

// codeAt makes a client return a code to the platform through replica r.
func codeAt(c *servertest.FleetClient, p *servertest.SSOApp, r *servertest.Program) (code, state string) {
	c.T.Helper()
	c.To = r
	a := c.Get(servertest.FleetURL + "/dingtalk/authorize?client_id=" + p.ID + "&redirect_url=" + p.CallbackURL())
	if at := a.Header.Get("Location"); a.StatusCode == http.StatusFound && strings.Contains(at, "/oauth2/auth?") {
		a = c.Get(c.Choose(at, "zhangsan"))
	}
	q := servertest.ParseURL(c.T, a.Header.Get("Location")).Query()
	if a.StatusCode != http.StatusFound || q.Get("code") == "" {
		c.T.Fatalf("authorize = %d to %q %.300s\n%s", a.StatusCode, a.Header.Get("Location"), a.Text, r.Log)
	}
	return q.Get("code"), q.Get("state")
}

// atReplica returns the platform as a client of one replica.
func atReplica(p *servertest.SSOApp, r *servertest.Program) *servertest.SSOApp {
	q := p.As(p.ID, p.Secret)
	q.Service = r.Public
	return q
}

// TestOneCodeOverRedis sends 50 concurrent redemptions of one code to two replicas with
// one Redis: one succeeds, and a later use on either replica revokes its tokens.
func TestOneCodeOverRedis(t *testing.T) { // T9
	redis := realtool.StartRedis(t)
	f, p := ssoFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL=redis://"+redis.Addr)
	one, two := f.Replica(), f.Replica()
	c := f.NewClient(one)
	for round := range 5 {
		code, state := codeAt(c, p, one)
		winner := burst(atReplica(p, one), code, state, one.Public, two.Public)
		if status, _ := atReplica(p, two).Token(code, state); status != 400 {
			t.Errorf("round %d: a later use = %d, want 400", round, status)
		}
		atReplica(p, one).WantDead("the winner's tokens after a later use", winner)
		atReplica(p, two).WantDead("the winner's tokens after a later use, on the other replica", winner)
	}
	code, state := codeAt(c, p, one)
	given := atReplica(p, two).Redeem(code, state) // a code of one replica, redeemed at the other one
	atReplica(p, one).WantAlive("on the replica that knows it by Redis alone", given)
	next := atReplica(p, one).Read(atReplica(p, one).Refresh(given.RefreshToken))
	if status, _ := atReplica(p, two).Refresh(given.RefreshToken); status != 400 {
		t.Errorf("an old refresh token on the other replica = %d, want 400", status)
	}
	atReplica(p, one).WantDead("after reuse on the other replica", next)
	code, state = codeAt(c, p, two)
	given = atReplica(p, one).Redeem(code, state)
	c.SignOutAt(two)
	servertest.Eventually(t, "a sign-out on the other replica", func() bool {
		status, _ := atReplica(p, one).UserInfo(given.AccessToken)
		return status == 401
	})
}

// TestFamiliesSurviveKill: with state_dir, refresh families, used tokens and revocations
// survive kill -9 during writes.
func TestFamiliesSurviveKill(t *testing.T) {
	f, p := ssoFleet(t, "DINGGATE_STATE_DIR="+t.TempDir())
	r := f.Replica()
	c := f.NewClient(r)
	alive := atReplica(p, r).Redeem(codeAt(c, p, r))
	used, state := codeAt(c, p, r)
	ended := atReplica(p, r).Redeem(used, state)
	if status, _ := atReplica(p, r).Token(used, state); status != 400 {
		t.Fatalf("a second use = %d, want 400", status)
	}
	waiting, theirs := codeAt(c, p, r)
	for round := range 3 {
		done := make(chan servertest.SSOToken, 1)
		go func(r *servertest.Program, token servertest.SSOToken) { // refreshes as fast as it can, until the process ends
			q := atReplica(p, r)
			for {
				status, body, err := q.TryRefresh(token.RefreshToken)
				if err != nil || status != 200 {
					done <- token
					return
				}
				token = q.Read(status, body)
			}
		}(r, atReplica(p, r).Redeem(codeAt(c, p, r)))
		servertest.Eventually(t, "some refreshes", func() bool { return strings.Count(r.Log.String(), "sso_refresh") > 5 })
		r.Kill()
		busy := <-done
		r = f.Replica()
		c.To = r
		q := atReplica(p, r)
		if round == 0 {
			q.Redeem(waiting, theirs)
		}
		q.WantAlive("a family from before the kill", alive)
		alive = q.Read(q.Refresh(alive.RefreshToken))
		q.WantDead("one that was taken back before the kill", ended)
		if status, _ := q.Token(used, state); status != 400 {
			t.Errorf("a used code after the kill = %d, want 400", status)
		}
		// The last refresh may or may not have completed when the process ended: its token
		// is valid once, or ends the family; it is never valid twice.
		first, _ := q.Refresh(busy.RefreshToken)
		second, _ := q.Refresh(busy.RefreshToken)
		if first != 200 && first != 400 || second != 400 {
			t.Errorf("the token of the refresh that was under way = %d, then %d, want at most one 200", first, second)
		}
	}
	c.SignOutAt(r)
	r.Kill()
	r = f.Replica()
	atReplica(p, r).WantDead("after a sign-out and a kill", alive)
}
