package simulator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
)

// outcome is a short form of either host's response: status and code, or errcode and
// sub_code.
func outcome(status int, m map[string]any) string {
	if m["errcode"] != nil {
		return strings.TrimSuffix(fmt.Sprintf("%d %v %v", status, m["errcode"], m["sub_code"]), " <nil>")
	}
	return strings.TrimSuffix(fmt.Sprintf("%d %v", status, m["code"]), " <nil>")
}

func TestEnvelopes(t *testing.T) {
	const me, union, token = "/v1.0/contact/users/me", "/topapi/user/getbyunionid", "/v1.0/oauth2/accessToken"
	const json, form = "application/json", "application/x-www-form-urlencoded"
	for _, c := range []struct{ name, method, path, kind, body, header, want string }{
		{"old: no token", "POST", union, json, `{"unionid":"x"}`, "", "200 88 40000"},
		{"old: wrong token", "POST", union + "?access_token=x", json, `{"unionid":"x"}`, "", "200 88 40014"},
		{"old: token in a header", "POST", union, json, `{"unionid":"x"}`, "x-acs-dingtalk-access-token=TOKEN",
			"200 88 40000"},
		{"old: token in JSON", "POST", union, json, `{"unionid":"x","access_token":"TOKEN"}`, "", "200 88 40000"},
		{"old: token in a form", "POST", union, form, `access_token=TOKEN&unionid=x`, "", "200 60121"},
		{"old: query", "GET", union + "?access_token=TOKEN&unionid=x", "", "", "", "200 60121"},
		{"old: JSON", "POST", union + "?access_token=TOKEN", json, `{"unionid":"x"}`, "", "200 60121"},
		{"old: no argument", "POST", union + "?access_token=TOKEN", json, `{}`, "", "200 400002"},
		{"old: broken JSON", "POST", union + "?access_token=TOKEN", json, `{"unionid"`, "", "200 400002"},
		{"old: no such path", "POST", "/topapi/nothing", json, `{}`, "", "200 22"},
		{"old: gettoken with a body", "GET", "/gettoken", json, `{"appkey":"x"}`, "", "200 40035"},
		{"old: gettoken, wrong secret", "GET", "/gettoken?appkey=" + simulator.DemoClientID + "&appsecret=x", "", "",
			"", "200 40096"},
		{"new: form body", "POST", token, form, "appKey=x", "", "400 Missingbody"},
		{"new: no body", "POST", token, json, "", "", "400 Missingbody"},
		{"new: wrong secret", "POST", token, json, `{"appKey":"` + simulator.DemoClientID + `","appSecret":"x"}`, "",
			"400 invalidClientIdOrSecret"},
		{"new: no client", "POST", token, json, `{"appSecret":"` + simulator.DemoClientSecret + `"}`, "",
			"400 invalidClientIdOrSecret"},
		{"new: no token", "GET", me, "", "", "", "400 AuthenticationFailed.MissingParameter"},
		{"new: bearer", "GET", me, "", "", "Authorization=Bearer TOKEN", "400 AuthenticationFailed.MissingParameter"},
		{"new: token in the query", "GET", me + "?access_token=TOKEN", "", "", "",
			"400 AuthenticationFailed.MissingParameter"},
		{"new: wrong token", "GET", me, "", "", "x-acs-dingtalk-access-token=x", "400 InvalidAuthentication"},
		{"new: app token", "GET", me, "", "", "x-acs-dingtalk-access-token=TOKEN",
			"403 Forbidden.AccessDenied.AccessTokenPermissionDenied"},
		{"new: no such path", "POST", "/v1.0/nothing", json, `{}`, "", "200 404"},
		{"new: wrong method", "GET", token, "", "", "", "200 404"},
		{"new: pattern as a path", "POST", "/v1.0/oauth2/{corpId}/token", json, corpBody, "", "500 unknownError"},
		{"new: other organisation", "POST", "/v1.0/oauth2/dingother/token", json, corpBody, "", "500 unknownError"},
		{"new: corp token, wrong secret", "POST", "/v1.0/oauth2/x/token", json,
			`{"client_id":"x","grant_type":"client_credentials"}`, "", "400 invalid.client"},
		{"new: corp token, wrong grant", "POST", "/v1.0/oauth2/x/token", json, `{"client_id":"x"}`, "",
			"400 unsupported.grant.type"},
		{"new: unknown grant", "POST", "/v1.0/oauth2/userAccessToken", json,
			`{` + credentials + `,"grantType":"password"}`, "", "400 invalidParameter"},
		{"new: ticket", "POST", "/v1.0/oauth2/jsapiTickets", json, `{}`, "x-acs-dingtalk-access-token=TOKEN", "200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := demo(t)
			fill := strings.NewReplacer("TOKEN", w.appToken()).Replace
			name, value, _ := strings.Cut(fill(c.header), "=")
			var header []string
			if name != "" {
				header = []string{name, value}
			}
			resp, text := w.send(c.method, fill(c.path), c.kind, fill(c.body), header...)
			if got := outcome(resp.StatusCode, decode(t, text)); got != c.want {
				t.Errorf("%s %s = %s, want %s\n%s", c.method, c.path, got, c.want, text)
			}
		})
	}
}

