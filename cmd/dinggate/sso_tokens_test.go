package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/telemetry"
)

// tokens redeems a code and fails the test when that fails.
func (p *thirdParty) redeem(code, state string) platformToken {
	p.t.Helper()
	status, body := p.token(code, state)
	return p.read(status, body)
}

func (p *thirdParty) read(status int, body string) (token platformToken) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(body), &token); err != nil || status != http.StatusOK ||
		token.AccessToken == "" || token.RefreshToken == "" {
		p.t.Fatalf("the token call = %d %s, want tokens", status, body)
	}
	return token
}

func (p *thirdParty) refresh(token string) (int, string) {
	return p.post("grant_type=refresh_token&refresh_token=" + token)
}

// wants checks what userinfo and refresh say of a token.
func (p *thirdParty) dead(what string, token platformToken) {
	p.t.Helper()
	if status, body := p.userinfo(token.AccessToken); status != 401 {
		p.t.Errorf("%s: userinfo = %d %s, want 401", what, status, body)
	}
	if status, body := p.refresh(token.RefreshToken); status != 400 || !strings.Contains(body, "invalid_grant") {
		p.t.Errorf("%s: refresh = %d %s, want 400 invalid_grant", what, status, body)
	}
}

func (p *thirdParty) alive(what string, token platformToken) {
	p.t.Helper()
	if status, body := p.userinfo(token.AccessToken); status != 200 {
		p.t.Errorf("%s: userinfo = %d %s, want 200", what, status, body)
	}
}

// as is the same platform with another client's credentials.
func (p *thirdParty) as(id, secret string) *thirdParty {
	return &thirdParty{t: p.t, service: p.service, base: p.base, id: id, secret: secret}
}

func signedIn(t *testing.T, change ...func(*config.Config)) (*testEnv, *thirdParty, *visitor) {
	h, p := ssoTestEnv(t, change...)
	v := h.visitor()
	v.signIn(h.base+"/", "zhangsan")
	return h, p, v
}

func TestCodeTwice(t *testing.T) { // T8
	h, p, v := signedIn(t)
	code, state := v.codeFor(p)
	first := p.redeem(code, state)
	p.alive("after the first use", first)
	second := p.read(p.refresh(first.RefreshToken))
	if status, body := p.token(code, state); status != 400 || !strings.Contains(body, "invalid_grant") {
		t.Errorf("the second use = %d %s, want 400 invalid_grant", status, body)
	}
	p.dead("what the first use gave", first)
	p.dead("what came of it later", second)
	waitFor(t, "an audit line", func() bool { return strings.Contains(h.log.String(), "sso_code_reused") })
	if a := v.get(h.base + "/"); a.StatusCode != 200 {
		t.Errorf("the person's own session = %d, want untouched", a.StatusCode)
	}
}

func TestCodeOfAnotherClient(t *testing.T) { // T7
	h, p, v := signedIn(t)
	thief := p.as("other", "other-secret-0123456789")
	code, state := v.codeFor(p)
	if status, body := thief.token(code, state); status != 400 || !strings.Contains(body, "invalid_grant") {
		t.Errorf("another client = %d %s, want 400 invalid_grant", status, body)
	}
	if status, _ := p.token(code, state); status != 400 {
		t.Errorf("the code lives on after another client tried it: %d", status)
	}
	waitFor(t, "an audit line", func() bool { return strings.Contains(h.log.String(), "sso_code_of_another_client") })
	code, state = v.codeFor(p)
	given := p.redeem(code, state)
	before := strings.Count(h.log.String(), "sso_code_of_another_client")
	if status, body := thief.token(code, state); status != 400 || !strings.Contains(body, "invalid_grant") {
		t.Errorf("another client with a used code = %d %s, want 400 invalid_grant", status, body)
	}
	waitFor(t, "an audit line about the used code", func() bool {
		return strings.Count(h.log.String(), "sso_code_of_another_client") == before+1
	})
	if !strings.Contains(h.log.String(), `"app":"other","owner":"platform"`) {
		t.Errorf("the audit line does not tell both clients")
	}
	p.alive("tokens whose code another client sent", given)
	given = p.read(p.refresh(given.RefreshToken))
	if status, _ := p.token(code, state); status != 400 { // its own client
		t.Errorf("the client itself with the used code = %d, want 400", status)
	}
	p.dead("tokens whose code their own client sent again", given)
	code, state = v.codeFor(p)
	given = p.redeem(code, state)
	if status, _ := thief.refresh(given.RefreshToken); status != 400 { // T20
		t.Errorf("another client's refresh = %d, want 400", status)
	}
	p.alive("after another client's refresh", given)
	p.read(p.refresh(given.RefreshToken))
	if status, _ := thief.userinfo(given.AccessToken); status != 200 { // T18: a bearer token
		t.Errorf("userinfo knows a bearer by its client")
	}
}

