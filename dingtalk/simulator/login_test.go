package simulator_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"dinggate/dingtalk/simulator"
)

func TestBrowserFlow(t *testing.T) {
	w := demo(t)
	resp, _ := w.send("GET", authorize("person", "zhangsan"), "", "")
	back, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode != 302 || back.Host != "127.0.0.1:4180" || back.Query().Get("state") != "s t/1" {
		t.Fatalf("sign-in = %d to %v, want 302 to the callback with the state", resp.StatusCode, back)
	}
	status, token := w.userToken(back.Query().Get("authCode"))
	if status != 200 || token["corpId"] != simulator.DemoCorpID ||
		compactKeys(token) != "accessToken corpId expireIn refreshToken" {
		t.Fatalf("userAccessToken = %d %v", status, token)
	}
	status, me := w.me(token["accessToken"].(string))
	if status != 200 || me["nick"] != "三哥" || me["email"] != "san@home.example" || me["mobile"] != "13800000001" {
		t.Fatalf("users/me = %d %v", status, me)
	}
	found := w.old("/topapi/user/getbyunionid", `{"unionid":"`+me["unionId"].(string)+`"}`)
	if got, want := compact(found),
		`{"errcode":0,"errmsg":"ok","result":{"contact_type":0,"userid":"zhangsan"}}`; got != want {
		t.Fatalf("getbyunionid = %s, want %s", got, want)
	}
	record := w.old("/topapi/v2/user/get", `{"userid":"zhangsan","language":"zh_CN"}`)["result"].(map[string]any)
	if record["name"] != "张三" || record["org_email"] != "zhangsan@yunfan.example" ||
		record["unionid"] != me["unionId"] || record["active"] != true {
		t.Fatalf("user/get = %v", record)
	}
	parents := w.old("/topapi/v2/department/listparentbyuser", `{"userid":"zhangsan"}`)
	if got, want := compact(parents),
		`{"errcode":0,"errmsg":"ok","result":{"parent_list":[{"parent_dept_id_list":[4201,42,1]}]}}`; got != want {
		t.Errorf("listparentbyuser = %s, want %s", got, want)
	}
}

func TestAuthorizePage(t *testing.T) {
	for _, c := range []struct{ name, url, want string }{
		{"no client", authorize("client_id", ""), "client_id_invalid"},
		{"unknown client", authorize("client_id", "dingother"), "client_id_invalid"},
		{"no redirect", authorize("redirect_uri", ""), "redirect_uri_mismatch"},
		{"redirect elsewhere", authorize("redirect_uri", "http://evil.example/oauth2/callback"),
			"redirect_uri_mismatch"},
		{"redirect with user", authorize("redirect_uri", "http://127.0.0.1@evil.example/"), "redirect_uri_mismatch"},
		{"redirect to script", authorize("redirect_uri", "javascript:alert(1)"), "redirect_uri_mismatch"},
		{"no prompt", authorize("prompt", ""), "prompt_missing"},
		{"other prompt", authorize("prompt", "login"), "prompt_missing"},
		{"no type", authorize("response_type", ""), "response_type_invalid"},
		{"scope by plus sign", authorize("scope", "openid+corpid"), "scope_invalid"},
		{"scope by comma", authorize("scope", "openid,corpid"), "scope_invalid"},
		{"no scope", authorize("scope", ""), "scope_invalid"},
		{"unknown person", authorize("person", "ghost"), "person_unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := demo(t)
			resp, body := w.send("GET", c.url, "", "")
			if resp.StatusCode != 400 || resp.Header.Get("Location") != "" ||
				!strings.Contains(body, `data-code="`+c.want+`"`) {
				t.Errorf("GET %s = %d, Location %q, want 400 with %s\n%s", c.url, resp.StatusCode,
					resp.Header.Get("Location"), c.want, body)
			}
		})
	}
}