// The exact envelopes of real responses.
func TestWording(t *testing.T) {
	w := demo(t)
	_, m := w.post("/topapi/user/getbyunionid?access_token=x", `{}`)
	if id, _ := m["request_id"].(string); id == "" {
		t.Errorf("old answer without request_id: %v", m)
	}
	if got, want := compact(m),
		`{"errcode":88,"errmsg":"ding talk `+
			`error[subcode=40014,submsg=不合法的access_token]","sub_code":"40014",`+
			`"sub_msg":"不合法的access_token"}`; got != want {
		t.Errorf("wrapped = %s, want %s", got, want)
	}
	if got, want := compact(w.old("/topapi/user/getbyunionid", `{"unionid":"x"}`)),
		`{"errcode":60121,"errmsg":"找不到该用户"}`; got != want {
		t.Errorf("plain = %s, want %s", got, want)
	}
	if _, m = w.me("x"); m["requestid"] == nil ||
		compact(m) != `{"code":"InvalidAuthentication","message":"不合法的access_token"}` {
		t.Errorf("new = %v", m)
	}
	_, m = w.post("/v1.0/nothing", `{}`)
	if got, want := compact(m), `{"errcode":404,"errmsg":"请求的URI地址不存在"}`; got != want {
		t.Errorf("unknown path = %s, want %s", got, want)
	}
}

