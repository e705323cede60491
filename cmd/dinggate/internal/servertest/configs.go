package servertest

import (
	"net/http/httptest"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/simulator"
	"dinggate/proxy/access"
	"dinggate/proxy/accessrequest"
)

// AccessRequests lets people whom /admin/ refuses request access. The approvers are 李四 and
// the requester's own manager.
func AccessRequests(c *config.Config) {
	c.AccessRequests.AgentID = simulator.DemoAgentID
	for i := range c.Routes {
		if c.Routes[i].Path == "/admin/" {
			c.Routes[i].Request = &accessrequest.RouteConfig{
				Approvers: accessrequest.ApproversConfig{Users: []string{"lisi"}, Manager: true},
			}
		}
	}
}

// Administrators admits the demo's 主管, which is zhangsan, to the console.
func Administrators(c *config.Config) {
	c.Console.Access = &access.RuleConfig{Users: []string{"zhangsan"}}
}

// APITokens accepts the credentials of API clients. If dinggate is the service, only the
// platform's tokens are accepted.
func APITokens(c *config.Config) {
	if c.APITokens = true; c.SSOServer.On() {
		c.APITokenClients = []string{"platform"}
	}
}

// DingTalkEnviron is a configuration without a file, for commands that call DingTalk.
func DingTalkEnviron(t testing.TB, platform *simulator.Platform) []string {
	dingtalk := httptest.NewServer(platform)
	t.Cleanup(dingtalk.Close)
	return []string{"DINGGATE_PUBLIC_URL=http://127.0.0.1:1", "DINGGATE_DINGTALK_CLIENT_ID=" + simulator.DemoClientID,
		"DINGGATE_DINGTALK_CLIENT_SECRET=" + simulator.DemoClientSecret,
		"DINGGATE_DINGTALK_CORP_ID=" + simulator.DemoCorpID,
		"DINGGATE_DINGTALK_LOGIN_URL=" + dingtalk.URL, "DINGGATE_DINGTALK_API_URL=" + dingtalk.URL,
		"DINGGATE_DINGTALK_OAPI_URL=" + dingtalk.URL, "DINGGATE_COOKIE_SECRETS=" + config.NewSecret(), "DINGGATE_LANG=en"}
}

// FreshRoutes has routes that require a recent sign-in: within an hour, within a
// nanosecond (always too old), and within an hour with a silent sign-in allowed.
func FreshRoutes(c *config.Config) {
	fresh := func(path string, rule access.RuleConfig) config.Route {
		r := config.DefaultRoute()
		r.Path, r.Access, r.Upstream = path, &rule, c.Routes[0].Upstream
		return r
	}
	c.Routes = append([]config.Route{
		fresh("/recent/", access.RuleConfig{Fresh: time.Hour}),
		fresh("/now/", access.RuleConfig{Fresh: time.Nanosecond}),
		fresh("/quiet/", access.RuleConfig{Fresh: time.Hour, FreshSilent: true}),
	}, c.Routes...)
}

// Unchanged does not change the configuration.
func Unchanged(*config.Config) {}
