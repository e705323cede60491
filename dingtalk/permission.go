package dingtalk

import (
	"net/netip"
	"strings"
)

// permissionNames maps a permission point to its name in DingTalk's console.
var permissionNames = map[string]string{
	"open_app_api_base":                    "获取钉钉开放接口用户访问凭证的基础权限",
	"qyapi_base":                           "调用企业API时需要具备的基本权限",
	"Contact.User.Read":                    "通讯录个人信息读权限",
	"Contact.User.mobile":                  "个人手机号信息",
	"qyapi_get_member":                     "成员信息读权限",
	"qyapi_get_department_list":            "通讯录部门信息读权限",
	"qyapi_get_department_member":          "通讯录部门成员读权限",
	"fieldEmail":                           "邮箱等个人信息",
	"fieldMobile":                          "企业员工手机号信息",
	"qyapi_get_member_by_mobile":           "根据手机号获取成员基本信息权限",
	"qyapi_get_omp_sso_userinfo":           "管理后台免登权限",
	"Contact.OrgAccountSecurity.ReadWrite": "通讯录企业账号安全数据读写权限",
	"Contact.OrgAccountMigration.Read":     "通讯录企业账号迁移数据读权限",
	"Contact.Common.Read":                  "通讯录基本数据读权限",
}

// neededPermissions lists what each call needs, for refusals that do not name it.
var neededPermissions = map[string]string{
	pathMe:           "Contact.User.Read",
	pathMigrated:     "Contact.OrgAccountMigration.Read",
	pathGetByUnionID: "qyapi_get_member",
	pathUserGet:      "qyapi_get_member",
	pathParents:      "qyapi_get_department_list",
	pathGetUserInfo:  "qyapi_base",
	pathAppToken:     "open_app_api_base",
	pathUserToken:    "open_app_api_base",
	pathScopes:       "qyapi_base",
	pathDepartment:   "qyapi_get_department_list",
	pathRoles:        "qyapi_get_department_list",

	pathSubDepartments: "qyapi_get_department_list",

	pathDepartmentsBelow: "qyapi_get_department_list",

	pathUserList:     "qyapi_get_department_member",
	pathRoleMembers:  "qyapi_get_department_member",
	pathLeaveRecords: "Contact.Common.Read",
}

// PermissionName returns the name of a permission point in DingTalk's console: the
// Chinese name before the point, or the point alone if the name is unknown.
func PermissionName(point string) string {
	if name := permissionNames[point]; name != "" {
		return name + " " + point
	}
	return point
}

// hints say where the operator corrects a refusal, for every code whose hint needs
// no detail of the refusal.
var hints = map[string]string{
	"credentials_wrong": "Client ID 或 Client Secret 不正确 — 开发者后台 > 基础信息 > 凭证与基础信息 (wrong Client ID or " +
		"Client Secret)",
	"corp_mismatch": "corp_id 与应用不匹配 — 开发者后台首页显示本企业的 corpId (corp_id is not the organisation of this " +
		"app: the home page of the developer console shows it)",
	"token_refused": "应用的 access_token 更新后仍被拒绝；请核对 Client ID 与 corp_id — 开发者后台 > 基础信息 > 凭证与基础信息 (a fresh " +
		"app token is refused: check Client ID and corp_id)",
	"out_of_scope": "此人不在应用的可使用范围或通讯录授权范围内，或应用未发布 — 开发者后台 > 应用发布 > 版本管理与发布 > 可使用范围；权限管理 > 通讯录权限 > 授权范围 " +
		"(the person is outside the app's visible range or contact scope, or the app is not published)",
	"app_disabled":          "应用已停用 — 管理后台 https://oa.dingtalk.com > 工作台 (the app is stopped)",
	"organisation_disabled": "企业已禁用 (the organisation is disabled in DingTalk)",
	"quota_exhausted":       "本月 API 调用量已用完 — 开发者后台 > 资源管理 (the monthly API quota is used up)",
	"department_unknown": "部门不存在或不在通讯录授权范围内 — 开发者后台 > 权限管理 > 通讯录权限 > 授权范围 (the department does not exist or " +
		"is outside the contact scope)",
	"consent_missing": "此人没有同意应用读取其账号信息：重新登录并点“同意”；若人人如此，请核对 通讯录个人信息读权限 Contact.User.Read — 开发者后台 > 权限管理 " +
		"(this person did not agree that the app reads their account: sign in again and agree; if it is everybody, check " +
		"Contact.User.Read)",
	"clock_wrong": "本机时钟与钉钉相差超过 1 分钟 (this machine's clock is more than a minute off)",
	"no_username": "通讯录中没有 dingtalk.username 所选的字段；邮箱需要 邮箱等个人信息 fieldEmail — 开发者后台 > 权限管理 (the record " +
		"lacks the field chosen as username; e-mail needs fieldEmail)",
}

// hint returns the operator's text for a refusal with this code.
func hint(e *APIError, code string) string {
	switch code {
	case "permission_missing":
		points := e.Scopes
		if len(points) == 0 && neededPermissions[e.Path] != "" {
			points = []string{neededPermissions[e.Path]}
		}
		names := make([]string, len(points))
		for i, point := range points {
			names[i] = PermissionName(point)
		}
		if len(names) == 0 {
			names = []string{"调用 " + e.Path + " 所需的权限"}
		}
		return strings.Join(names, ", ") +
			" — 开发者后台 > 权限管理 (permission not granted: Developer console > Permission management)"
	case "ip_not_allowed":
		return "出口 IP " + addressIn(e.Message) +
			" 不在服务器出口IP中 — 开发者后台 > 开发配置 > 安全设置 > 服务器出口IP (our public address is not on the app's allow-list)"
	}
	return hints[code]
}

// pointsIn finds the permission points that a refusal names in brackets:
// 应用尚未开通所需的权限：[qyapi_get_member]，点击链接….
func pointsIn(message string) []string {
	_, rest, found := strings.Cut(message, "权限")
	if !found {
		return nil
	}
	_, rest, found = strings.Cut(rest, "[")
	inside, _, closed := strings.Cut(rest, "]")
	if !found || !closed {
		return nil
	}
	return points(strings.FieldsFunc(inside, func(r rune) bool { return r == ',' || r == ' ' || r == '，' }))
}

// points keeps what has the form of a permission point: the list comes from
// DingTalk and goes into a log line.
func points(list []string) []string {
	var found []string
	for _, point := range list {
		odd := func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '_' ||
				r == '-')
		}
		if point != "" && len(point) <= 80 && len(found) < 10 && !strings.ContainsFunc(point, odd) {
			found = append(found, point)
		}
	}
	return found
}

// addressIn finds the IP address that DingTalk saw: …request ip=203.0.113.9 appKey(…)….
func addressIn(message string) string {
	odd := func(r rune) bool {
		return !('0' <= r && r <= '9' || 'a' <= r && r <= 'f' || 'A' <= r && r <= 'F' || r == '.' || r == ':')
	}
	for _, word := range strings.FieldsFunc(message, odd) {
		if addr, err := netip.ParseAddr(strings.Trim(word, ".:")); err == nil {
			return addr.String()
		}
	}
	return ""
}
