package i18n

// accessRequestProblems are the Chinese texts of mistakes in access_requests.
var accessRequestProblems = []Message{
	{"is not the AgentId that 应用详情 shows, a number", "不是应用详情页显示的 AgentId（数字）"},
	{"is not a number from 1 to %d", "不是 1 到 %d 之间的数字"},
	{"has no approver; write users, manager: true or department_managers: true",
		"没有任何审批人；请填写 users、manager: true 或 department_managers: true"},
	{"has more than %d", "超过 %d 个"},
	{"is not a DingTalk userid", "不是钉钉 userid"},
	{"is not between 1m and %v", "不在 1m 到 %v 之间"},
	{"is not required or optional", "不是 required 或 optional"},
	{"would let every member see and end everybody's sessions; write lists, such as {roles: [管理员]}",
		"会让所有成员都能查看和结束任何人的会话；请写成列表，例如 {roles: [管理员]}"},
	{"has networks; an address is no person: write them below all, beside the people", "含有网段，而地址不代表任何人：请写在 all 中，与人员条件并列"},
	{"needs dingtalk: with an SSO service no approver can be notified", "需要 dingtalk：使用 SSO 服务时无法发送工作通知"},
	{"needs access_requests.agent_id, by which approvers are notified", "需要 access_requests.agent_id，用于通知审批人"},
	{"belongs to a rule that refuses no member; write lists, such as access: {departments: [42]}",
		"所在路由的规则不拒绝任何成员；请写成列表，例如 access: {departments: [42]}"},
	{"is set, but no route has a request: access cannot be requested", "已开启，但没有任何路由带 request：无法申请任何访问"},
	{"is used without state_dir and session.store redis: requests and grants are lost in a restart",
		"既没有 state_dir，session.store 也不是 redis：重启后申请和授权都会丢失"},
}
