package sso

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
)

func TestCodeTwice(t *testing.T) { // T8
	h, p, v := servertest.NewSSOSignedIn(t)
	code, state := v.SSOCode(p)
	first := p.Redeem(code, state)
	p.WantAlive("after the first use", first)
	second := p.Read(p.Refresh(first.RefreshToken))
	if status, body := p.Token(code, state); status != 400 || !strings.Contains(body, "invalid_grant") {
		t.Errorf("the second use = %d %s, want 400 invalid_grant", status, body)
	}
	p.WantDead("what the first use gave", first)
	p.WantDead("what came of it later", second)
	servertest.Eventually(t, "an audit line", func() bool { return strings.Contains(h.Log.String(), "sso_code_reused") })
	if a := v.Get(h.URL + "/"); a.StatusCode != 200 {
		t.Errorf("the person's own session = %d, want untouched", a.StatusCode)
	}
}

func TestCodeOfAnotherClient(t *testing.T) { // T7
	h, p, v := servertest.NewSSOSignedIn(t)
	thief := p.As("other", "other-secret-0123456789")
	code, state := v.SSOCode(p)
	if status, body := thief.Token(code, state); status != 400 || !strings.Contains(body, "invalid_grant") {
		t.Errorf("another client = %d %s, want 400 invalid_grant", status, body)
	}
	if status, _ := p.Token(code, state); status != 400 {
		t.Errorf("the code lives on after another client tried it: %d", status)
	}
	servertest.Eventually(t, "an audit line", func() bool { return strings.Contains(h.Log.String(), "sso_code_of_another_client") })
	code, state = v.SSOCode(p)
	given := p.Redeem(code, state)
	before := strings.Count(h.Log.String(), "sso_code_of_another_client")
	if status, body := thief.Token(code, state); status != 400 || !strings.Contains(body, "invalid_grant") {
		t.Errorf("another client with a used code = %d %s, want 400 invalid_grant", status, body)
	}
	servertest.Eventually(t, "an audit line about the used code", func() bool {
		return strings.Count(h.Log.String(), "sso_code_of_another_client") == before+1
	})
	if !strings.Contains(h.Log.String(), `"app":"other","owner":"platform"`) {
		t.Errorf("the audit line does not name both clients")
	}
	p.WantAlive("tokens whose code another client sent", given)
	given = p.Read(p.Refresh(given.RefreshToken))
	if status, _ := p.Token(code, state); status != 400 { // its own client
		t.Errorf("the client itself with the used code = %d, want 400", status)
	}
	p.WantDead("tokens whose code their own client sent again", given)
	code, state = v.SSOCode(p)
	given = p.Redeem(code, state)
	if status, _ := thief.Refresh(given.RefreshToken); status != 400 { // T20
		t.Errorf("another client's refresh = %d, want 400", status)
	}
	p.WantAlive("after another client's refresh", given)
	p.Read(p.Refresh(given.RefreshToken))
	if status, _ := thief.UserInfo(given.AccessToken); status != 200 { // T18: a bearer token
		t.Errorf("userinfo knows a bearer by its client")
	}
}

func TestCodeTooOld(t *testing.T) { // T9, and together with another client T7
	h, p, v := servertest.NewSSOSignedIn(t)
	code, state := v.SSOCode(p)
	stolen, theirs := v.SSOCode(p)
	h.Gateway.SSO.Now = func() time.Time { return time.Now().Add(61 * time.Second) }
	if status, body := p.Token(code, state); status != 400 || !strings.Contains(body, "invalid_grant") {
		t.Errorf("after 61 s = %d %s, want 400 invalid_grant", status, body)
	}
	if status, body := p.As("other", "other-secret-0123456789").Token(stolen, theirs); status != 400 ||
		!strings.Contains(body, "invalid_grant") {
		t.Errorf("another client after 61 s = %d %s, want 400", status, body)
	}
	h.Gateway.SSO.Now = func() time.Time { return time.Now().Add(59 * time.Second) }
	code, state = v.SSOCode(p)
	given := p.Redeem(code, state)
	h.Gateway.SSO.Now = func() time.Time { return time.Now().Add(59*time.Second + 2*time.Hour - time.Second) }
	p.WantAlive("a second before its end", given)
	h.Gateway.SSO.Now = func() time.Time { return time.Now().Add(60*time.Second + 2*time.Hour) }
	if status, _ := p.UserInfo(given.AccessToken); status != 401 {
		t.Errorf("after two hours userinfo = %d, want 401", status)
	}
	again := p.Read(p.Refresh(given.RefreshToken))
	p.WantAlive("a refreshed one", again)
	h.Gateway.SSO.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	p.WantDead("after the sign-in's own lifetime", again)
}

