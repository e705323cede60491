package dingtalk

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"dinggate/internal/identity"
)

func className(c identity.Class) string {
	return [...]string{"internal", "refused", "restart", "operator", "later"}[c]
}

// ruled returns class, code and reaction of one response, or why it is unreadable.
func ruled(a answer, user bool) string {
	_, err := a.read(&struct{}{})
	e, ok := errors.AsType[*APIError](err)
	if !ok {
		return fmt.Sprint(err)
	}
	r := classifyError(e, user)
	return strings.TrimSpace(className(r.class) + " " + r.code +
		[...]string{"", " renew", " again", " back off"}[r.then])
}

// Every row of the old host's table, wrapped in 88 and not.
func TestOldRefusals(t *testing.T) {
	rows := map[string][]int{
		"later unavailable again": {-1},
		"internal bad_request": {22, 40000, 40035, 400002, 40009, 33011, 40068, 40069, 853001, 853003,
			853004},
		"refused not_member":               {33012, 60121},
		"refused disabled":                 {60120},
		"refused out_of_scope":             {50002, 40079},
		"refused app_disabled":             {50003},
		"refused organisation_disabled":    {50005},
		"operator department_unknown":      {50004, 60003},
		"operator token_refused renew":     {40014, 42001},
		"operator credentials_wrong renew": {40001},
		"operator credentials_wrong":       {40089, 40096, 40013, 52010},
		"operator permission_missing":      {60011, 43007},
		"operator ip_not_allowed":          {60020},
		"operator quota_exhausted":         {90020},
		"operator clock_wrong":             {853002},
		"restart code_rejected":            {40078, 40102, 42007, 42008, 41007, 41026},
		"later unavailable":                {400001},
		"later throttled back off":         {90001, 90002, 90007, 90014, 90017, 90018},
		"later unrecognized":               {1, 88, 90015, 90019, 999999},
	}
	known := 0
	for want, codes := range rows {
		for _, code := range codes {
			if _, ok := oapiClassifications[code]; ok {
				known++
			}
			for _, body := range []string{
				fmt.Sprintf(`{"errcode":%d,"errmsg":"x"}`, code),
				fmt.Sprintf(`{"errcode":"%d","errmsg":"x"}`, code),
				fmt.Sprintf(`{"errcode":88,"sub_code":"%d","sub_msg":"x","errmsg":"ding talk error"}`, code),
				fmt.Sprintf(`{"errcode":88,"sub_code":%d,"errmsg":"ding talk error"}`, code),
			} {
				if got := ruled(answer{host: hostOld, status: 200, body: []byte(body)}, false); got != want {
					t.Errorf("rule(%s) = %s, want %s", body, got, want)
				}
			}
		}
	}
	if known != len(oapiClassifications) {
		t.Errorf("%d of %d rows of oldRulings were tried", known, len(oapiClassifications))
	}
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{200, `{"errcode":88,"sub_code":"40000","sub_msg":"access_token is blank"}`, "operator token_refused renew"},
		{200, `{"errcode":88,"sub_code":"isv.odd"}`, "later unrecognized"},
		{200, `{"errcode":88}`, "later unrecognized"},
		{503, `{"errcode":60121}`, "later unavailable"}, // a failing server's refusal is not definite
		{404, `{"errcode":60121}`, "later bad_answer"},
		{500, `{"errcode":0,"result":{}}`, "later unavailable"},
		{429, "<html>", "later throttled back off"},
		{502, "", "later unavailable"},
		{200, "<html>", "unreadable answer: not JSON, or cut off"},
		{200, "{}", "unreadable answer: no errcode"},
		{200, `{"errcode":null}`, "unreadable answer: no errcode"},
		{200, `{"errcode":0}`, "unreadable answer: no result"},
		{200, `{"errcode":true}`, "unreadable answer: no number where one is due"},
		{200, `{"errcode":60121,"errcode":0,"result":{}}`, "unreadable answer: a doubled name"},
		{200, `{"errcode":60121,"ErrCode":0,"result":{}}`, "unreadable answer: a doubled name"},
	} {
		if got := ruled(answer{host: hostOld, status: c.status, body: []byte(c.body)}, false); got != c.want {
			t.Errorf("rule(%d %s) = %s, want %s", c.status, c.body, got, c.want)
		}
	}
}

