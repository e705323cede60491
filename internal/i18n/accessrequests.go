package i18n

import "maps"

// withAccessRequests adds the Chinese of what can be wrong with requests for access.
func withAccessRequests(all map[string]string) map[string]string {
	maps.Copy(all, map[string]string{
		"is not the AgentId that 应用详情 shows, a number":                                           "不是应用详情页显示的 AgentId（数字）",
		"is not a number from 1 to %d":                                                           "不是 1 到 %d 之间的数字",
		"names nobody who could answer; write users, manager: true or department_managers: true": "没有任何审批人；请填写 users、manager: true 或 department_managers: true",
		"has more than %d":            "超过 %d 个",
		"is not a DingTalk userid":    "不是钉钉 userid",
		"is not between 1m and %v":    "不在 1m 到 %v 之间",
		"is not required or optional": "不是 required 或 optional",
		"needs dingtalk: behind an SSO service nobody can be notified":                                  "需要 dingtalk：使用 SSO 服务时无法发送工作通知",
		"needs access_requests.agent_id, by which approvers are notified":                               "需要 access_requests.agent_id，用于通知审批人",
		"stands beside a rule that refuses no member; write lists, such as access: {departments: [42]}": "所在路由的规则不拒绝任何成员；请写成列表，例如 access: {departments: [42]}",
		"is on, and no route has a request: nobody can ask for anything":                                "已开启，但没有任何路由带 request：无法申请任何访问",
		"has neither state_dir nor session.store redis: a restart forgets requests and grants":          "既没有 state_dir，session.store 也不是 redis：重启后申请和授权都会丢失",
	})
	return all
}
