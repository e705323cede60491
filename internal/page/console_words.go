package page

// consoleLabels are the texts of the console.
type consoleLabels struct {
	Heading, Search, Find, Reason, Grants, Previous, Next, Nothing, Unlisted, EndUnlisted, SignedInAs string

	where, incomplete, refusalsMissing string

	rows map[string]string // of the lists: labels, some values, buttons

	tabs, done, wrongs, notes, counts, one, scopes map[string]string

	refusedBy map[string]string // the note of the refusals, by scope
}

var zhConsole = consoleLabels{
	Heading: "控制台", Search: "搜索姓名、用户名、用户 ID、设备或地址", Find: "搜索", Reason: "结束原因（写入审计记录，选填）",
	Grants: "结束某人的全部会话时，同时收回其访问授权", Previous: "上一页", Next: "下一页", Nothing: "没有记录。",
	Unlisted: "没有列出的会话也可以结束：", EndUnlisted: "结束此用户 ID 的全部会话", SignedInAs: "当前登录",
	where:      "第 %d 页，共 %d 页",
	incomplete: "暂时读不到完整的列表，可能有会话没有列出。按用户 ID 结束某人的全部会话时，没有列出的也会结束。",
	tabs: map[string]string{ConsoleSessions: "会话", ConsoleRequests: "申请与授权", ConsoleRefusals: "拒绝记录",
		ConsoleStatus: "运行状态"},
	done: map[string]string{ConsoleEndedSession: "会话已结束。", ConsoleEndedPerson: "此人的全部会话已结束，对所有副本生效。",
		ConsoleEndedUserID:  "此用户 ID 若有会话，已全部结束，对所有副本生效。请核对用户 ID：填错时不会结束任何会话。",
		ConsoleEndedRequest: "申请或授权已结束，所有副本在 2 秒内生效。", ConsoleOver: "该项已经结束，无需操作。"},
	wrongs: map[string]string{
		ConsoleWrongReason: "没有执行：原因不能超过 200 字，也不能含有制表符、换行或不可见字符。请修改后重试。",
		ConsoleWrongSearch: "无法搜索：搜索内容不能超过 100 字，也不能含有不可见字符或无效编码。",
	},
	notes: map[string]string{
		ConsoleRequests: "列出所有副本上待审批的申请，以及有效的授权。",
		ConsoleStatus:   "本副本的状态，以及最近上报的各副本。",
	},
	refusalsMissing: "暂时读不到完整的列表，可能缺少其他副本、或重启前的记录。",
	refusedBy: map[string]string{
		ScopeProcess: "列出最近 24 小时内被本服务进程拒绝的登录和访问，最多 2,000 条；同一人对同一路由，各副本每分钟记一次。",
		ScopeMachine: "列出最近 24 小时内被这台服务器拒绝的登录和访问，最多 2,000 条；同一人对同一路由，每分钟记一次。",
		ScopeFleet:   "列出最近 24 小时内被各副本拒绝的登录和访问，最多 2,000 条；同一人对同一路由，各副本每分钟记一次。",
	},
	counts: map[string]string{ConsoleSessions: "共 %d 个会话", ConsoleRequests: "共 %d 项", ConsoleRefusals: "共 %d 条"},
	one:    map[string]string{ConsoleSessions: "共 %d 个会话", ConsoleRequests: "共 %d 项", ConsoleRefusals: "共 %d 条"},
	scopes: map[string]string{
		ScopeProcess: "只列出本服务进程自 %s 以来见过的会话；按用户 ID 结束时，没有列出的也会结束。",
		ScopeMachine: "列出这台服务器上的会话；其他副本的不在其中。",
		ScopeFleet:   "列出所有副本上的会话；最近访问时间可能晚几分钟更新。",
	},
	rows: map[string]string{
		"device":      "设备",
		"address":     "登录地址",
		"signedIn":    "登录时间",
		"lastSeen":    "最近访问",
		"lastAddress": "最近访问地址",
		"ends":        "到期时间",
		"how":         "登录方式",
		"silent":      "钉钉内免登",
		"local":       "本地账号",
		"own":         "当前浏览器",
		"route":       "页面",
		"state":       "状态",
		"reason":      "理由",
		"duration":    "时长",
		"requested":   "申请时间",
		"approvers":   "审批人",
		"notice":      "通知",
		"unnotified":  "审批人可能没有收到",
		"by":          "答复人",
		"until":       "有效至",
		"waiting":     "待审批",
		"granted":     "已授权",
		"at":          "时间",
		"from":        "地址",
		"why":         "原因",
		"rule":        "路由规则",
		"explain":     "排查命令",
		"unknown":     "未知人员",
		"endSession":  "结束会话",
		"endPerson":   "结束此人全部会话",
		"endRequest":  "结束申请",
		"endGrant":    "收回授权",
	},
}