func TestCodeTooOld(t *testing.T) { // T9, and together with another client T7
	h, p, v := signedIn(t)
	code, state := v.codeFor(p)
	stolen, theirs := v.codeFor(p)
	h.gate.SSO.Now = func() time.Time { return time.Now().Add(61 * time.Second) }
	if status, body := p.token(code, state); status != 400 || !strings.Contains(body, "invalid_grant") {
		t.Errorf("after 61 s = %d %s, want 400 invalid_grant", status, body)
	}
	if status, body := p.as("other", "other-secret-0123456789").token(stolen, theirs); status != 400 ||
		!strings.Contains(body, "invalid_grant") {
		t.Errorf("another client after 61 s = %d %s, want 400", status, body)
	}
	h.gate.SSO.Now = func() time.Time { return time.Now().Add(59 * time.Second) }
	code, state = v.codeFor(p)
	given := p.redeem(code, state)
	h.gate.SSO.Now = func() time.Time { return time.Now().Add(59*time.Second + 2*time.Hour - time.Second) }
	p.alive("a second before its end", given)
	h.gate.SSO.Now = func() time.Time { return time.Now().Add(60*time.Second + 2*time.Hour) }
	if status, _ := p.userinfo(given.AccessToken); status != 401 {
		t.Errorf("after two hours userinfo = %d, want 401", status)
	}
	again := p.read(p.refresh(given.RefreshToken))
	p.alive("a refreshed one", again)
	h.gate.SSO.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	p.dead("after the sign-in's own lifetime", again)
}

func TestRefreshRotates(t *testing.T) { // T20, CVE-2026-9097
	h, p, v := signedIn(t)
	code, state := v.codeFor(p)
	one := p.redeem(code, state)
	two := p.read(p.refresh(one.RefreshToken))
	three := p.read(p.refresh(two.RefreshToken))
	if one.RefreshToken == two.RefreshToken || two.AccessToken == three.AccessToken {
		t.Errorf("tokens do not rotate")
	}
	p.alive("the newest", three)
	if status, body := p.refresh(one.RefreshToken); status != 400 || !strings.Contains(body, "invalid_grant") {
		t.Errorf("an old refresh token = %d %s, want 400", status, body)
	}
	p.dead("the newest after reuse of an old one", three)
	waitFor(t, "an audit line", func() bool { return strings.Contains(h.log.String(), "sso_refresh_reused") })

	code, state = v.codeFor(p)
	given := p.redeem(code, state)
	// T19
	for what, token := range map[string]string{"access": given.AccessToken, "code": code,
		"cut": given.RefreshToken[:20], "case": strings.ToUpper(given.RefreshToken),
		"longer": given.RefreshToken + "A", "garbage": strings.Repeat("A", len(given.RefreshToken))} {
		if status, _ := p.refresh(token); status != 400 {
			t.Errorf("refresh with %s = %d, want 400", what, status)
		}
	}
	p.alive("after all that", given)
}

