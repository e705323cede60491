package i18n

// setupProblems are the texts about the app at DingTalk and its organisation.
var setupProblems = []Message{
	{"is not what dinggate departments --json prints: %s", "不是 dinggate departments --json 的输出：%s"},
	{"names the department %s, which is not in %s; the nearest is %s", "中的部门 %s 不在 %s 中；最接近的是 %s"},
	{"names the role %s, which is not in %s; the nearest is %s", "中的角色 %s 不在 %s 中；最接近的是 %s"},
	{"names the role %s, which is not in %s", "中的角色 %s 不在 %s 中"},
	{"is not an address that is safe in a shell", "不是 Shell 可以安全读取的地址"},
	{"is set: users sign in at that service, and no app at DingTalk is needed", "已设置：成员在该服务登录，此处不需要钉钉应用"},
}
