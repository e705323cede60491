package servertest

import (
	"encoding/json"
	"net/url"
	"regexp"
)

// OIDCSecret is the secret of OpenID Connect clients.
const OIDCSecret = "oidc-secret-0123456789abcdef"

// StartDevice signs in a program without a browser, and returns its access token.
func (v *Client) StartDevice(h *Env, id string) string {
	t := v.T
	t.Helper()
	client := BasicAuth(id, OIDCSecret)
	var begun struct {
		Device string `json:"device_code"`
		User   string `json:"user_code"`
	}
	a := h.NewClient().Submit(h.URL+"/oidc/device_authorization", url.Values{"scope": {"openid offline_access"}}, client)
	if err := json.Unmarshal([]byte(a.Text), &begun); err != nil {
		t.Fatalf("device_authorization = %d %s", a.StatusCode, a.Text)
	}
	page := v.Get(h.URL + "/oidc/device?user_code=" + begun.User)
	field := regexp.MustCompile(`name="device" value="([^"]+)"`).FindStringSubmatch(page.Text)
	if field == nil {
		t.Fatalf("the device page = %d %s", page.StatusCode, page.Text)
	}
	if a := v.Submit(h.URL+"/oidc/device", url.Values{"device": {field[1]}, "decision": {"allow"}}); a.StatusCode != 200 {
		t.Fatalf("confirming = %d %s", a.StatusCode, a.Text)
	}
	a = h.NewClient().Submit(h.URL+"/oidc/token", url.Values{"device_code": {begun.Device},
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}}, client)
	var got struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(a.Text), &got); err != nil || got.Access == "" {
		t.Fatalf("the device's tokens = %d %s", a.StatusCode, a.Text)
	}
	return got.Access
}