// TestUserinfoTable: T16, T17, T19, and one body for all that is wrong.
func TestUserinfoTable(t *testing.T) {
	h, p, v := signedIn(t)
	s := &table{t: t, h: h}
	code, state := v.codeFor(p)
	waiting, _ := v.codeFor(p)
	given := p.redeem(code, state)
	ended := p.redeem(v.codeFor(p))
	p.post("grant_type=refresh_token&refresh_token=" + ended.RefreshToken)
	p.post("grant_type=refresh_token&refresh_token=" + ended.RefreshToken)
	token := given.AccessToken
	flip := func(at int) string {
		b := []byte(token)
		b[at] ^= 1
		return string(b)
	}
	bodies := map[string]bool{}
	rows := []struct {
		name    string
		headers []string
		status  int
	}{
		{"bare", []string{"Authorization: " + token}, 200},
		{"Bearer", []string{"Authorization: Bearer " + token}, 200},
		{"bearer", []string{"Authorization: bearer " + token}, 200},
		{"two blanks", []string{"Authorization: Bearer  " + token}, 200},
		{"none", nil, 401}, {"empty", []string{"Authorization: "}, 401},
		{"scheme alone", []string{"Authorization: Bearer"}, 401},
		{"Basic", []string{"Authorization: Basic " + token}, 401},
		{"Basic of the client", []string{basicHeader(p.id + ":" + p.secret)}, 401},
		{"Token", []string{"Authorization: Token " + token}, 401},
		{"Digest", []string{"Authorization: Digest " + token}, 401},
		{"quotes", []string{`Authorization: "` + token + `"`}, 401},
		{"Bearer quotes", []string{`Authorization: Bearer "` + token + `"`}, 401},
		{"capitals", []string{"Authorization: " + strings.ToUpper(token)}, 401},
		{"small", []string{"Authorization: " + strings.ToLower(token)}, 401},
		{"twice", []string{"Authorization: " + token, "Authorization: " + token}, 401},
		{"a list", []string{"Authorization: " + token + ", " + token}, 401},
		{"two tokens", []string{"Authorization: Bearer " + token + " " + token}, 401},
		{"another header", []string{"X-Authorization: " + token}, 401},
		{"access_token header", []string{"Access-Token: " + token}, 401},
		{"cut", []string{"Authorization: " + token[:len(token)-1]}, 401},
		{"longer", []string{"Authorization: " + token + "A"}, 401},
		{"padded", []string{"Authorization: " + token + "="}, 401},
		{"one bit", []string{"Authorization: " + flip(0)}, 401},
		{"one bit of the end", []string{"Authorization: " + flip(len(token)-1)}, 401},
		{"one bit in the middle", []string{"Authorization: " + flip(len(token)/2)}, 401},
		{"unknown", []string{"Authorization: " + strings.Repeat("A", len(token))}, 401},
		{"40 KiB", []string{"Authorization: " + strings.Repeat("A", 40_000)}, 401},
		{"refresh", []string{"Authorization: " + given.RefreshToken}, 401},
		{"used code", []string{"Authorization: " + code}, 401}, {"code", []string{"Authorization: " + waiting}, 401},
		{"taken back", []string{"Authorization: " + ended.AccessToken}, 401},
		{"session cookie", []string{"Authorization: " + sessionCookie(t, v, h)}, 401},
	}
	for _, row := range rows {
		a := s.quiet(row.name, func() answer {
			c := h.visitor()
			c.header = http.Header{"Origin": {"https://evil.test"}}
			return c.do("GET", h.base+"/dingtalk/userinfo", "", row.headers...)
		})
		if a.StatusCode != row.status || a.Header.Get("Location") != "" {
			t.Errorf("%s = %d %s, want %d", row.name, a.StatusCode, a.body, row.status)
		}
		if row.status == 401 {
			bodies[a.body] = true
			if !strings.HasPrefix(a.Header.Get("Www-Authenticate"), "Bearer ") {
				t.Errorf("%s: WWW-Authenticate %q", row.name, a.Header.Get("Www-Authenticate"))
			}
		}
	}
	for name, run := range map[string]func() answer{
		"in the query": func() answer {
			return h.visitor().get(h.base + "/dingtalk/userinfo?access_token=" + token)
		},
		"the cookie alone":  func() answer { return v.get(h.base + "/dingtalk/userinfo") },
		"in a path segment": func() answer { return h.visitor().get(h.base + "/dingtalk/userinfo?" + token) },
	} {
		a := s.quiet(name, run)
		bodies[a.body] = true
		if a.StatusCode != 401 {
			t.Errorf("%s = %d %s, want 401", name, a.StatusCode, a.body)
		}
	}
	if len(bodies) != 1 {
		t.Errorf("401 has %d bodies, want one: %v", len(bodies), bodies)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		a := s.quiet(method, func() answer {
			return h.visitor().do(method, h.base+"/dingtalk/userinfo", "", "Authorization: "+token)
		})
		if a.StatusCode != 405 || a.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s = %d with Allow %q, want 405", method, a.StatusCode, a.Header.Get("Allow"))
		}
	}
	if s.rows < 40 {
		t.Errorf("%d rows, want at least 40", s.rows)
	}
}

