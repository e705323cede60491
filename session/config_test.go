package session

import (
	"strings"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/keyring"
)

func TestCookieCheck(t *testing.T) {
	good := secret(1).Reveal()
	for _, c := range []struct {
		secret, domain, sameSite, want string // want: part of the mistake; "" if none
	}{
		{good, "", "lax", ""},
		{good, "example.com", "", ""},
		{good, ".example.com", "strict", ""},
		{strings.TrimRight(good, "="), "", "none", ""},
		{" " + strings.NewReplacer("+", "-", "/", "_").Replace(good) + "\n", "", "Lax", ""},
		{"", "", "", "cookie.secrets[0] is empty"},
		{good[:20], "", "", "cookie.secrets[0] is not 32 bytes"},
		{good + "AAAA", "", "", "is not 32 bytes"},
		{"CANARY-not base64 at all, but long enough.", "", "", "is not 32 bytes"},
		{keyring.ExampleSecret, "", "", "is the example's"},
		{strings.TrimRight(keyring.ExampleSecret, "="), "", "", "is the example's"},
		{strings.Repeat("A", 43) + "=", "", "", "is one byte repeated"},
		{good, "https://example.com", "", "cookie.domain is not a domain"},
		{good, "example.com:443", "", "cookie.domain"},
		{good, "example.com.", "", "cookie.domain"},
		{good, "com", "", "cookie.domain"},
		{good, ".com", "", "cookie.domain"},
		{good, "10.0.0.1", "", "cookie.domain"},
		{good, "a..example.com", "", "cookie.domain"},
		{good, "example.com; Secure", "", "cookie.domain"},
		{good, "", "relaxed", "cookie.same_site is not"},
	} {
		var p conf.Problems
		CookieConfig{Secrets: []conf.Secret{conf.NewSecret(c.secret)}, Domain: c.domain, SameSite: c.sameSite}.Check(&p, "cookie")
		wantFinding(t, &p, c.want)
	}
	var p conf.Problems
	CookieConfig{}.Check(&p, "cookie")
	wantFinding(t, &p, `cookie.secrets is empty; generate one with "dinggate keygen"`)
	p = conf.Problems{}
	CookieConfig{Secrets: make([]conf.Secret, 9)}.Check(&p, "cookie")
	if p.Mistakes() != 10 {
		t.Errorf("Check(9 empty secrets) found %d mistakes, want 10", p.Mistakes())
	}
	p = conf.Problems{}
	CookieConfig{Secrets: []conf.Secret{secret(1), secret(1)}}.Check(&p, "cookie")
	wantFinding(t, &p, "warning: cookie.secrets[1] is repeated")
}

func TestSessionCheck(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.Idle = c.Lifetime }, ""},
		{func(c *Config) { c.Grace = 0 }, ""},
		{func(c *Config) { c.Store = "" }, ""},
		{func(c *Config) { c.Store = StoreRedis }, ""},
		{func(c *Config) { c.Lifetime = 0 }, "session.lifetime must be longer"},
		{func(c *Config) { c.Idle = -1 }, "session.idle is negative"},
		{func(c *Config) { c.Idle = 25 * time.Hour }, "session.idle is longer than session.lifetime (24h0m0s)"},
		{func(c *Config) { c.Recheck = 0 }, "session.recheck must be longer"},
		{func(c *Config) { c.Recheck = 25 * time.Hour }, "warning: session.recheck"},
		{func(c *Config) { c.Grace = -1 }, "session.grace is negative"},
		{func(c *Config) { c.Store = "bolt" }, "session.store is not cookie or redis"},
	} {
		config := Defaults()
		c.change(&config)
		var p conf.Problems
		config.Check(&p, "session")
		wantFinding(t, &p, c.want)
	}
}

func wantFinding(t *testing.T, p *conf.Problems, want string) {
	t.Helper()
	all := p.All()
	if want == "" && len(all) == 0 {
		return
	}
	if want == "" || len(all) != 1 || !strings.Contains(all[0].String(), want) || strings.Contains(all[0].String(), "CANARY") {
		t.Errorf("Check() found %v, want %q", all, want)
	}
}