func TestDirectory(t *testing.T) {
	for _, c := range []struct{ path, body, want string }{
		{"/auth/scopes", ``,
			`{"auth_org_scopes":{"authed_dept":[1],"authed_user":[]},"auth_user_field":["name","userid",` +
				`"department","position","jobnumber","avatar","isAdmin"],"condition_field":[],"errcode":0,` +
				`"errmsg":"ok"}`},
		{"/topapi/v2/user/get", `{"userid":"ghost"}`, `{"errcode":60121,"errmsg":"找不到该用户"}`},
		{"/topapi/v2/user/get", `{"userid":"zhouba"}`, `{"errcode":60121,"errmsg":"找不到该用户"}`},
		{"/topapi/v2/user/get", `{}`, `{"errcode":400002,"errmsg":"无效的参数"}`},
		{"/topapi/user/listid", `{"dept_id":43}`,
			`{"errcode":0,"errmsg":"ok","result":{"userid_list":["wujiu","zhengshi"]}}`},
		{"/topapi/user/listadmin", `{}`,
			`{"errcode":0,"errmsg":"ok","result":[{"sys_level":1,"userid":"ouyang-xiu_01.A@yunfan"}]}`},
		{"/topapi/v2/user/getbymobile", `{"mobile":"13800000002"}`,
			`{"errcode":0,"errmsg":"ok","result":{"userid":"lisi"}}`},
		{"/topapi/v2/user/getbymobile", `{"mobile":"13800000006"}`, `{"errcode":60121,"errmsg":"找不到该用户"}`},
		{"/topapi/v2/user/list", `{"dept_id":43,"cursor":0}`, `{"errcode":400002,"errmsg":"无效的参数"}`},
		{"/topapi/v2/department/get", `{"dept_id":4201}`,
			`{"errcode":0,"errmsg":"ok","result":{"auto_add_user":false,"create_dept_group":false,` +
				`"dept_id":4201,"dept_manager_userid_list":[],"hide_dept":false,"member_count":1,"name":"平台组",` +
				`"outer_dept":false,"parent_id":42}}`},
		{"/topapi/v2/department/get", `{"dept_id":"4201x"}`, `{"errcode":40009,"errmsg":"不合法的部门id"}`},
		{"/topapi/v2/department/get", `{"dept_id":-7}`, `{"errcode":40009,"errmsg":"不合法的部门id"}`},
		{"/topapi/v2/department/get", `{"dept_id":999}`, `{"errcode":60003,"errmsg":"部门不存在"}`},
		{"/topapi/v2/department/listsub", `{"dept_id":43}`,
			`{"errcode":0,"errmsg":"ok","result":[{"auto_add_user":false,"create_dept_group":false,` +
				`"dept_id":4301,"name":"华东区","parent_id":43}]}`},
		{"/topapi/v2/department/listsubid", `{"dept_id":1}`,
			`{"errcode":0,"errmsg":"ok","result":{"dept_id_list":[42,43,44]}}`},
		{"/topapi/v2/department/listsubid", `{"dept_id":4301}`,
			`{"errcode":0,"errmsg":"ok","result":{"dept_id_list":[]}}`},
		{"/topapi/v2/department/listparentbydept", `{"dept_id":4201}`,
			`{"errcode":0,"errmsg":"ok","result":{"parent_id_list":[4201,42,1]}}`},
		{"/topapi/v2/department/listparentbyuser", `{"userid":"lisi"}`,
			`{"errcode":0,"errmsg":"ok","result":{"parent_list":[{"parent_dept_id_list":[4301,43,1]},` +
				`{"parent_dept_id_list":[4202,42,1]}]}}`},
		{"/topapi/v2/department/listparentbyuser", `{"userid":"ghost"}`, `{"errcode":33012,"errmsg":"无效的USERID"}`},
		{"/topapi/role/list", `{}`,
			`{"errcode":0,"errmsg":"ok","result":{"hasMore":false,"list":[{"groupId":1,"name":"职务",` +
				`"roles":[{"id":100,"name":"主管"},{"id":101,"name":"总监"}]},{"groupId":2,"name":"岗位",` +
				`"roles":[{"id":200,"name":"财务"}]},{"groupId":3,"name":"项目","roles":[{"id":300,"name":"主管"}]}]}}`},
		{"/topapi/role/list", `{"size":1,"offset":1}`,
			`{"errcode":0,"errmsg":"ok","result":{"hasMore":true,"list":[{"groupId":2,"name":"岗位",` +
				`"roles":[{"id":200,"name":"财务"}]}]}}`},
		{"/topapi/role/list", `{"size":201,"offset":0}`, `{"errcode":40069,"errmsg":"不合法的分页大小"}`},
		{"/topapi/role/list", `{"size":20}`, `{"errcode":40068,"errmsg":"不合法的偏移量"}`},
		{"/topapi/role/getrolegroup", `{"group_id":2}`,
			`{"errcode":0,"errmsg":"ok","role_group":{"group_name":"岗位","roles":[{"role_id":200,"role_name":"财务"}]}}`},
		{"/topapi/role/getrole", `{"roleId":300}`, `{"errcode":0,"errmsg":"ok","role":{"groupId":3,"name":"主管"}}`},
		{"/topapi/role/getrole", `{"roleId":999}`, `{"errcode":33011,"errmsg":"不合法的角色id"}`},
		{"/topapi/role/simplelist", `{"role_id":100}`,
			`{"errcode":0,"errmsg":"ok","result":{"hasMore":false,"list":[{"manageScopes":[],"name":"张三",` +
				`"userid":"zhangsan"}]}}`},
	} {
		t.Run(c.path+c.body, func(t *testing.T) {
			if got := compact(demo(t).old(c.path, c.body)); got != c.want {
				t.Errorf("%s %s = %s\nwant %s", c.path, c.body, got, c.want)
			}
		})
	}
}

func TestUserListPages(t *testing.T) {
	w := demo(t)
	first := w.old("/topapi/v2/user/list", `{"dept_id":43,"cursor":0,"size":1}`)["result"].(map[string]any)
	if first["has_more"] != true || fmt.Sprint(first["next_cursor"]) != "1" || len(first["list"].([]any)) != 1 {
		t.Errorf("first page = %v", first)
	}
	last := w.old("/topapi/v2/user/list", `{"dept_id":43,"cursor":1,"size":1}`)["result"].(map[string]any)
	if last["has_more"] != false || last["next_cursor"] != nil || len(last["list"].([]any)) != 1 {
		t.Errorf("last page = %v", last)
	}
	for _, one := range append(first["list"].([]any), last["list"].([]any)...) {
		m := one.(map[string]any)
		if _, there := m["disable_status"]; there || m["exclusive_account"] != (m["userid"] == "zhengshi") {
			t.Errorf("record of the list = %v, want no disable_status, and zhengshi's account an enterprise account", m)
		}
	}
	beyond := w.old("/topapi/v2/user/list",
		`{"dept_id":43,"cursor":9223372036854775807,"size":100}`)["result"].(map[string]any)
	if beyond["has_more"] != false || len(beyond["list"].([]any)) != 0 {
		t.Errorf("page beyond the end = %v", beyond)
	}
}

