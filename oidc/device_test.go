package oidc

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestDeviceFlow is threats E10.
func TestDeviceFlow(t *testing.T) {
	e := newEnv(t)
	begin := func() map[string]any {
		return object(t, e.call("POST", PathDeviceCode, "client_id=spa&scope=openid+profile+offline_access"))
	}
	poll := func(code any) map[string]any {
		return object(
			t,
			e.call(
				"POST",
				PathToken,
				url.Values{"grant_type": {grantDevice}, "client_id": {"spa"}, "device_code": {code.(string)}}.Encode(),
			),
		)
	}
	d := begin()
	if d["verification_uri"] != e.url+PathDevice || d["interval"] != 5.0 || d["expires_in"] != 600.0 ||
		len(d["user_code"].(string)) != 9 {
		t.Fatalf("device_authorization = %v", d)
	}
	if v := poll(d["device_code"]); v["error"] != "authorization_pending" {
		t.Errorf("first poll = %v", v)
	}
	e.offset = 2 * time.Second
	if v := poll(d["device_code"]); v["error"] != "slow_down" {
		t.Errorf("too soon = %v", v)
	}
	e.offset += 7 * time.Second
	if v := poll(d["device_code"]); v["error"] != "slow_down" {
		t.Errorf("too soon after a slow_down = %v", v)
	}
	e.offset += 20 * time.Second
	if v := poll(d["device_code"]); v["error"] != "authorization_pending" {
		t.Errorf("in time = %v", v)
	}
	if a, v := e.tokens(redemption(d["device_code"].(string)), "app", appSecret); a.status != 400 {
		t.Errorf("a device code as authorization code = %v", v)
	}
	complete := strings.TrimPrefix(d["verification_uri_complete"].(string), e.url)
	if a := e.browser("GET", complete, "", ""); a.status != 302 || e.signIns[len(e.signIns)-1] != complete {
		t.Errorf("without a session = %d, sign-ins %v", a.status, e.signIns)
	}
	cookie := e.login(zhangsan)
	if a := e.browser("GET", PathDevice, cookie, ""); !strings.Contains(a.body, `name="user_code"`) {
		t.Errorf("the page = %s", a.body)
	}
	a := e.browser(
		"POST",
		PathDevice,
		cookie,
		"user_code="+strings.ToLower(strings.ReplaceAll(d["user_code"].(string), "-", " ")),
		"Sec-Fetch-Site",
		"same-origin",
	)
	form := fields(a.body)
	if !strings.Contains(a.body, "spa") || !strings.Contains(a.body, d["user_code"].(string)) ||
		!strings.Contains(a.body, `id="place"`) || form.Get(deviceField) == "" {
		t.Fatalf("the confirmation = %s", a.body)
	}
	form.Set(decision, allow)
	if a := e.browser("POST", PathDevice, cookie, form.Encode(), "Sec-Fetch-Site", "cross-site"); a.status != 403 {
		t.Errorf("another site's form = %d", a.status)
	}
	if a := e.browser("POST", PathDevice, e.login(zhangsan), form.Encode(), "Sec-Fetch-Site",
		"same-origin"); a.status != 400 {
		t.Errorf("in another session = %d", a.status)
	}
	if a := e.browser("GET", PathDevice+"?"+form.Encode(), cookie, ""); strings.Contains(a.body, "is signed in</h1>") &&
		a.status != 200 {
		t.Errorf("by GET = %d", a.status)
	}
	if a := e.browser("POST", PathDevice, cookie, form.Encode(), "Sec-Fetch-Site", "same-origin"); a.status != 200 {
		t.Fatalf("allow = %d %s", a.status, a.body)
	}
	v := poll(d["device_code"])
	if v["access_token"] == nil || v["id_token"] == nil || v["refresh_token"] == nil {
		t.Fatalf("after the confirmation = %v", v)
	}
	e.revoke(t.Context(), cookie)
	e.settle()
	next := object(
		t,
		e.call("POST", PathToken, "grant_type=refresh_token&client_id=spa&refresh_token="+v["refresh_token"].(string)),
	)
	if next["access_token"] == nil {
		t.Errorf("a sign-out of the browser ended the device's grant: %v", next)
	}
	e.left["U1"] = true
	if v := object(t, e.call("POST", PathToken,
		"grant_type=refresh_token&client_id=spa&refresh_token="+next["refresh_token"].(string))); v["error"] !=
		"invalid_grant" {
		t.Errorf("a leaver's device = %v", v)
	}
	delete(e.left, "U1")

	denied := begin()
	in := e.login(zhangsan)
	form = fields(e.browser("GET", PathDevice+"?user_code="+denied["user_code"].(string), in, "").body)
	form.Set(decision, "deny")
	e.browser("POST", PathDevice, in, form.Encode(), "Sec-Fetch-Site", "same-origin")
	if v := poll(denied["device_code"]); v["error"] != "access_denied" {
		t.Errorf("denied = %v", v)
	}
	late := begin()
	e.offset += deviceLife + 2*time.Second
	if v := poll(late["device_code"]); v["error"] != "expired_token" {
		t.Errorf("too late = %v", v)
	}
	in = e.login(zhangsan)
	limited := 0
	for range 15 {
		if a := e.browser("POST", PathDevice, in, "user_code=BBBB-BBBB", "Sec-Fetch-Site", "same-origin"); a.status == 429 {
			limited++
		}
	}
	if limited != 5 {
		t.Errorf("%d of 15 guesses were limited, want 5", limited)
	}
}
