package dingtalk

import (
	"fmt"
	"strings"
	"testing"

	"dinggate/internal/conf"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) {}, ""},
		{func(c *Config) { c.ClientID = "" }, "dingtalk.client_id is missing"},
		{func(c *Config) { c.ClientID = "suite123" }, "warning: dingtalk.client_id does not begin with `ding`"},
		{func(c *Config) { c.ClientID = "ding x" }, "dingtalk.client_id contains a space, a control character or a character outside ASCII"},
		{func(c *Config) { c.ClientSecret = conf.Secret{} }, "dingtalk.client_secret is missing"},
		{func(c *Config) { c.ClientSecret = conf.NewSecret("x\n") }, "dingtalk.client_secret contains a space, a control character or a character outside ASCII"},
		{func(c *Config) { c.ClientSecret = conf.NewSecret("\ufeffx") }, "dingtalk.client_secret contains a space, a control character or a character outside ASCII"},
		{func(c *Config) { c.CorpID = "ding１" }, "dingtalk.corp_id contains a space, a control character or a character outside ASCII"},
		{func(c *Config) { c.CorpID = "" }, "dingtalk.corp_id is missing"},
		{func(c *Config) { c.Username = "mobile" },
			"dingtalk.username is not one of userid, job_number, email, email_localpart, name, unionid"},
		{func(c *Config) { c.Username = "" }, ""},
		{func(c *Config) { c.APIURL = "" }, ""},
		{func(c *Config) { c.APIURL = "http://api.dingtalk.com" }, "dingtalk.api_url must be https"},
		{func(c *Config) { c.APIURL = "http://127.0.0.1:8080" }, ""},
		{func(c *Config) { c.APIURL = "http://[::1]:8080/" }, ""},
		{func(c *Config) { c.LoginURL = "http://localhost:1" }, ""},
		{func(c *Config) { c.LoginURL = "http://localhost.evil.test" }, "dingtalk.login_url must be https"},
		{func(c *Config) { c.OAPIURL = "oapi.dingtalk.com" }, "dingtalk.oapi_url is not a URL"},
		{func(c *Config) { c.OAPIURL = "https://user@oapi.dingtalk.com" }, "dingtalk.oapi_url must be a bare address"},
		{func(c *Config) { c.OAPIURL = "https://oapi.dingtalk.com?x=1" }, "dingtalk.oapi_url must be a bare address"},
		{func(c *Config) { c.OAPIURL = "file:///etc/passwd" }, "dingtalk.oapi_url is not a URL"},
	} {
		config := Defaults()
		config.ClientID, config.ClientSecret, config.CorpID = "dingabc", conf.NewSecret("canary"), "dingcorp"
		c.change(&config)
		var p conf.Problems
		config.Check(&p, "dingtalk")
		got := ""
		if all := p.All(); len(all) > 0 {
			got = fmt.Sprint(all)[1:]
		}
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) || strings.Contains(got, "canary") {
			t.Errorf("Check = %q, want %q", got, c.want)
		}
	}
	var p conf.Problems
	if Defaults().Check(&p, "dingtalk"); p.Mistakes() != 3 {
		t.Errorf("Check of the defaults = %v, want three mistakes", p.All())
	}
}