func TestOptionalFields(t *testing.T) {
	const always = "active admin boss dept_id_list dept_order_list exclusive_account hide_mobile leader_in_dept " +
		"name real_authed senior unionid userid"
	sorted := func(more ...string) string {
		m := map[string]int{}
		for _, name := range append(strings.Fields(always), more...) {
			m[name] = 1
		}
		return compactKeys(m)
	}
	for _, c := range []struct {
		person  string
		missing []string
		want    string
	}{
		{"zhangsan", nil,
			sorted("avatar", "email", "job_number", "mobile", "state_code", "org_email", "org_email_type",
				"role_list", "title")},
		{"zhangsan", []string{"fieldEmail"},
			sorted("avatar", "job_number", "mobile", "state_code", "org_email", "org_email_type", "role_list",
				"title")},
		{"zhangsan", []string{"fieldMobile"},
			sorted("avatar", "email", "job_number", "org_email", "org_email_type", "role_list", "title")},
		{"wangwu", []string{"fieldMobile"}, sorted()},
		{"lisi", []string{"fieldEmail", "fieldMobile"}, sorted("job_number", "manager_userid", "role_list", "title")},
		{"zhengshi", nil,
			sorted("disable_status", "exclusive_account_corp_id", "exclusive_account_corp_name",
				"exclusive_account_type", "login_id", "org_email", "org_email_type")},
	} {
		w := demo(t)
		w.ChangeApp("", func(a *simulator.App) { a.Missing = c.missing })
		m := w.old("/topapi/v2/user/get", `{"userid":"`+c.person+`"}`)["result"].(map[string]any)
		if got := compactKeys(m); got != c.want {
			t.Errorf("user/get(%s without %v) has\n%s, want\n%s", c.person, c.missing, got, c.want)
		}
	}
}

func TestPeopleOutsideGoodStanding(t *testing.T) {
	for _, c := range []struct{ person, member, record string }{
		{"zhangsan", `0 map[contact_type:0 userid:zhangsan]`, "0 active true disabled <nil>"},
		{"sunqi", `60121 <nil>`, "60121"},
		{"zhouba", `0 map[contact_type:1 userid:zhouba]`, "60121"},
		{"wujiu", `0 map[contact_type:0 userid:wujiu]`, "0 active false disabled <nil>"},
		{"zhengshi", `0 map[contact_type:0 userid:zhengshi]`, "0 active true disabled true"},
	} {
		w := demo(t)
		who, _ := w.Who(c.person)
		m := w.old("/topapi/user/getbyunionid", `{"unionid":"`+who.UnionID+`"}`)
		if got := fmt.Sprint(m["errcode"], " ", m["result"]); got != c.member {
			t.Errorf("getbyunionid(%s) = %s, want %s", c.person, got, c.member)
		}
		m = w.old("/topapi/v2/user/get", `{"userid":"`+c.person+`"}`)
		got := fmt.Sprint(m["errcode"])
		if r, ok := m["result"].(map[string]any); ok {
			got += fmt.Sprint(" active ", r["active"], " disabled ", r["disable_status"])
		}
		if got != c.record {
			t.Errorf("user/get(%s) = %s, want %s", c.person, got, c.record)
		}
	}
}

