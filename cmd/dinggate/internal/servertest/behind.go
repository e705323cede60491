package servertest

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
)

// AddToken adds a valid access token of a person to the service.
func (s *SSOService) AddToken(token, username string) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.Tokens[token] = SSOUser{username, username + "@yunfan.example"}
}

// Hang makes userinfo wait until the caller has disconnected, and counts these callers.
func (s *SSOService) Hang(t *testing.T) (gone *atomic.Int32) {
	gone = &atomic.Int32{}
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	s.HangUserInfo.Store(func(r *http.Request) {
		select {
		case <-r.Context().Done():
			gone.Add(1)
		case <-end:
		}
	})
	return gone
}

// NewBehindService returns an Env that signs people in at a service written from the
// document alone. The service signs them in at the simulator.
func NewBehindService(t testing.TB, change ...func(*config.Config)) (*Env, *SSOService) {
	var s *SSOService
	h := New(t, func(c *config.Config) {
		s = NewSSOService(t, c.DingTalk.APIURL, simulator.DemoClientID, Canary+"-app-secret")
		c.DingTalk = config.Default().DingTalk
		c.SSO.URL, c.SSO.ClientID, c.SSO.ClientSecret = s.URL, s.ID, conf.NewSecret(s.Password)
		c.Routes = c.Routes[2:] // the service names no departments
		for _, f := range change {
			f(c)
		}
	})
	return h, s
}

// SignInAtService follows a sign-in from a page of dinggate through the service and
// DingTalk to dinggate's callback, and returns the callback's response.
func (v *Client) SignInAtService(address, person string) Response {
	v.T.Helper()
	return v.Get(v.ServiceCallback(address, person))
}

// ServiceCallback returns the URL of the callback.
func (v *Client) ServiceCallback(address, person string) string {
	v.T.Helper()
	a := v.Get(address)
	if a.StatusCode != http.StatusFound || !strings.Contains(a.Header.Get("Location"), "/dingtalk/authorize?") {
		v.T.Fatalf("GET %s = %d to %q, want 302 to the service", address, a.StatusCode, a.Header.Get("Location"))
	}
	a = v.Get(a.Header.Get("Location"))
	a = v.Get(v.Choose(a.Header.Get("Location"), person))
	if a.StatusCode != http.StatusFound {
		v.T.Fatalf("the service's callback = %d %s", a.StatusCode, a.Text)
	}
	return a.Header.Get("Location")
}