// Every row of the new host's table.
func TestNewRefusals(t *testing.T) {
	known := map[string]bool{}
	for _, c := range []struct {
		status     int
		code, want string
	}{
		{400, "invalidParameter.authCode.notFound", "restart code_rejected"},
		{400, "invalidCode", "restart code_rejected"}, {409, "invalidCode", "restart code_rejected"},
		{400, "accesstoken.expired", "restart code_rejected"},
		{400, "invalidClientIdOrSecret", "operator credentials_wrong"},
		{400, "invalid.client", "operator credentials_wrong"},
		{400, "unsupported.grant.type", "operator credentials_wrong"},
		{401, "unauthorized.client", "operator credentials_wrong"},
		{400, "unauthorized.client", "operator credentials_wrong"},
		{400, "invalidAuthInfo", "operator credentials_wrong"},
		{400, "InvalidAuthentication", "operator token_refused renew"},
		{400, "AuthenticationFailed.MissingParameter", "operator token_refused renew"},
		{400, "Missingbody", "internal bad_request"}, {400, "invalidParameter", "internal bad_request"},
		{403, "Forbidden.AccessDenied.AccessTokenPermissionDenied", "operator permission_missing"},
		{403, "forbidden.accessdenied.accesstokenpermissiondenied", "operator permission_missing"},
		{403, "Forbidden.AccessDenied.IpNotInWhiteList", "operator ip_not_allowed"},
		{403, "Forbidden.AccessDenied.QpsLimitForApi", "later throttled back off"},
		{403, "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", "later throttled back off"},
		{403, "Forbidden.AccessDenied.QpmLimitForAppkeyAndApi", "later throttled back off"},
		{403, "Forbidden.AccessDenied.QpsLimitForSuitekeyAndOrgAndApi", "later throttled back off"},
		{403, "Forbidden.AccessDenied.ApiCountLimitForOrg", "operator quota_exhausted"},
		{404, "invalidParameter.user.notFound", "refused not_member"},
		{429, "system.busy", "later throttled back off"}, {400, "systemBusy", "later unavailable"},
		{500, "server.error", "later unavailable"},
		{400, "system.busy", "later unavailable"}, {400, "server.error", "later unavailable"},
		{400, "unknownError", "later unavailable"},
		{500, "unknownError", "later unavailable"}, {503, "invalidParameter.user.notFound", "later unavailable"},
		{400, "something.new", "later unrecognized"}, {403, "Forbidden.AccessDenied.New", "later unrecognized"},
		{200, "odd", "internal bad_request"},
	} {
		known[strings.ToLower(c.code)] = true
		body := fmt.Sprintf(`{"code":%q,"requestid":"r","message":"m"}`, c.code)
		if got := ruled(answer{host: hostNew, status: c.status, body: []byte(body)}, false); got != c.want {
			t.Errorf("rule(%d %s) = %s, want %s", c.status, c.code, got, c.want)
		}
	}
	for code := range apiClassifications {
		if !known[code] {
			t.Errorf("row %s of newRulings was not tried", code)
		}
	}
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{200, `{"errcode":404,"errmsg":"请求的URI地址不存在"}`, "internal bad_request"},
		{400, `{"code":"InvalidAuthentication"}`, "restart code_rejected"}, // a person's token is not renewed
		{502, "<html>", "later unavailable"}, {302, "", "later bad_answer"}, {400, "{}", "later bad_answer"},
		{200, "", "unreadable answer: not JSON, or cut off"},
	} {
		if got := ruled(answer{host: hostNew, status: c.status, body: []byte(c.body)}, true); got != c.want {
			t.Errorf("rule(%d %s) = %s, want %s", c.status, c.body, got, c.want)
		}
	}
}

func TestHintDetails(t *testing.T) {
	for _, c := range []struct{ host, body, want string }{
		{
			hostOld, `{"errcode":88,"sub_code":"60011","sub_msg":"应用尚未开通所需的权限：[qyapi_get_member]，` +
				`点击链接申请并开通即可：https://open-dev.dingtalk.com/x"}`, "成员信息读权限 qyapi_get_member — ",
		},
		{hostOld, `{"errcode":60011,"errmsg":"no"}`, "通讯录部门信息读权限 qyapi_get_department_list — "}, // by the path
		{hostOld, `{"errcode":60011,"errmsg":"权限：[a b<script>]"}`, "a — "},
		{hostOld, `{"errcode":88,"sub_code":"60020","sub_msg":"访问ip不在白名单之中,request ip=203.0.113.9 appKey(dingabc)"}`,
			"出口 IP 203.0.113.9 "},
		{hostOld, `{"errcode":88,"sub_code":"60020","sub_msg":"访问ip不在白名单之中,request ip=2001:db8::7 appKey(dingabc)"}`,
			"出口 IP 2001:db8::7 "},
		{
			hostNew, `{"code":"Forbidden.AccessDenied.AccessTokenPermissionDenied",` +
				`"accessdenieddetail":{"requiredScopes":["Contact.User.Read","fieldEmail"]}}`,
			"通讯录个人信息读权限 Contact.User.Read, 邮箱等个人信息 fieldEmail — ",
		},
		{
			hostNew, `{"code":"Forbidden.AccessDenied.AccessTokenPermissionDenied","accessdenieddetail":"odd",` +
				`"message":"应用尚未开通所需的权限：[New.Point]"}`,
			"New.Point — ",
		},
		{hostNew, `{"code":"invalidClientIdOrSecret"}`, "Client ID 或 Client Secret 不正确"},
	} {
		status := 200
		if c.host == hostNew {
			status = 400
		}
		_, err := answer{host: c.host, path: pathParents, status: status, body: []byte(c.body)}.read(nil)
		e, _ := errors.AsType[*APIError](err)
		if got := hint(e, classifyError(e, false).code); !strings.HasPrefix(got, c.want) {
			t.Errorf("hint(%s) = %s, want %s…", c.body, got, c.want)
		}
	}
}
