package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// refusal is one way in which DingTalk says no, in the dialects of both hosts.
type refusal struct {
	old     int    // errcode of the old host
	wrapped bool   // the old host's gateway says it, not the call: 88 with sub_code
	status  int    // HTTP status of the new host
	new     string // code of the new host
	text    string
	scopes  []string // permission points to ask for
}

// refusals is what DingTalk is known to say. A row with only one dialect
// answers the other with "busy".
var refusals = []refusal{
	{old: -1, status: 500, new: "system.busy", text: "系统繁忙"},
	{old: 22, text: "Invalid method"},
	{old: 33011, text: "不合法的角色id"},
	{old: 33012, text: "无效的USERID"},
	{old: 40000, wrapped: true, status: 400, new: "AuthenticationFailed.MissingParameter", text: "access_token is blank"},
	{old: 40001, text: "获取access_token时Secret错误，或者access_token无效"},
	{old: 40009, text: "不合法的部门id"},
	{old: 40013, text: "不合法的corpid"},
	{old: 40014, wrapped: true, status: 400, new: "InvalidAuthentication", text: "不合法的access_token"},
	{old: 40035, text: "缺少参数 corpid or appkey"},
	{old: 40068, text: "不合法的偏移量"},
	{old: 40069, text: "不合法的分页大小"},
	{old: 40078, status: 400, new: "invalidParameter.authCode.notFound", text: "不存在的临时授权码"},
	{old: 40079, text: "不存在的授权信息"},
	{old: 40089, text: "不合法的corpid或corpsecret"},
	{old: 40096, status: 400, new: "invalidClientIdOrSecret", text: "不合法的appKey或appSecret"},
	{old: 41007, status: 400, new: "invalidCode", text: "缺少临时授权码"},
	{old: 42001, wrapped: true, status: 400, new: "accesstoken.expired", text: "access_token已过期"},
	{old: 43007, text: "需要授权"},
	{old: 50002, text: "企业员工不在授权范围"},
	{old: 50003, text: "应用已停用"},
	{old: 50004, text: "企业部门不在授权范围"},
	{old: 50005, text: "企业已禁用"},
	{old: 60003, text: "部门不存在"},
	{old: 60011, wrapped: true, status: 403, new: "Forbidden.AccessDenied.AccessTokenPermissionDenied", text: "没有调用该接口的权限"},
	{old: 60020, wrapped: true, status: 403, new: "Forbidden.AccessDenied.IpNotInWhiteList", text: "访问ip不在白名单之中"},
	{old: 60120, text: "用户已禁用"},
	{old: 60121, status: 404, new: "invalidParameter.user.notFound", text: "找不到该用户"},
	{old: 90002, wrapped: true, status: 403, new: "Forbidden.AccessDenied.QpsLimitForApi", text: "您的服务器调用钉钉开放平台当前接口的所有请求都被暂时禁用了"},
	{old: 90018, status: 403, new: "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi", text: "当前应用调用该接口的频率超过限制"},
	{old: 90020, status: 403, new: "Forbidden.AccessDenied.ApiCountLimitForOrg", text: "本月API调用量已用完"},
	{old: 400001, status: 500, new: "server.error", text: "系统错误"},
	{old: 400002, status: 400, new: "invalidParameter", text: "无效的参数"},
	{old: 853001, text: "时间戳格式错误"},
	{old: 853002, text: "时间戳超过有效期"},
	{old: 853003, text: "accessKey错误"},
	{old: 853004, text: "签名不匹配"},
	{status: 400, new: "Missingbody", text: "body is mandatory for this action."},
	{status: 400, new: "invalid.client", text: "无效的client_id或者client_secret"},
	{status: 400, new: "unsupported.grant.type", text: "不支持的grant_type"},
	{status: 400, new: "unauthorized.client", text: "应用未授权"},
	{status: 403, new: "Forbidden.AccessDenied.QpmLimitForAppkeyAndApi", text: "当前应用调用该接口的频率超过限制"},
	{status: 429, new: "systemBusy", text: "系统繁忙"},
	{status: 500, new: "unknownError", text: "未知错误"},
}

// refused finds a refusal by the code of either host. A code that DingTalk is
// not known to have is sent all the same: clients must survive it.
func refused(code string) *refusal {
	n, err := strconv.Atoi(code)
	for _, r := range refusals {
		if err == nil && r.old == n && n != 0 || r.new != "" && strings.EqualFold(r.new, code) {
			return &r
		}
	}
	switch {
	case err == nil:
		return &refusal{old: n, text: "error " + code}
	case strings.HasPrefix(code, "Forbidden."):
		return &refusal{new: code, status: 403, text: code}
	}
	return &refusal{new: code, status: 400, text: code}
}

// saying is the refusal with a text of its own.
func (r *refusal) saying(format string, args ...any) *refusal {
	r.text = fmt.Sprintf(format, args...)
	return r
}

// deniedPermission names the point, and the link to apply for it, as DingTalk does.
func deniedPermission(a *App, point string) *refusal {
	r := refused("60011").saying("应用尚未开通所需的权限：[%s]，点击链接申请并开通即可：https://open-dev.dingtalk.com/appscope/apply?content=%s%%23%s", point, a.ClientID, point)
	r.scopes = []string{point}
	return r
}

// deniedAddress names the address that DingTalk saw.
func deniedAddress(a *App, remote string) *refusal {
	return refused("60020").saying("访问ip不在白名单之中,request ip=%s appKey(%s)", caller(remote), a.ClientID)
}

// writeOld answers as the old host does: 200, whatever happened.
func (r *refusal) writeOld(w http.ResponseWriter) {
	old, text := r.old, r.text
	if old == 0 {
		old, text = -1, "系统繁忙"
	}
	body := map[string]any{"errcode": old, "errmsg": text, "request_id": requestID()}
	if r.wrapped {
		body["errcode"], body["sub_code"], body["sub_msg"] = 88, strconv.Itoa(old), text
		body["errmsg"] = fmt.Sprintf("ding talk error[subcode=%d,submsg=%s]", old, text)
	}
	writeJSON(w, http.StatusOK, body)
}

// writeNew answers as the new host does: a real status and `code`.
func (r *refusal) writeNew(w http.ResponseWriter) {
	status, code, text := r.status, r.new, r.text
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