func sessionCookie(t *testing.T, v *visitor, h *testEnv) string {
	for _, c := range v.client.Jar.Cookies(mustURL(t, h.base)) {
		if c.Name == "dinggate" {
			return c.Value
		}
	}
	t.Fatal("no session cookie")
	return ""
}

func TestTokenAnswer(t *testing.T) { // T15, T3
	h, p, v := signedIn(t)
	code, state := v.codeFor(p)
	c := h.visitor()
	a := c.do("POST", h.base+"/dingtalk/token", "code="+code+"&state="+state, basicHeader(p.id+":"+p.secret),
		"Content-Type: text/plain")
	var got map[string]any
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range got {
		names = append(names, name)
	}
	slices.Sort(names)
	if fmt.Sprint(names) != "[access_token expires_in expiry_in refresh_token token_type]" ||
		got["expiry_in"] != float64(7200) || got["expires_in"] != float64(7200) || got["token_type"] != "Bearer" {
		t.Errorf("the answer is %s, want the document's names and numbers", a.body)
	}
	if a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", a.Header.Get("Cache-Control"))
	}
	seen := map[string]bool{}
	for range 50 {
		code, _ := v.codeFor(p)
		if seen[code] || len(code) < 22 || strings.Contains(code, "zhangsan") {
			t.Errorf("code %q", code)
		}
		seen[code] = true
	}
}

// TestSignOutEndsTokens: what came of a sign-in ends with it (T20), and one
// that is over gives no code.
func TestSignOutEndsTokens(t *testing.T) {
	h, p, v := signedIn(t)
	given := p.redeem(v.codeFor(p))
	waiting, state := v.codeFor(p)
	other := h.visitor()
	other.signIn(h.base+"/", "zhangsan")
	others := p.redeem(other.codeFor(p))
	if a := v.do("POST", h.base+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin"); a.StatusCode >= 400 {
		t.Fatalf("sign-out = %d", a.StatusCode)
	}
	p.dead("after the sign-out", given)
	if status, _ := p.token(waiting, state); status != 400 {
		t.Errorf("a code from before the sign-out = %d, want 400", status)
	}
	p.alive("the person's other sign-in", others)
}

