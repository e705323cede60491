// Package describe describes a failed call and a person for operators, in doctor and
// explain.
package describe

import (
	"errors"
	"fmt"
	"strings"

	"dinggate/internal/i18n"
	"dinggate/internal/identity"
)

var HintLater = i18n.Message{
	"try again in a few minutes; if it persists, check DingTalk's status, and proxies and firewalls on the way",
	"请几分钟后再试；若持续存在，请检查钉钉服务状态以及中间的代理、防火墙"}

// recordHints apply to a person's record: DingTalk itself works.
var recordHints = map[string]i18n.Message{
	"not_member": {
		"no member has this userid, so sign-ins are correctly refused; 管理后台 " +
			"https://oa.dingtalk.com > 通讯录 shows all userids",
		"本企业没有这个 userid，登录会被正确拒绝；管理后台 https://oa.dingtalk.com > 通讯录 可查看每个人的 userid",
	},
	"external_contact": {"sign-ins are correctly refused: test with an employee", "登录会被正确拒绝：请换一名员工测试"},
	"inactive": {"the person must sign in to DingTalk once; until then sign-ins are correctly refused",
		"此人需先登录一次钉钉以激活账号，此前登录会被正确拒绝"},
	"disabled": {"sign-ins are correctly refused; enable the account in 管理后台 https://oa.dingtalk.com > 通讯录",
		"登录会被正确拒绝；如需恢复，请在 管理后台 https://oa.dingtalk.com > 通讯录 中启用"},
}

// inChinese returns a hint without the English in brackets that follows.
func inChinese(hint string) string {
	if at := strings.LastIndex(hint, " ("); at > 0 && strings.HasSuffix(hint, ")") {
		return hint[:at]
	}
	return hint
}

// failureWords describe each identity.Failure.Code for operators.
var failureWords = map[string]i18n.Message{
	"permission_missing": {"permission not granted", "权限未开通"},
	"consent_missing":    {"the person has not agreed that the app reads their account", "此人没有同意应用读取其账号信息"},
	"ip_not_allowed":     {"this server's public address is not on the app's list", "出口 IP 不在服务器出口IP名单中"},
	"credentials_wrong":  {"wrong Client ID or Client Secret", "Client ID 或 Client Secret 不正确"},
	"token_refused":      {"a new app token is refused", "新取得的 access_token 被拒绝"},
	"corp_mismatch":      {"is not the organisation of this app", "与应用不匹配"},
	"out_of_scope": {"outside the contact scope or the visible range, or the app is not published",
		"不在授权范围或可使用范围内，或应用未发布"},
	"app_disabled":          {"the app is disabled", "应用已停用"},
	"organisation_disabled": {"the organisation is disabled", "企业已禁用"},
	"quota_exhausted":       {"the monthly quota is used up", "本月 API 调用量已用完"},
	"throttled":             {"DingTalk throttles calls", "钉钉对调用限流"},
	"unavailable":           {"no usable answer", "没有可用的应答"},
	"bad_answer":            {"the answer is not DingTalk's", "应答无法识别，不是钉钉的接口"},
	"bad_request":           {"DingTalk does not understand the call", "钉钉不识别该调用"},
	"department_unknown":    {"no such department", "部门不存在"},
	"not_member":            {"not a member of the organisation", "不是本企业成员"},
	"external_contact":      {"an external contact, not an employee", "是外部联系人，不是员工"},
	"inactive":              {"the account was never activated", "账号未激活"},
	"disabled":              {"the account is disabled", "账号已停用"},
	"no_username":           {"the record lacks the field chosen as username", "通讯录中没有 dingtalk.username 所选的字段"},
	"unrecognized":          {"DingTalk refuses with an unknown code", "钉钉以未知的错误码拒绝"},
	"sso_unavailable":       {"the SSO service returns no usable answer", "SSO 服务没有可用的应答"},
	"sso_bad_answer":        {"the answer is not that of an SSO service", "应答不是 SSO 服务的格式"},
	"sso_misconfigured": {"the SSO service refuses client_id and client_secret",
		"SSO 服务拒绝 client_id 与 client_secret"},
}

// describedFailure is a failed call to DingTalk or to an SSO service, described for operators.
type describedFailure struct {
	Text   i18n.Message
	Hint   i18n.Message
	Detail string // the text of the other side, or of the system; never a secret
	Cause  string // equal for failures with the same remedy
}

// DescribeFailure describes the error of a call. An error that is not an
// *identity.Failure counts as a missing answer.
func DescribeFailure(err error) describedFailure {
	f, ok := errors.AsType[*identity.Failure](err)
	if !ok {
		return describedFailure{
			Text:   failureWords["unavailable"],
			Detail: fmt.Sprint(err),
			Cause:  "unavailable",
			Hint:   HintLater,
		}
	}
	out := describedFailure{Text: failureWords[f.Code], Hint: i18n.Message{f.Hint, inChinese(f.Hint)}, Cause: f.Code}
	if out.Text == (i18n.Message{}) {
		out.Text = i18n.Message{f.Code, f.Code}
	}
	switch {
	case f.Hint != "" && f.Code != "throttled":
		out.Cause = f.Code + " " + f.Hint
	case f.Hint == "":
		out.Hint = HintLater
		if hint, ok := recordHints[f.Code]; ok {
			out.Hint = hint
		}
	}
	for in := range out.Hint { // do not print the text twice
		out.Hint[in] = strings.TrimPrefix(out.Hint[in], out.Text[i18n.Chinese]+" — ")
	}
	if f.Err != nil {
		out.Detail = f.Err.Error()
	}
	return out
}
