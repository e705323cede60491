// Package describe puts a failed call and a person into the operator's words,
// for doctor and explain.
package describe

import (
	"errors"
	"fmt"
	"strings"

	"dinggate/internal/i18n"
	"dinggate/internal/identity"
)

var HintLater = i18n.Message{
	"try again in a few minutes; if it stays, look at DingTalk's status and at what stands between (proxy, firewall)",
	"请几分钟后再试；若持续存在，请检查钉钉服务状态以及中间的代理、防火墙"}

// cures are for what a person's record says: nothing is wrong with DingTalk.
var cures = map[string]i18n.Message{
	"not_member": {
		"nobody in the organisation has this userid, so that sign-ins are rightly refused; 管理后台 " +
			"https://oa.dingtalk.com > 通讯录 shows everybody's",
		"本企业没有这个 userid，登录会被正确拒绝；管理后台 https://oa.dingtalk.com > 通讯录 可查看每个人的 userid",
	},
	"external_contact": {"sign-ins are rightly refused: name an employee to try with", "登录会被正确拒绝：请换一名员工测试"},
	"inactive": {"the person signs in to DingTalk itself once; until then sign-ins are rightly refused",
		"此人需先登录一次钉钉以激活账号，此前登录会被正确拒绝"},
	"disabled": {"sign-ins are rightly refused; 管理后台 https://oa.dingtalk.com > 通讯录 enables the account again",
		"登录会被正确拒绝；如需恢复，请在 管理后台 https://oa.dingtalk.com > 通讯录 中启用"},
}

// inChinese is a hint without the English in brackets that follows.
func inChinese(hint string) string {
	if at := strings.LastIndex(hint, " ("); at > 0 && strings.HasSuffix(hint, ")") {
		return hint[:at]
	}
	return hint
}

// failureWords say in few words what identity.Failure.Code means to an operator.
var failureWords = map[string]i18n.Message{
	"permission_missing": {"permission not granted", "权限未开通"},
	"ip_not_allowed":     {"our public address is not on the app's list", "出口 IP 不在服务器出口IP名单中"},
	"credentials_wrong":  {"wrong Client ID or Client Secret", "Client ID 或 Client Secret 不正确"},
	"token_refused":      {"a fresh app token is refused", "新取得的 access_token 被拒绝"},
	"corp_mismatch":      {"is not the organisation of this app", "与应用不匹配"},
	"out_of_scope": {"outside the contact scope or the visible range, or the app is not published",
		"不在授权范围或可使用范围内，或应用未发布"},
	"app_disabled":          {"the app is stopped", "应用已停用"},
	"organisation_disabled": {"the organisation is disabled", "企业已禁用"},
	"quota_exhausted":       {"the monthly quota is used up", "本月 API 调用量已用完"},
	"throttled":             {"DingTalk asks for fewer calls", "钉钉要求减少调用"},
	"unavailable":           {"no usable answer", "没有可用的应答"},
	"bad_answer":            {"the answer is not DingTalk's", "应答无法识别，不是钉钉的接口"},
	"bad_request":           {"DingTalk does not understand the call", "钉钉不识别该调用"},
	"department_unknown":    {"no such department", "部门不存在"},
	"not_member":            {"not a member of the organisation", "不是本企业成员"},
	"external_contact":      {"an external contact, not an employee", "是外部联系人，不是员工"},
	"inactive":              {"the account was never activated", "账号未激活"},
	"disabled":              {"the account is disabled", "账号已停用"},
	"no_username":           {"the record lacks the field chosen as username", "通讯录中没有 dingtalk.username 所选的字段"},
	"unrecognized":          {"DingTalk refuses with a code that is not known here", "钉钉以未知的错误码拒绝"},
	"sso_unavailable":       {"the SSO service gives no usable answer", "SSO 服务没有可用的应答"},
	"sso_bad_answer":        {"the answer is not that of an SSO service", "应答不是 SSO 服务的格式"},
	"sso_misconfigured": {"the SSO service refuses client_id and client_secret",
		"SSO 服务拒绝 client_id 与 client_secret"},
}

// describedFailure is a failed call to DingTalk or to an SSO service, in the operator's words.
type describedFailure struct {
	Text   i18n.Message
	Cure   i18n.Message
	Detail string // the other side's own words, or the system's; never a secret
	Cause  string // equal for failures that one change cures
}

// DescribeFailure describes what a call returned. An error that is no
// *identity.Failure counts as an answer that did not come.
func DescribeFailure(err error) describedFailure {
	f, ok := errors.AsType[*identity.Failure](err)
	if !ok {
		return describedFailure{
			Text:   failureWords["unavailable"],
			Detail: fmt.Sprint(err),
			Cause:  "unavailable",
			Cure:   HintLater,
		}
	}
	out := describedFailure{Text: failureWords[f.Code], Cure: i18n.Message{f.Hint, inChinese(f.Hint)}, Cause: f.Code}
	if out.Text == (i18n.Message{}) {
		out.Text = i18n.Message{f.Code, f.Code}
	}
	switch {
	case f.Hint != "" && f.Code != "throttled":
		out.Cause = f.Code + " " + f.Hint
	case f.Hint == "":
		out.Cure = HintLater
		if cure, ok := cures[f.Code]; ok {
			out.Cure = cure
		}
	}
	if f.Err != nil {
		out.Detail = f.Err.Error()
	}
	return out
}
