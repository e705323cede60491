package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// apiError is an error answer of DingTalk, in the formats of both hosts.
type apiError struct {
	errcode int    // errcode of the old host
	gateway bool   // the old host's gateway answers it, not the call: 88 with sub_code
	status  int    // HTTP status of the new host
	code    string // code of the new host
	text    string
	scopes  []string // permission points that the answer names
}

// apiErrors lists the errors that DingTalk is known to answer. A row with the
// format of one host only becomes "busy" at the other.
var apiErrors = []apiError{
	{errcode: -1, status: 500, code: "system.busy", text: "系统繁忙"},
	{errcode: 22, text: "Invalid method"},
	{errcode: 33011, text: "不合法的角色id"},
	{errcode: 33012, text: "无效的USERID"},
	{errcode: 40000, gateway: true, status: 400, code: "AuthenticationFailed.MissingParameter",
		text: "access_token is blank"},
	{errcode: 40001, text: "获取access_token时Secret错误，或者access_token无效"},
	{errcode: 40009, text: "不合法的部门id"},
	{errcode: 40013, text: "不合法的corpid"},
	{errcode: 40014, gateway: true, status: 400, code: "InvalidAuthentication", text: "不合法的access_token"},
	{errcode: 40035, text: "缺少参数 corpid or appkey"},
	{errcode: 40056, text: "不合法的agentid"},
	{errcode: 40068, text: "不合法的偏移量"},
	{errcode: 40069, text: "不合法的分页大小"},
	{errcode: 40078, status: 400, code: "invalidParameter.authCode.notFound", text: "不存在的临时授权码"},
	{errcode: 40079, text: "不存在的授权信息"},
	{errcode: 40089, text: "不合法的corpid或corpsecret"},
	{errcode: 40096, status: 400, code: "invalidClientIdOrSecret", text: "不合法的appKey或appSecret"},
	{errcode: 41007, status: 400, code: "invalidCode", text: "缺少临时授权码"},
	{errcode: 42001, gateway: true, status: 400, code: "accesstoken.expired", text: "access_token已过期"},
	{errcode: 43007, text: "需要授权"},
	{errcode: 50002, text: "企业员工不在授权范围"},
	{errcode: 50003, text: "应用已停用"},
	{errcode: 50004, text: "企业部门不在授权范围"},
	{errcode: 50005, text: "企业已禁用"},
	{errcode: 60003, text: "部门不存在"},
	{errcode: 60011, gateway: true, status: 403, code: "Forbidden.AccessDenied.AccessTokenPermissionDenied",
		text: "没有调用该接口的权限"},
	{errcode: 60020, gateway: true, status: 403, code: "Forbidden.AccessDenied.IpNotInWhiteList", text: "访问ip不在白名单之中"},
	{errcode: 60120, text: "用户已禁用"},
	{errcode: 60121, status: 404, code: "invalidParameter.user.notFound", text: "找不到该用户"},
	{errcode: 90002, gateway: true, status: 403, code: "Forbidden.AccessDenied.QpsLimitForApi",
		text: "您的服务器调用钉钉开放平台当前接口的所有请求都被暂时禁用了"},
	{errcode: 90018, status: 403, code: "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", text: "当前应用调用该接口的频率超过限制"},
	{errcode: 90020, status: 403, code: "Forbidden.AccessDenied.ApiCountLimitForOrg", text: "本月API调用量已用完"},
	{errcode: 400001, status: 500, code: "server.error", text: "系统错误"},
	{errcode: 400002, status: 400, code: "invalidParameter", text: "无效的参数"},
	{errcode: 853001, text: "时间戳格式错误"},
	{errcode: 853002, text: "时间戳超过有效期"},
	{errcode: 853003, text: "accessKey错误"},
	{errcode: 853004, text: "签名不匹配"},
	{status: 400, code: "Missingbody", text: "body is mandatory for this action."},
	{status: 400, code: "invalid.client", text: "无效的client_id或者client_secret"},
	{status: 400, code: "unsupported.grant.type", text: "不支持的grant_type"},
	{status: 400, code: "unauthorized.client", text: "应用未授权"},
	{status: 403, code: "Forbidden.AccessDenied.QpmLimitForAppkeyAndApi", text: "当前应用调用该接口的频率超过限制"},
	{status: 429, code: "systemBusy", text: "系统繁忙"},
	{status: 500, code: "unknownError", text: "未知错误"},
}

// apiErrorFor finds an error by the code of either host. An unknown code is
// sent as well: clients must handle codes that are not documented.
func apiErrorFor(code string) *apiError {
	n, err := strconv.Atoi(code)
	for _, r := range apiErrors {
		if err == nil && r.errcode == n && n != 0 || r.code != "" && strings.EqualFold(r.code, code) {
			return &r
		}
	}
	switch {
	case err == nil:
		return &apiError{errcode: n, text: "error " + code}
	case strings.HasPrefix(code, "Forbidden."):
		return &apiError{code: code, status: 403, text: code}
	}
	return &apiError{code: code, status: 400, text: code}
}

// withText replaces the error's text.
func (r *apiError) withText(format string, args ...any) *apiError {
	r.text = fmt.Sprintf(format, args...)
	return r
}

// deniedPermission names the permission point, and the link to apply for it, as DingTalk does.
func deniedPermission(a *App, point string) *apiError {
	r := apiErrorFor("60011").withText(
		"应用尚未开通所需的权限：[%s]，点击链接申请并开通即可：https://open-dev.dingtalk.com/appscope/apply?content=%s%%23%s", point,
		a.ClientID, point,
	)
	r.scopes = []string{point}
	return r
}

// deniedAddress names the address that DingTalk saw.
func deniedAddress(a *App, remote string) *apiError {
	return apiErrorFor("60020").withText("访问ip不在白名单之中,request ip=%s appKey(%s)", remoteIP(remote), a.ClientID)
}

// writeOld answers as the old host does: always with status 200.
func (r *apiError) writeOld(w http.ResponseWriter) {
	old, text := r.errcode, r.text
	if old == 0 {
		old, text = -1, "系统繁忙"
	}
	body := map[string]any{"errcode": old, "errmsg": text, "request_id": requestID()}
	if r.gateway {
		body["errcode"], body["sub_code"], body["sub_msg"] = 88, strconv.Itoa(old), text
		body["errmsg"] = fmt.Sprintf("ding talk error[subcode=%d,submsg=%s]", old, text)
	}
	writeJSON(w, http.StatusOK, body)
}

// writeNew answers as the new host does: with an HTTP error status and `code`.
func (r *apiError) writeNew(w http.ResponseWriter) {
	status, code, text := r.status, r.code, r.text
	if code == "" {
		status, code, text = http.StatusInternalServerError, "unknownError", "未知错误"
	}
	body := map[string]any{"code": code, "message": text, "requestid": requestID()}
	if r.scopes != nil {
		body["accessdenieddetail"] = map[string]any{"requiredScopes": r.scopes}
	}
	writeJSON(w, status, body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	w.WriteHeader(status)
	w.Write(out.Bytes())
}

func requestID() string { return strings.ToLower(random(""))[:16] }
