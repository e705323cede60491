package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/realtool"
)

// ssoFleet is a fleet whose replicas are the SSO service of a platform.
// plain_callback is on: the simulated DingTalk compares the registered address
// to the letter.
func ssoFleet(t *testing.T, env ...string) (*fleet, *thirdParty) {
	p := newThirdParty(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := fmt.Sprintf(
		"sso_server:\n  plain_callback: true\n  clients:\n    - client_id: %s\n      client_secret: %s\n "+
			"     redirect_urls: [%q]\n", p.id, p.secret, p.callback(),
	)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, append([]string{"DINGGATE_CONFIG=" + file, "DINGGATE_DINGTALK_EVENTS=false"}, env...)...)
	if err := f.platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) {
		a.Redirects = append(a.Redirects, fleetURL+"/dingtalk/callback")
	}); err != nil {
		t.Fatal(err)
	}
	return f, p
}

// code lets a caller bring a code to the platform's door through replica r.
func (c *caller) code(p *thirdParty, r *program) (code, state string) {
	c.t.Helper()
	c.to = r
	a := c.get(fleetURL + "/dingtalk/authorize?client_id=" + p.id + "&redirect_url=" + p.callback())
	if at := a.Header.Get("Location"); a.StatusCode == http.StatusFound && strings.Contains(at, "/oauth2/auth?") {
		a = c.get(c.choose(at, "zhangsan"))
	}
	q := mustURL(c.t, a.Header.Get("Location")).Query()
	if a.StatusCode != http.StatusFound || q.Get("code") == "" {
		c.t.Fatalf("authorize = %d to %q %.300s\n%s", a.StatusCode, a.Header.Get("Location"), a.body, r.log)
	}
	return q.Get("code"), q.Get("state")
}

// at is the platform, talking to one replica.
func (p *thirdParty) at(r *program) *thirdParty {
	q := p.as(p.id, p.secret)
	q.service = r.gate
	return q
}

// TestOneCodeOverRedis: one code, 50 redemptions at once on two replicas over
// one Redis: one succeeds, and a later use on either takes back what it gave.
func TestOneCodeOverRedis(t *testing.T) { // T9
	redis := realtool.StartRedis(t)
	f, p := ssoFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL=redis://"+redis.Addr)
	one, two := f.replica(), f.replica()
	c := f.caller(one)
	for round := range 5 {
		code, state := c.code(p, one)
		winner := burst(p.at(one), code, state, one.gate, two.gate)
		if status, _ := p.at(two).token(code, state); status != 400 {
			t.Errorf("round %d: a later use = %d, want 400", round, status)
		}
		p.at(one).dead("the winner's tokens after a later use", winner)
		p.at(two).dead("the winner's tokens after a later use, on the other replica", winner)
	}
	code, state := c.code(p, one)
	given := p.at(two).redeem(code, state) // a code of one replica, redeemed at the other
	p.at(one).alive("on the replica that knows it by Redis alone", given)
	next := p.at(one).read(p.at(one).refresh(given.RefreshToken))
	if status, _ := p.at(two).refresh(given.RefreshToken); status != 400 {
		t.Errorf("an old refresh token on the other replica = %d, want 400", status)
	}
	p.at(one).dead("after reuse on the other replica", next)
	code, state = c.code(p, two)
	given = p.at(one).redeem(code, state)
	c.leaves(two)
	waitFor(t, "a sign-out on the other replica", func() bool {
		status, _ := p.at(one).userinfo(given.AccessToken)
		return status == 401
	})
}

// TestFamiliesSurviveKill: with state_dir, refresh families, what was used up
// and what was taken back survive kill -9 in the middle of writes.
func TestFamiliesSurviveKill(t *testing.T) {
	f, p := ssoFleet(t, "DINGGATE_STATE_DIR="+t.TempDir())
	r := f.replica()
	c := f.caller(r)
	alive := p.at(r).redeem(c.code(p, r))
	used, state := c.code(p, r)
	ended := p.at(r).redeem(used, state)
	if status, _ := p.at(r).token(used, state); status != 400 {
		t.Fatalf("a second use = %d, want 400", status)
	}
	waiting, theirs := c.code(p, r)
	for round := range 3 {
		done := make(chan platformToken, 1)
		go func(r *program, token platformToken) { // refreshes as fast as it can, until the process dies
			q := p.at(r)
			for {
				status, body, err := q.tryRefresh(token.RefreshToken)
				if err != nil || status != 200 {
					done <- token
					return
				}
				token = q.read(status, body)
			}
		}(r, p.at(r).redeem(c.code(p, r)))
		waitFor(t, "some refreshes", func() bool { return strings.Count(r.log.String(), "sso_refresh") > 5 })
		r.kill()
		busy := <-done
		r = f.replica()
		c.to = r
		q := p.at(r)
		if round == 0 {
			q.redeem(waiting, theirs)
		}
		q.alive("a family from before the kill", alive)
		alive = q.read(q.refresh(alive.RefreshToken))
		q.dead("one that was taken back before the kill", ended)
		if status, _ := q.token(used, state); status != 400 {
			t.Errorf("a used code after the kill = %d, want 400", status)
		}
		// The last refresh may or may not have been done when the process died: its
		// token works once, or ends the family; never twice.
		first, _ := q.refresh(busy.RefreshToken)
		second, _ := q.refresh(busy.RefreshToken)
		if first != 200 && first != 400 || second != 400 {
			t.Errorf("the token of the refresh that was under way = %d, then %d, want at most one 200", first, second)
		}
	}
	c.leaves(r)
	r.kill()
	r = f.replica()
	p.at(r).dead("after a sign-out and a kill", alive)
}