func TestRefreshRotates(t *testing.T) { // T20, CVE-2026-9097
	h, p, v := servertest.NewSSOSignedIn(t)
	code, state := v.SSOCode(p)
	one := p.Redeem(code, state)
	two := p.Read(p.Refresh(one.RefreshToken))
	three := p.Read(p.Refresh(two.RefreshToken))
	if one.RefreshToken == two.RefreshToken || two.AccessToken == three.AccessToken {
		t.Errorf("tokens do not rotate")
	}
	p.WantAlive("the newest", three)
	if status, body := p.Refresh(one.RefreshToken); status != 400 || !strings.Contains(body, "invalid_grant") {
		t.Errorf("an old refresh token = %d %s, want 400", status, body)
	}
	p.WantDead("the newest after reuse of an old one", three)
	servertest.Eventually(t, "an audit line", func() bool { return strings.Contains(h.Log.String(), "sso_refresh_reused") })

	code, state = v.SSOCode(p)
	given := p.Redeem(code, state)
	// T19
	for what, token := range map[string]string{"access": given.AccessToken, "code": code,
		"cut": given.RefreshToken[:20], "case": strings.ToUpper(given.RefreshToken),
		"longer": given.RefreshToken + "A", "garbage": strings.Repeat("A", len(given.RefreshToken))} {
		if status, _ := p.Refresh(token); status != 400 {
			t.Errorf("refresh with %s = %d, want 400", what, status)
		}
	}
	p.WantAlive("after all that", given)
}

func TestTokenAnswer(t *testing.T) { // T15, T3
	h, p, v := servertest.NewSSOSignedIn(t)
	code, state := v.SSOCode(p)
	c := h.NewClient()
	a := c.Do("POST", h.URL+"/dingtalk/token", "code="+code+"&state="+state, servertest.BasicAuth(p.ID, p.Secret),
		"Content-Type: text/plain")
	var got map[string]any
	if err := json.Unmarshal([]byte(a.Text), &got); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range got {
		names = append(names, name)
	}
	slices.Sort(names)
	if fmt.Sprint(names) != "[access_token expires_in expiry_in refresh_token token_type]" ||
		got["expiry_in"] != float64(7200) || got["expires_in"] != float64(7200) || got["token_type"] != "Bearer" {
		t.Errorf("the answer is %s, want the document's names and numbers", a.Text)
	}
	if a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", a.Header.Get("Cache-Control"))
	}
	seen := map[string]bool{}
	for range 50 {
		code, _ := v.SSOCode(p)
		if seen[code] || len(code) < 22 || strings.Contains(code, "zhangsan") {
			t.Errorf("code %q", code)
		}
		seen[code] = true
	}
}

// TestSignOutEndsTokens checks that the tokens of a sign-in end with it (T20), and that an
// ended sign-in issues no code.
func TestSignOutEndsTokens(t *testing.T) {
	h, p, v := servertest.NewSSOSignedIn(t)
	given := p.Redeem(v.SSOCode(p))
	waiting, state := v.SSOCode(p)
	other := h.NewClient()
	other.SignIn(h.URL+"/", "zhangsan")
	others := p.Redeem(other.SSOCode(p))
	if a := v.Do("POST", h.URL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin"); a.StatusCode >= 400 {
		t.Fatalf("sign-out = %d", a.StatusCode)
	}
	p.WantDead("after the sign-out", given)
	if status, _ := p.Token(waiting, state); status != 400 {
		t.Errorf("a code from before the sign-out = %d, want 400", status)
	}
	p.WantAlive("the person's other sign-in", others)
}

// TestLeaverAtThirdParty tests T21: a leaver is refused within session.recheck. While
// DingTalk is unavailable the last known data is used during the grace period, then the
// response is 503.
func TestLeaverAtThirdParty(t *testing.T) {
	h, p := servertest.NewSSO(t, func(c *config.Config) {
		c.Session.Recheck = 100 * time.Millisecond
		c.Session.Grace = 1500 * time.Millisecond
	})
	v, w := h.NewClient(), h.NewClient()
	v.SignIn(h.URL+"/", "zhangsan")
	w.SignIn(h.URL+"/", "lisi")
	gone, stays := p.Redeem(v.SSOCode(p)), p.Redeem(w.SSOCode(p))
	if err := h.Platform.Leave("zhangsan"); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "userinfo of a leaver", func() bool { status, _ := p.UserInfo(gone.AccessToken); return status == 401 })
	p.WantDead("a leaver's tokens", gone)
	p.WantAlive("a colleague", stays)
	h.Platform.Fault(simulator.Fault{Do: simulator.Status(503)})
	seen := map[int]bool{}
	servertest.Eventually(t, "userinfo while DingTalk is away for longer than the grace", func() bool {
		r, _ := http.NewRequest("GET", h.URL+"/dingtalk/userinfo", nil)
		r.Header.Set("Authorization", stays.AccessToken)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		seen[res.StatusCode] = true
		if res.StatusCode == 503 && res.Header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
		return res.StatusCode == 503
	})
	if !seen[200] || seen[401] {
		t.Errorf("while DingTalk was away userinfo answered %v, want 200 for the grace, then 503, never 401", seen)
	}
	if status, body := p.Refresh(stays.RefreshToken); status != 503 ||
		!strings.Contains(body, "temporarily_unavailable") {
		t.Errorf("refresh while DingTalk is away = %d %s, want 503", status, body)
	}
	h.Platform.ClearFaults()
	servertest.Eventually(t, "the colleague afterwards", func() bool {
		status, _ := p.UserInfo(stays.AccessToken)
		return status == 200
	})
	p.Read(p.Refresh(stays.RefreshToken)) // nothing was used meanwhile
}

