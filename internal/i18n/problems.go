package i18n

// problems maps the format of every problem that an operator can see, an argument of conf.Textf,
// conf.Errorf, conf.Place or the loader of the configuration, to its Chinese. A test finds formats
// without a row and rows without a format.
var problems = joined(problemTables)

// problemTables are the rows of problems by theme. No format is in two of them.
var problemTables = [][]Message{sourceProblems, serverProblems, sessionProblems, providerProblems, routeProblems,
	accessRequestProblems, setupProblems}

func joined(tables [][]Message) map[string]string {
	all := map[string]string{}
	for _, table := range tables {
		for _, row := range table {
			all[row[English]] = row[Chinese]
		}
	}
	return all
}

// causes maps texts of the system and the YAML parser to Chinese.
var causes = map[string]string{
	"no such file or directory":                              "文件不存在",
	"permission denied":                                      "没有权限",
	"is a directory":                                         "是一个目录",
	"could not find expected ':'":                            "缺少冒号“:”",
	"did not find expected key":                              "此处应为键",
	"mapping values are not allowed in this context":         "此处不能出现“键: 值”",
	"found character that cannot start any token":            "有不能作为开头的字符",
	"found a tab character that violates indentation":        "缩进中有制表符",
	"did not find expected ',' or ']'":                       "列表缺少“,”或“]”",
	"did not find expected ',' or '}'":                       "花括号中缺少“,”或“}”",
	"did not find expected '-' indicator":                    "此处应为列表项“-”",
	"block sequence entries are not allowed in this context": "此处不能出现列表项“-”",
	"found unexpected end of stream":                         "文件提前结束，可能缺少引号",
}
