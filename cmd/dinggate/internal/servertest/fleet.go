package servertest

import (
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/realtool"
)

// Fleet is several processes of the real program behind one public_url, with one
// simulated DingTalk and one upstream.
type Fleet struct {
	t        *testing.T
	Platform *simulator.Platform
	Upstream *Upstream
	Environ  []string
}

// FleetURL is the public_url of a Fleet.
const FleetURL = "http://gate.test"

// NewFleet returns a Fleet without replicas; env is the common environment of all
// replicas.
func NewFleet(t *testing.T, env ...string) *Fleet {
	f := &Fleet{t: t, Platform: simulator.Demo(), Upstream: &Upstream{}}
	if err := f.Platform.ChangeApp(simulator.DemoClientID, func(a *simulator.App) {
		a.Redirects = []string{FleetURL + "/oauth2/callback"}
	}); err != nil {
		t.Fatal(err)
	}
	dingtalk := httptest.NewServer(f.Platform)
	app := httptest.NewServer(f.Upstream)
	t.Cleanup(func() { f.Platform.Close(); dingtalk.Close(); app.Close() })
	f.Environ = append([]string{
		"DINGGATE_PUBLIC_URL=" + FleetURL, "DINGGATE_UPSTREAM=" + app.URL, "DINGGATE_TRUSTED_PROXIES=127.0.0.1/32",
		"DINGGATE_DINGTALK_CLIENT_ID=" + simulator.DemoClientID,
		"DINGGATE_DINGTALK_CLIENT_SECRET=" + simulator.DemoClientSecret,
		"DINGGATE_DINGTALK_CORP_ID=" + simulator.DemoCorpID,
		"DINGGATE_DINGTALK_LOGIN_URL=" + dingtalk.URL, "DINGGATE_DINGTALK_API_URL=" + dingtalk.URL,
		"DINGGATE_DINGTALK_OAPI_URL=" + dingtalk.URL,
		"DINGGATE_COOKIE_SECRETS=" + base64.StdEncoding.EncodeToString([]byte("a key that all the replicas know")),
	}, env...)
	return f
}

// Replica starts one more process.
func (f *Fleet) Replica(env ...string) *Program {
	f.t.Helper()
	return Serve(f.t, append(f.Environ, env...)...)
}

// FleetClient is a browser that reaches the fleet through a load balancer. The test
// selects the replica of each request.
type FleetClient struct {
	*Client
	To *Program
}

func (f *Fleet) NewClient(to *Program) *FleetClient {
	c := &FleetClient{(&Env{T: f.t}).NewClient(), to}
	c.HTTP.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == strings.TrimPrefix(FleetURL, "http://")+":80" {
				addr = strings.TrimPrefix(c.To.Public, "http://")
			}
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, addr)
		},
	}
	return c
}

// Page loads a page from replica p.
func (c *FleetClient) Page(p *Program) Response {
	c.T.Helper()
	c.To = p
	return c.Get(FleetURL + "/")
}

// AuthRequest sends the authorization subrequest of nginx for this client to replica p.
func (c *FleetClient) AuthRequest(p *Program) Response {
	c.T.Helper()
	c.To = p
	return c.Get(FleetURL+"/oauth2/auth", "X-Original-URI: /", "X-Original-Method: GET",
		"X-Forwarded-Host: gate.test", "X-Forwarded-Proto: http")
}

// SignInAt signs a person in at replica p.
func (c *FleetClient) SignInAt(p *Program, person string) {
	c.T.Helper()
	c.To = p
	if a := c.SignIn(FleetURL+"/", person); a.StatusCode/100 != 3 || a.Header.Get("Location") != "/" {
		c.T.Fatalf("signing %s in = %d to %q: %.300s\n%s", person, a.StatusCode, a.Header.Get("Location"), a.Text,
			p.Log)
	}
	if a := c.Page(p); a.StatusCode != 200 {
		c.T.Fatalf("the page after the sign-in = %d, want 200\n%s", a.StatusCode, p.Log)
	}
}

// SignOutAt signs out at replica p.
func (c *FleetClient) SignOutAt(p *Program) {
	c.T.Helper()
	c.To = p
	if a := c.Do("POST", FleetURL+"/oauth2/sign_out", "", "Sec-Fetch-Site: same-origin"); a.StatusCode >= 400 {
		c.T.Fatalf("signing out = %d %.300s\n%s", a.StatusCode, a.Text, p.Log)
	}
}

// Copy returns another browser with the same cookies: an attacker's, or a second tab that
// receives no Set-Cookie of the first.
func (f *Fleet) Copy(c *FleetClient) *FleetClient {
	other := f.NewClient(c.To)
	address, err := http.NewRequest("GET", FleetURL, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	other.HTTP.Jar.SetCookies(address.URL, c.HTTP.Jar.Cookies(address.URL))
	return other
}

// DurableRedis writes everything to disk before it answers.
func DurableRedis(t *testing.T) *realtool.Redis {
	return realtool.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
}