// TestLeaverAtThirdParty: T21: who left is nobody within session.recheck; while
// DingTalk is away the last facts stand for the grace, then it is 503.
func TestLeaverAtThirdParty(t *testing.T) {
	h, p := ssoTestEnv(t, func(c *config.Config) {
		c.Session.Recheck = 100 * time.Millisecond
		c.Session.Grace = 1500 * time.Millisecond
	})
	v, w := h.visitor(), h.visitor()
	v.signIn(h.base+"/", "zhangsan")
	w.signIn(h.base+"/", "lisi")
	gone, stays := p.redeem(v.codeFor(p)), p.redeem(w.codeFor(p))
	if err := h.platform.Leave("zhangsan"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "userinfo of a leaver", func() bool { status, _ := p.userinfo(gone.AccessToken); return status == 401 })
	p.dead("a leaver's tokens", gone)
	p.alive("a colleague", stays)
	h.platform.Fault(simulator.Fault{Do: simulator.Status(503)})
	seen := map[int]bool{}
	waitFor(t, "userinfo while DingTalk is away for longer than the grace", func() bool {
		r, _ := http.NewRequest("GET", h.base+"/dingtalk/userinfo", nil)
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
	if status, body := p.refresh(stays.RefreshToken); status != 503 ||
		!strings.Contains(body, "temporarily_unavailable") {
		t.Errorf("refresh while DingTalk is away = %d %s, want 503", status, body)
	}
	h.platform.ClearFaults()
	waitFor(t, "the colleague afterwards", func() bool {
		status, _ := p.userinfo(stays.AccessToken)
		return status == 200
	})
	p.read(p.refresh(stays.RefreshToken)) // nothing was used up meanwhile
}

// TestWrongSecrets: T5: slower for one client at one address, and nobody is
// locked out.
func TestWrongSecrets(t *testing.T) {
	h, p, v := signedIn(t)
	from := func(address, secret string) (int, time.Duration) {
		c := h.visitor()
		began := time.Now()
		a := c.do("POST", h.base+"/dingtalk/token", "code=x&state=y", basicHeader(p.id+":"+secret),
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
	if status, _ := from("192.0.2.1", p.secret); status != 400 {
		t.Errorf("the right secret from there = %d, want 400 for the code alone", status)
	}
	p.redeem(v.codeFor(p)) // from 127.0.0.1
}

func TestClientRemoved(t *testing.T) { // T24
	h, p, v := signedIn(t)
	given := p.redeem(v.codeFor(p))
	code, state := v.codeFor(p)
	cfg := h.gate.SSO.Config
	cfg.Clients = cfg.Clients[1:]
	again := h.replica(func(c *config.Config) { c.SSOServer = cfg })
	p.service = again
	if status, _ := p.token(code, state); status != 401 {
		t.Errorf("the token call of a client that was removed = %d, want 401", status)
	}
	if status, _ := p.userinfo(given.AccessToken); status != 401 {
		t.Errorf("userinfo with the token of a client that was removed = %d, want 401", status)
	}
	if a := v.get(p.authorize()); a.StatusCode != 400 {
		t.Errorf("authorize of a client that was removed = %d, want 400", a.StatusCode)
	}
}

// TestOneCodeAtOnce: T9: 50 redemptions at once on two replicas over one
// store: one succeeds; every later use takes back what it gave.
func TestOneCodeAtOnce(t *testing.T) {
	h, p, v := signedIn(t)
	second := h.replica(func(*config.Config) {})
	for range 5 {
		code, state := v.codeFor(p)
		winner := burst(p, code, state, h.base, second)
		if winner.AccessToken == "" {
			continue
		}
		p.dead("the winner's tokens, whose code came again at the same moment", winner)
		if status, _ := p.token(code, state); status != 400 {
			t.Errorf("a later use = %d, want 400", status)
		}
		p.dead("the winner's tokens after a later use", winner)
	}
}

// burst redeems a code 50 times at once on these replicas and wants one winner.
func burst(p *thirdParty, code, state string, replicas ...string) (winner platformToken) {
	p.t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	start := make(chan struct{})
	for i := range 50 {
		q := p.as(p.id, p.secret)
		q.service = replicas[i%len(replicas)]
		all.Go(func() {
			<-start
			status, body := q.token(code, state)
			mu.Lock()
			defer mu.Unlock()
			switch status {
			case 200:
				won++
				json.Unmarshal([]byte(body), &winner)
			case 400:
			default:
				p.t.Errorf("one of 50 = %d %s, want 200 or 400", status, body)
			}
		})
	}
	close(start)
	all.Wait()
	if won != 1 {
		p.t.Errorf("%d of 50 redemptions succeeded, want one", won)
	}
	return winner
}

// replica serves the same house a second time, over the same stores, and gives
// its address.
func (h *testEnv) replica(change func(*config.Config)) string {
	cfg := *h.cfg
	change(&cfg)
	kit := h.kit
	kit.Metrics = telemetry.NewMetrics("test", "", func() uint64 { return 0 })
	state := server.NewState(h.stores, kit)
	g, err := server.New(&cfg, state)
	if err != nil {
		h.t.Fatal(err)
	}
	state.Serve(g)
	server := httptest.NewServer(state)
	h.t.Cleanup(server.Close)
	return server.URL
}
