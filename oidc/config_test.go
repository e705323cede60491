package oidc

import (
	"slices"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/proxy/access"
)

func TestConfig(t *testing.T) {
	good := ClientConfig{ClientID: "a", ClientSecret: conf.NewSecret(appSecret), RedirectURIs: []string{callback}}
	for name, c := range map[string]struct {
		change func(*Config)
		key    string // of the mistake; "" for none
	}{
		"good":         {func(*Config) {}, ""},
		"no client id": {func(c *Config) { c.Clients[0].ClientID = "" }, "oidc.clients[0].client_id"},
		"a colon":      {func(c *Config) { c.Clients[0].ClientID = "a:b" }, "oidc.clients[0].client_id"},
		"twice":        {func(c *Config) { c.Clients = append(c.Clients, good) }, "oidc.clients[1].client_id"},
		"fragment": {func(c *Config) { c.Clients[0].RedirectURIs = []string{callback + "#"} },
			"oidc.clients[0].redirect_uris"},
		"javascript": {func(c *Config) { c.Clients[0].RedirectURIs = []string{"javascript:alert(1)"} },
			"oidc.clients[0].redirect_uris"},
		"data": {func(c *Config) { c.Clients[0].RedirectURIs = []string{"data:text/html,x"} },
			"oidc.clients[0].redirect_uris"},
		"relative": {func(c *Config) { c.Clients[0].RedirectURIs = []string{"/callback"} },
			"oidc.clients[0].redirect_uris"},
		"native": {func(c *Config) { c.Clients[0].RedirectURIs = []string{"com.example.app:/cb"} }, ""},
		"loopback": {func(c *Config) {
			c.Clients[0].RedirectURIs = []string{"http://127.0.0.1/cb", "http://[::1]/cb", "http://localhost/cb"}
		}, ""},
		"logout": {func(c *Config) { c.Clients[0].BackchannelLogoutURI = "com.example.app:/cb" },
			"oidc.clients[0].backchannel_logout_uri"},
		"groups":    {func(c *Config) { c.Clients[0].Groups = []string{"teams"} }, "oidc.clients[0].groups"},
		"algorithm": {func(c *Config) { c.Clients[0].SigningAlg = "HS256" }, "oidc.clients[0].signing_alg"},
		"pkce":      {func(c *Config) { c.Clients[0].PKCE = "plain" }, "oidc.clients[0].pkce"},
		"public rule": {func(c *Config) { c.Clients[0].Access = &access.RuleConfig{Named: "public"} },
			"oidc.clients[0].access"},
		"networks": {func(c *Config) { c.Clients[0].Access = &access.RuleConfig{Networks: []string{"10.0.0.0/8"}} },
			"oidc.clients[0].access"},
		"an empty rule": {func(c *Config) { c.Clients[0].Access = &access.RuleConfig{} }, "oidc.clients[0].access"},
		"a bad department": {func(c *Config) { c.Clients[0].Access = &access.RuleConfig{Departments: []string{"x"}} },
			"oidc.clients[0].access.departments"},
		"code":       {func(c *Config) { c.Code = time.Hour }, "oidc.code"},
		"id token":   {func(c *Config) { c.IDToken = 0 }, "oidc.id_token"},
		"refresh":    {func(c *Config) { c.RefreshToken = time.Second }, "oidc.refresh_token"},
		"keys alone": {func(c *Config) { c.Clients, c.KeyFiles = nil, []string{"k"} }, "oidc.clients"},
	} {
		config := Defaults()
		config.Clients = []ClientConfig{good}
		c.change(&config)
		var p conf.Problems
		config.Check(&p, "oidc")
		var mistakes []string
		for _, one := range p.All() {
			if !one.Warning {
				mistakes = append(mistakes, one.Key)
			}
		}
		if c.key == "" && len(mistakes) > 0 || c.key != "" && !slices.Equal(mistakes, []string{c.key}) {
			t.Errorf("%s: %v, want %q", name, p.All(), c.key)
		}
	}
}