// TestWrongSecrets tests T5: one client at one address is slowed down, and no client is
// locked out.
func TestWrongSecrets(t *testing.T) {
	h, p, v := servertest.NewSSOSignedIn(t)
	from := func(address, secret string) (int, time.Duration) {
		c := h.NewClient()
		began := time.Now()
		a := c.Do("POST", h.URL+"/dingtalk/token", "code=x&state=y", servertest.BasicAuth(p.ID, secret),
			"Content-Type: text/plain", "X-Forwarded-For: "+address)
		return a.StatusCode, time.Since(began)
	}
	for i := range 60 {
		if status, _ := from("192.0.2.1", "wrong"); status != 401 {
			t.Fatalf("wrong secret number %d = %d, want 401", i+1, status)
		}
	}
	if _, took := from("192.0.2.1", "wrong"); took < 95*time.Millisecond {
		t.Errorf("after 60 wrong secrets the next takes %v, want it slowed down", took)
	}
	if status, _ := from("192.0.2.1", p.Secret); status != 400 {
		t.Errorf("the right secret from there = %d, want 400 for the code alone", status)
	}
	p.Redeem(v.SSOCode(p)) // from 127.0.0.1
}

func TestClientRemoved(t *testing.T) { // T24
	h, p, v := servertest.NewSSOSignedIn(t)
	given := p.Redeem(v.SSOCode(p))
	code, state := v.SSOCode(p)
	cfg := h.Gateway.SSO.Config
	cfg.Clients = cfg.Clients[1:]
	again := h.Replica(func(c *config.Config) { c.SSOServer = cfg })
	p.Service = again
	if status, _ := p.Token(code, state); status != 401 {
		t.Errorf("the token call of a client that was removed = %d, want 401", status)
	}
	if status, _ := p.UserInfo(given.AccessToken); status != 401 {
		t.Errorf("userinfo with the token of a client that was removed = %d, want 401", status)
	}
	if a := v.Get(p.AuthorizeURL()); a.StatusCode != 400 {
		t.Errorf("authorize of a client that was removed = %d, want 400", a.StatusCode)
	}
}

// TestOneCodeAtOnce tests T9: of 50 concurrent redemptions on two replicas with one store
// one succeeds; every later use revokes its tokens.
func TestOneCodeAtOnce(t *testing.T) {
	h, p, v := servertest.NewSSOSignedIn(t)
	second := h.Replica(func(*config.Config) {})
	for range 5 {
		code, state := v.SSOCode(p)
		winner := burst(p, code, state, h.URL, second)
		if winner.AccessToken == "" {
			continue
		}
		p.WantDead("the winner's tokens, whose code came again at the same moment", winner)
		if status, _ := p.Token(code, state); status != 400 {
			t.Errorf("a later use = %d, want 400", status)
		}
		p.WantDead("the winner's tokens after a later use", winner)
	}
}

// burst redeems a code 50 times concurrently on these replicas and expects one success.
func burst(p *servertest.SSOApp, code, state string, replicas ...string) (winner servertest.SSOToken) {
	p.T.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	start := make(chan struct{})
	for i := range 50 {
		q := p.As(p.ID, p.Secret)
		q.Service = replicas[i%len(replicas)]
		all.Go(func() {
			<-start
			status, body := q.Token(code, state)
			mu.Lock()
			defer mu.Unlock()
			switch status {
			case 200:
				won++
				json.Unmarshal([]byte(body), &winner)
			case 400:
			default:
				p.T.Errorf("one of 50 = %d %s, want 200 or 400", status, body)
			}
		})
	}
	close(start)
	all.Wait()
	if won != 1 {
		p.T.Errorf("%d of 50 redemptions succeeded, want one", won)
	}
	return winner
}