func TestAuthorizeSwitches(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*simulator.App)
		person string
		want   string // code of the error page, "" = accepted
	}{
		{"as it is", func(*simulator.App) {}, "zhangsan", ""},
		{"outsider", func(*simulator.App) {}, "sunqi", ""},
		{"external", func(*simulator.App) {}, "zhouba", ""},
		{"inactive", func(*simulator.App) {}, "wujiu", ""},
		{"disabled", func(*simulator.App) {}, "zhengshi", ""},
		{"outsiders refused", func(a *simulator.App) { a.RefuseOutsiders = true }, "sunqi", "other_organisation"},
		{"unpublished", func(a *simulator.App) { a.Unpublished = true }, "zhangsan", "app_unavailable"},
		{"stopped", func(a *simulator.App) { a.Stopped = true }, "zhangsan", "app_unavailable"},
		{"in range by a department above", func(a *simulator.App) { a.Range = []int64{42} }, "zhangsan", ""},
		{"in range by name", func(a *simulator.App) { a.RangeUsers = []string{"zhangsan"} }, "zhangsan", ""},
		{"out of range", func(a *simulator.App) { a.Range = []int64{43} }, "zhangsan", "app_not_visible"},
		{"only the creator", func(a *simulator.App) { a.RangeUsers = []string{"lisi"} }, "zhangsan", "app_not_visible"},
		{"registered", func(a *simulator.App) { a.Redirects = []string{"http://127.0.0.1:4180/oauth2/callback"} },
			"zhangsan", ""},
		{"registered otherwise", func(a *simulator.App) { a.Redirects = []string{"http://127.0.0.1:4180"} },
			"zhangsan", "redirect_uri_mismatch"},
		{"registered by domain",
			func(a *simulator.App) { a.Redirects, a.RedirectDomain = []string{"http://127.0.0.1:4180"}, true },
			"zhangsan", ""},
		// loopback is still accepted
		{"registered by host", func(a *simulator.App) { a.RedirectHosts = []string{"app.example.com"} }, "zhangsan",
			""},
		{"other domain",
			func(a *simulator.App) { a.Redirects, a.RedirectDomain = []string{"http://127.0.0.1:4181"}, true },
			"zhangsan", "redirect_uri_mismatch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := demo(t)
			if err := w.ChangeApp("", c.change); err != nil {
				t.Fatal(err)
			}
			resp, body := w.send("GET", authorize("person", c.person), "", "")
			if c.want == "" && resp.StatusCode != 302 ||
				c.want != "" && !strings.Contains(body, `data-code="`+c.want+`"`) {
				t.Errorf("sign-in of %s = %d, want %q\n%s", c.person, resp.StatusCode, c.want, body)
			}
		})
	}
}

func TestPageIsComplete(t *testing.T) {
	w := demo(t)
	resp, body := w.send("GET", authorize("state", `"><em>`), "", "")
	for _, want := range []string{`id="person-zhangsan"`, `id="person-sunqi"`, `id="deny"`, "张三",
		"another organisation", "研发部", `name="state"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	for _, bad := range []string{"<script", "http://evil", `"><em>`, "person-zhaoliu-"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("Content-Security-Policy = %q", csp)
	}
	if _, body := w.send("GET", authorize("corpId", ""), "", ""); !strings.Contains(body,
		`id="person-zhaoliu-dingqinghe5d1e"`) {
		t.Error("without corpId a person of two organisations cannot choose the second")
	}
	resp, _ = w.send("HEAD", authorize("person", "zhangsan"), "", "")
	if resp.StatusCode != 200 {
		t.Errorf("HEAD = %d, want the page: it must not sign in", resp.StatusCode)
	}
	if resp, _ = w.send("POST", authorize("person", "zhangsan"), "",
		""); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST = %d, want 405", resp.StatusCode)
	}
}