func TestAppSwitches(t *testing.T) {
	const get, dept, silent = "/topapi/v2/user/get", "/topapi/v2/department/get", "/topapi/v2/user/getuserinfo"
	for _, c := range []struct {
		name             string
		change           func(*simulator.App)
		path, body, want string
	}{
		{"permission", func(a *simulator.App) { a.Missing = []string{"qyapi_get_member"} }, get,
			`{"userid":"zhangsan"}`, "200 88 60011"},
		{"permission before existence", func(a *simulator.App) { a.Missing = []string{"qyapi_get_member"} }, get,
			`{"userid":"ghost"}`, "200 88 60011"},
		{"department permission", func(a *simulator.App) { a.Missing = []string{"qyapi_get_department_list"} }, dept,
			`{"dept_id":1}`, "200 88 60011"},
		{"in scope", func(a *simulator.App) { a.Scope = []int64{42} }, get, `{"userid":"zhangsan"}`, "200 0"},
		{"in scope by name", func(a *simulator.App) { a.ScopeUsers = []string{"zhangsan"} }, get,
			`{"userid":"zhangsan"}`, "200 0"},
		{"out of scope", func(a *simulator.App) { a.Scope = []int64{43} }, get, `{"userid":"zhangsan"}`, "200 50002"},
		{"department out of scope", func(a *simulator.App) { a.Scope = []int64{43} }, dept, `{"dept_id":42}`,
			"200 50004"},
		{"department below scope", func(a *simulator.App) { a.Scope = []int64{43} }, dept, `{"dept_id":4301}`, "200 0"},
		{"lineage is not cut to scope", func(a *simulator.App) { a.Scope = []int64{43} },
			"/topapi/v2/department/listparentbydept", `{"dept_id":42}`, "200 0"},
		{"address", func(a *simulator.App) { a.Addresses = []string{"192.0.2.0/24", "nonsense"} }, get,
			`{"userid":"zhangsan"}`, "200 88 60020"},
		{"address listed", func(a *simulator.App) { a.Addresses = []string{"127.0.0.1", "::1"} }, get,
			`{"userid":"zhangsan"}`, "200 0"},
		{"address by network", func(a *simulator.App) { a.Addresses = []string{"127.0.0.0/8"} }, get,
			`{"userid":"zhangsan"}`, "200 0"},
		{"stopped", func(a *simulator.App) { a.Stopped = true }, get, `{"userid":"zhangsan"}`, "200 50003"},
		{"silent, unpublished", func(a *simulator.App) { a.Unpublished = true }, silent, `{"code":"SILENT"}`,
			"200 40079"},
		{"silent, out of range", func(a *simulator.App) { a.Range = []int64{43} }, silent, `{"code":"SILENT"}`,
			"200 40079"},
		{"silent, unknown code", func(a *simulator.App) {}, silent, `{"code":"x"}`, "200 40078"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := demo(t)
			w.ChangeApp("", c.change)
			body := strings.Replace(c.body, "SILENT", w.SilentCode("zhangsan"), 1)
			if got := outcome(200, w.old(c.path, body)); got != c.want {
				t.Errorf("%s = %s, want %s", c.path, got, c.want)
			}
		})
	}
}

func TestRefusalsNameTheirCause(t *testing.T) {
	w := demo(t)
	w.ChangeApp("", func(a *simulator.App) { a.Missing = []string{"qyapi_get_member", "Contact.User.Read"} })
	if m := w.old("/topapi/v2/user/get", `{}`); !strings.Contains(fmt.Sprint(m["sub_msg"]), "[qyapi_get_member]") {
		t.Errorf("60011 = %v, want the point named", m)
	}
	_, token := w.userToken(w.code(simulator.Browser, "zhangsan"))
	status, m := w.me(token["accessToken"].(string))
	if got := fmt.Sprint(status, m["accessdenieddetail"]); got != "403map[requiredScopes:[Contact.User.Read]]" &&
		got != "403 map[requiredScopes:[Contact.User.Read]]" {
		t.Errorf("users/me = %s, want the scope named", got)
	}
	w.ChangeApp("", func(a *simulator.App) { a.Addresses = []string{"192.0.2.1"} })
	if m := w.old("/topapi/v2/user/get", `{}`); !strings.Contains(fmt.Sprint(m["sub_msg"]),
		"request ip=127.0.0.1 appKey("+simulator.DemoClientID+")") {
		t.Errorf("60020 = %v, want the address named", m)
	}
	if status, m := w.me(token["accessToken"].(string)); outcome(status,
		m) != "403 Forbidden.AccessDenied.IpNotInWhiteList" {
		t.Errorf("users/me from elsewhere = %s", outcome(status, m))
	}
}

func TestRateLimit(t *testing.T) {
	start := simulator.Demo().Time()
	p := simulator.Demo()
	p.Now = func() time.Time { return start }
	w := serve(t, p)
	token := w.appToken()
	w.ChangeApp("", func(a *simulator.App) { a.PerSecond = 2 })
	for i, want := range []string{"200 0", "200 0", "200 90018", "200 90018"} {
		if got := outcome(200, w.oldWith(token, "/topapi/v2/user/get", `{"userid":"zhangsan"}`)); got != want {
			t.Errorf("call %d = %s, want %s", i+1, got, want)
		}
	}
	if got := outcome(200, w.oldWith(token, "/topapi/user/listadmin", `{}`)); got != "200 0" {
		t.Errorf("another API = %s, want its own limit", got)
	}
	w.Advance(time.Second)
	if got := outcome(200, w.oldWith(token, "/topapi/v2/user/get", `{"userid":"zhangsan"}`)); got != "200 0" {
		t.Errorf("a second later = %s, want 0", got)
	}
	for i, want := range []string{"400", "400", "403"} { // the code is wrong, then the call is throttled
		status, m := w.userToken("no-code")
		if got := fmt.Sprint(status); got != want {
			t.Errorf("exchange %d = %s %v, want %s", i+1, got, m, want)
		}
	}
}
