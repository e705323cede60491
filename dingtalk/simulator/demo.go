package simulator

// The organisation of Demo and its one app.
const (
	DemoCorpID       = "dingyunfan8f3c"
	DemoClientID     = "dingdemoapp7k2q"
	DemoClientSecret = "demo-secret-of-the-simulator-only"
	DemoAgentID      = 1000000001
)

// Demo is a small realistic organisation (云帆科技) with one app that accepts
// any loopback callback. Each person is a case to test:
//
//	zhangsan  张三    member, both e-mails, three levels deep, 主管
//	lisi      李四    member, only the directory's e-mail
//	wangwu    王五    member without e-mail, whose nickname is "admin"
//	zhaoliu   赵六    member here and in another organisation
//	ouyang    欧阳修  member whose userid has odd but legal characters
//	sunqi     孙七    of another organisation, with 张三's address as their own mailbox
//	zhouba    周八    external contact
//	wujiu     吴九    has never activated the account
//	zhengshi  郑十    enterprise account, disabled
func Demo() *Platform {
	return &Platform{
		CorpID:   DemoCorpID,
		CorpName: "云帆科技",
		Apps:     []App{{ClientID: DemoClientID, ClientSecret: DemoClientSecret, Name: "演示应用"}},
		Departments: []Department{
			{ID: 42, Name: "研发部"}, {ID: 4201, Parent: 42, Name: "平台组"}, {ID: 4202, Parent: 42, Name: "前端组"},
			{ID: 43, Name: "市场部"}, {ID: 4301, Parent: 43, Name: "华东区"}, {ID: 44, Name: "人力资源部"},
		},
		Roles: []Role{
			{ID: 100, Name: "主管", GroupID: 1, Group: "职务"}, {ID: 101, Name: "总监", GroupID: 1, Group: "职务"},
			{ID: 200, Name: "财务", GroupID: 2, Group: "岗位"}, {ID: 300, Name: "主管", GroupID: 3, Group: "项目"},
		},
		People: []Person{
			{
				ID: "zhangsan",
				Account: Account{Nick: "三哥", Avatar: "https://avatar.example/zhangsan.png", Mobile: "13800000001",
					OwnEmail: "san@home.example"},
				Record: Record{UserID: "zhangsan", Name: "张三", JobNumber: "0004", Title: "平台负责人",
					OrgEmail: "zhangsan@yunfan.example", Email: "san.zhang@yunfan.example",
					Departments: []int64{4201}, Leads: []int64{4201}, Roles: []int64{100}},
			},
			{
				ID:      "lisi",
				Account: Account{Nick: "李四", Mobile: "13800000002"},
				Record: Record{UserID: "lisi", Name: "李四", JobNumber: "0007", Title: "销售", Email: "lisi@yunfan.example",
					Departments: []int64{4301, 4202}, Roles: []int64{300}, Manager: "zhangsan"},
			},
			{
				ID:      "wangwu",
				Account: Account{Nick: "admin", Mobile: "13800000003"},
				Record:  Record{UserID: "wangwu", Name: "王五", Departments: []int64{42}},
			},
			{
				ID:      "zhaoliu",
				Account: Account{Nick: "Six", Corps: []string{"dingqinghe5d1e"}},
				Record: Record{UserID: "zhaoliu", Name: "赵六", OrgEmail: "zhaoliu@yunfan.example",
					Departments: []int64{44, 1}, Roles: []int64{200}},
			},
			{
				ID:      "ouyang",
				Account: Account{Nick: "醉翁 🍶"},
				Record: Record{UserID: "ouyang-xiu_01.A@yunfan", Name: "欧阳修", OrgEmail: "OuYang.Xiu@Yunfan.example",
					Departments: []int64{1}, Admin: true},
			},
			{
				ID: "sunqi",
				Account: Account{Nick: "张三", Mobile: "13800000006", OwnEmail: "zhangsan@yunfan.example",
					Corps: []string{"dingqinghe5d1e"}},
				Record: Record{Name: "孙七"},
			},
			{
				ID:      "zhouba",
				Account: Account{Nick: "周老师", Mobile: "13800000007"},
				Record:  Record{UserID: "zhouba", External: true, Name: "周八"},
			},
			{
				ID:      "wujiu",
				Account: Account{Nick: "吴九"},
				Record:  Record{UserID: "wujiu", Inactive: true, Name: "吴九", Departments: []int64{43}},
			},
			{
				ID:      "zhengshi",
				Account: Account{Nick: "郑十"},
				Record: Record{UserID: "zhengshi", Disabled: true, Name: "郑十", OrgEmail: "zhengshi@yunfan.example",
					Departments: []int64{43}},
			},
		},
	}
}