func TestCallback(t *testing.T) {
	for _, c := range []struct {
		name    string
		form    simulator.CallbackForm
		changes []string
		want    string // names in the query
	}{
		{"authCode", simulator.AuthCode, []string{"person", "zhangsan"}, "authCode state"},
		{"code", simulator.CodeOnly, []string{"person", "zhangsan"}, "code state"},
		{"both", simulator.BothCodes, []string{"person", "zhangsan"}, "authCode code state"},
		{"denied", simulator.AuthCode, []string{"person", "-"}, "error state"},
		{"no state", simulator.AuthCode, []string{"person", "zhangsan", "state", ""}, "authCode"},
		{"query unchanged", simulator.AuthCode,
			[]string{"person", "zhangsan", "redirect_uri", "http://localhost/cb?forward_url=%2Fx"},
			"authCode forward_url state"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := demo(t)
			w.SetCallback(c.form)
			resp, _ := w.send("GET", authorize(c.changes...), "", "")
			back, _ := url.Parse(resp.Header.Get("Location"))
			q := back.Query()
			if got := compactKeys(q); got != c.want {
				t.Errorf("callback has %q, want %q", got, c.want)
			}
			if q.Has("code") && q.Has("authCode") && q.Get("code") != q.Get("authCode") {
				t.Errorf("code %q and authCode %q differ", q.Get("code"), q.Get("authCode"))
			}
		})
	}
}

func TestChosenOrganisation(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes []string
		want    any
	}{
		{"ours", []string{"person", "zhangsan"}, simulator.DemoCorpID},
		{"scope without corpid", []string{"person", "zhangsan", "scope", "openid"}, nil},
		{"outsider", []string{"person", "sunqi"}, "dingqinghe5d1e"},
		{"two organisations, ours requested", []string{"person", "zhaoliu"}, simulator.DemoCorpID},
		{"two organisations, other clicked", []string{"person", "zhaoliu@dingqinghe5d1e", "corpId", ""},
			"dingqinghe5d1e"},
		{"two organisations, parameter edited", []string{"person", "zhaoliu", "corpId", "dingqinghe5d1e"},
			"dingqinghe5d1e"},
		{"no organisation at all", []string{"person", "zhouba"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := demo(t)
			resp, _ := w.send("GET", authorize(c.changes...), "", "")
			back, _ := url.Parse(resp.Header.Get("Location"))
			if _, token := w.userToken(back.Query().Get("authCode")); token["corpId"] != c.want {
				t.Errorf("corpId = %v, want %v", token["corpId"], c.want)
			}
		})
	}
}

// TestRedirectHosts tests the hosts that a test allows in redirect URIs.
func TestRedirectHosts(t *testing.T) {
	for _, c := range []struct {
		hosts, redirect string
		ok              bool
	}{
		{"app.example.com", "https://app.example.com/oauth2/callback", true},
		{"app.example.com", "http://APP.example.com:8080/x", true},
		{"app.example.com:8443", "https://app.example.com:8443/", true},
		{"app.example.com:8443", "https://app.example.com/", false},
		{"app.example.com", "https://x.app.example.com/", false},
		{"app.example.com", "https://app.example.com.evil.example/", false},
		{"app.example.com", "https://app.example.com@evil.example/", false},
		{"app.example.com", "ftp://app.example.com/", false},
		{"a.test,b.test", "http://b.test/", true}, {"*", "https://anything.example/cb", true},
		{"*", "javascript:alert(1)", false}, {"", "https://app.example.com/", false},
	} {
		w := demo(t)
		w.ChangeApp("", func(a *simulator.App) { a.RedirectHosts = strings.Split(c.hosts, ",") })
		resp, _ := w.send("GET", authorize("redirect_uri", c.redirect, "person", "zhangsan"), "", "")
		if to := resp.Header.Get("Location"); (resp.StatusCode == 302) != c.ok ||
			c.ok && !strings.HasPrefix(to, c.redirect+"?") {
			t.Errorf("with %q a sign-in for %s = %d to %q, want it accepted: %v", c.hosts, c.redirect,
				resp.StatusCode, to, c.ok)
		}
	}
}