var enConsole = consoleLabels{
	Heading: "Console", Search: "Name, username, userid, device or address", Find: "Search",
	Reason: "Reason (for the audit record, optional)",
	Grants: "Ending all sessions of a person also takes back what they were granted", Previous: "Previous", Next: "Next",
	Nothing: "Nothing is listed.", Unlisted: "Sessions that are not listed can be ended, too:",
	EndUnlisted: "End all sessions of this userid", SignedInAs: "Signed in as",
	where:      "Page %d of %d",
	incomplete: "The list cannot be read completely now: sessions may be missing. Ending all sessions of a userid ends those, too.",
	tabs: map[string]string{ConsoleSessions: "Sessions", ConsoleRequests: "Requests and grants", ConsoleRefusals: "Refusals",
		ConsoleStatus: "Status"},
	done: map[string]string{ConsoleEndedSession: "The session has ended.",
		ConsoleEndedPerson:  "All sessions of this person have ended, on every replica.",
		ConsoleEndedUserID:  "Any sessions under this userid have ended, on every replica. Check the userid: a misspelled one ends nothing.",
		ConsoleEndedRequest: "The request or grant has ended; other replicas follow within 2 seconds.",
		ConsoleOver:         "It was over already: there is nothing to do."},
	wrongs: map[string]string{
		ConsoleWrongReason: "Nothing was ended: a reason has at most 200 characters, and no tab, line break or invisible character. Correct it and try again.",
		ConsoleWrongSearch: "The search text is not valid: it has at most 100 characters, and no invisible or wrongly encoded character.",
	},
	notes: map[string]string{
		ConsoleRequests: "Requests that wait and grants, of all replicas.",
		ConsoleStatus:   "The state of this replica, and the replicas that have reported lately.",
	},
	refusalsMissing: "The list cannot be read completely now: refusals by other replicas, or from before a restart, may be missing.",
	refusedBy: map[string]string{
		ScopeProcess: "Sign-ins and requests that this server process refused within the last 24 hours, at most 2,000; of one user at one route, one a minute.",
		ScopeMachine: "Sign-ins and requests that this server refused within the last 24 hours, at most 2,000; of one user at one route, one a minute.",
		ScopeFleet:   "Sign-ins and requests that all replicas refused within the last 24 hours, at most 2,000; of one user at one route, one a minute and replica.",
	},
	counts: map[string]string{ConsoleSessions: "%d sessions", ConsoleRequests: "%d entries", ConsoleRefusals: "%d entries"},
	one:    map[string]string{ConsoleSessions: "%d session", ConsoleRequests: "%d entry", ConsoleRefusals: "%d entry"},
	scopes: map[string]string{
		ScopeProcess: "Only sessions that this server process has seen since %s are listed; ending a userid also ends those that are not.",
		ScopeMachine: "The sessions on this server are listed; those of other replicas are not.",
		ScopeFleet:   "The sessions on all replicas are listed; “last seen” may be a few minutes late.",
	},
	rows: map[string]string{
		"device":      "Device",
		"address":     "Signed in from",
		"signedIn":    "Signed in",
		"lastSeen":    "Last seen",
		"lastAddress": "Last seen from",
		"ends":        "Ends",
		"how":         "Sign-in",
		"silent":      "Automatic, inside DingTalk",
		"local":       "Local account",
		"own":         "This browser",
		"route":       "Page",
		"state":       "State",
		"reason":      "Reason",
		"duration":    "For",
		"requested":   "Requested",
		"approvers":   "Approvers",
		"notice":      "Notification",
		"unnotified":  "The approvers may not have received it",
		"by":          "Approved by",
		"until":       "Valid until",
		"waiting":     "Waiting",
		"granted":     "Granted",
		"at":          "At",
		"from":        "Address",
		"why":         "Reason",
		"rule":        "Rule of the route",
		"explain":     "Explain on the command line",
		"unknown":     "Unknown person",
		"endSession":  "End session",
		"endPerson":   "End all of this person",
		"endRequest":  "End request",
		"endGrant":    "Take back",
	},
}
