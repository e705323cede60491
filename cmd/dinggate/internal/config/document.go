package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"dinggate/internal/i18n"
)

// words of the reference.
var (
	refHead = i18n.Message{`# Configuration reference

Every key with its default, what it can be, and whether a change needs a restart; [config.example.yaml](../config.example.yaml) is the same as a file to fill in. [中文](configuration.zh-CN.md)

This page is generated from the program: ` + "`dinggate config-reference`" + `.

## Where values come from

A flag beats a variable of the environment, that beats the file, that beats the default. The file is named by ` +
		"`--config`" + ` or ` + "`DINGGATE_CONFIG`" + `, otherwise it is ` + StandardFile + ` where that exists.

* The variable of a key is ` + "`DINGGATE_`" + ` and the key in capitals with ` + "`_`" +
		` for dots. A list is separated by commas, headers are written ` + "`Name=field,…`" +
		`. An unknown variable that begins so is a mistake.
* The flag of a key is ` + "`--`" + ` and the key: ` + "`--session.lifetime 8h`" +
		`. A secret is no flag, since every process can read a command line; the file of a secret is one.
* Lists of objects are in the file alone.
* Routes may stand in files of their own: see [Routes by team](#routes-by-team).
* A relative path in the file is relative to the file's folder, elsewhere to the folder that dinggate is started in.
* Durations are written ` + "`8h`, `15m`, `30s` or `500ms`" + `.

An editor that knows YAML schemas checks the file while you write, with this as its first line; ` +
		"`dinggate schema`" + ` prints the schema of your version:

` + "```" + `
# yaml-language-server: $schema=config.schema.json
` + "```" + `

## Routes by team

Files that end in ` + "`.yaml`" + ` in the folder ` + "`" + RoutesFolder + "`" + ` beside the file give routes, one file for each team: the file's own routes come first, then those of the files, in the order of their names. A file for what is left (` + "`path: /`" + `) therefore comes last: ` + "`zz-rest.yaml`" + `.

` + "```" + `
# yaml-language-server: $schema=routes.schema.json
routes:
  - path: /shop/
    upstream: http://127.0.0.1:8081
    access: {departments: [42]}
` + "```" + `

* A file holds ` + "`routes`" + ` and nothing else; any other key is a mistake. ` + "`dinggate schema --routes`" + ` prints the schema.
* A route that an earlier route of another file covers whole is a mistake, and both places are named: a path belongs to one file. One that shares a part of its requests with an earlier route of another file is a warning; what ` + "`/`" + ` takes is none.
* ` + "`access`" + ` and all other keys of a route are as in the file. A relative path is relative to the file that it is in.
* A mistake in one of these files is one of the configuration: nothing starts with it, and a running dinggate serves on with what it had. The folder is watched: files may come, change and go.
* ` + "`dinggate check --effective`" + ` names file and line of each route's keys. Names that begin with a dot are not read, and a name that ends in ` + "`.yml`" + ` is a mistake.
* Who may write a file decides about the paths that no earlier file has. Have the file's owner review the folder as they do the file.
`, `# 配置参考

全部配置项及其默认值、取值范围，以及修改后是否需要重启；[config.example.yaml](../config.example.yaml) 是可直接填写的同内容文件。[English](configuration.md)

本页由程序生成：` + "`dinggate config-reference`" + `。

## 值的来源

优先级：命令行 > 环境变量 > 配置文件 > 默认值。配置文件由 ` + "`--config`" + ` 或 ` + "`DINGGATE_CONFIG`" + ` 指定；都未给出时，若存在则读取 ` +
		StandardFile + `。

* 环境变量名为 ` + "`DINGGATE_`" + ` 加大写的配置项名，点写作 ` + "`_`" + `。列表以逗号分隔，请求头写作 ` + "`名称=字段,…`" + `。以此开头的未知变量视为错误。
* 命令行参数为 ` + "`--`" + ` 加配置项名，如 ` + "`--session.lifetime 8h`" + `。任何进程都能读取命令行，因此密钥不能写成参数，但存放密钥的文件可以。
* 对象列表只能写在配置文件中。
* 路由可以写在单独的文件中，见[按团队拆分路由](#按团队拆分路由)。
* 配置文件中的相对路径相对于该文件所在目录，其他来源的相对路径相对于启动目录。
* 时长写作 ` + "`8h`、`15m`、`30s` 或 `500ms`" + `。

支持 YAML Schema 的编辑器会在编写时检查配置，只需把下面一行放在文件开头；` + "`dinggate schema`" + ` 打印当前版本的 Schema：

` + "```" + `
# yaml-language-server: $schema=config.schema.json
` + "```" + `

## 按团队拆分路由

配置文件所在目录的 ` + "`" + RoutesFolder + "`" + ` 子目录中，以 ` + "`.yaml`" + ` 结尾的文件可以提供路由，每个团队一个文件：主文件的路由在前，其后按文件名排序。因此兜底路由（` + "`path: /`" + `）要放在最后一个文件中，例如 ` + "`zz-rest.yaml`" + `。

` + "```" + `
# yaml-language-server: $schema=routes.schema.json
routes:
  - path: /shop/
    upstream: http://127.0.0.1:8081
    access: {departments: [42]}
` + "```" + `

* 文件中只能写 ` + "`routes`" + `，其他配置项均为错误。` + "`dinggate schema --routes`" + ` 打印其 Schema。
* 路由被其他文件中靠前的路由完全覆盖时为错误，并给出两处的位置：同一路径只能写在一个文件中。与其他文件中靠前的路由部分重叠时给出警告；` + "`/`" + ` 作为兜底不算。
* ` + "`access`" + ` 等配置项与主文件中相同。相对路径相对于所在文件的目录。
* 这些文件中的错误等同于配置错误：无法启动；运行中的 dinggate 沿用原有配置。目录会被监视，文件可随时新增、修改、删除。
* ` + "`dinggate check --effective`" + ` 给出每条路由各配置项所在的文件和行号。以点开头的文件不会被读取；以 ` + "`.yml`" + ` 结尾的文件名视为错误。
* 能写某个文件的人，可以决定靠前文件未涉及的路径。请像审查主文件一样审查该目录。
`}
	refColumns = i18n.Message{"| key | type | default | variable | flag | change |\n|---|---|---|---|---|---|\n",
		"| 配置项 | 类型 | 默认值 | 环境变量 | 参数 | 修改 |\n|---|---|---|---|---|---|\n"}
	refTop     = i18n.Message{"General", "通用"}
	refYes     = i18n.Message{"yes", "有"}
	refNo      = i18n.Message{"no", "无"}
	refRestart = i18n.Message{"restart", "重启"}
	refReload  = i18n.Message{"reload", "重新加载"}
	refValues  = i18n.Message{"One of: ", "可选值："}
	refList    = i18n.Message{"list", "列表"}
	refEntries = i18n.Message{"Keys of an entry of ", "列表项的键："}
)

// Document is the reference of every key as a page, docs/configuration.md or its twin.
func Document(in i18n.Language) []byte {
	var b strings.Builder
	b.WriteString(in.Say(refHead))
	section, first := "", true
	var lists, alone, inSections []key
	for _, k := range Keys() {
		if strings.Contains(k.Path, ".") {
			inSections = append(inSections, k)
		} else {
			alone = append(alone, k)
		}
	}
	for _, k := range append(alone, inSections...) {
		top, _, below := strings.Cut(k.Path, ".")
		if !below {
			top = ""
		}
		if top != section || first {
			title := in.Say(refTop)
			if top != "" {
				title = top
			}
			section, first = top, false
			fmt.Fprintf(&b, "\n## %s\n\n%s", title, in.Say(refColumns))
		}
		b.WriteString(k.row(in))
		if k.FileOnly {
			lists = append(lists, k)
		}
	}
	for _, list := range lists {
		fmt.Fprintf(&b, "\n## %s%s\n\n%s", in.Say(refEntries), list.Path, in.Say(refColumns))
		for _, k := range entryKeys() {
			if strings.HasPrefix(k.Path, list.Path+"[].") {
				b.WriteString(k.row(in))
			}
		}
	}
	return []byte(b.String())
}

// row is a key in the table, with what it means below its name.
func (k key) row(in i18n.Language) string {
	env, flag, change := "`"+k.Env()+"`", in.Say(refNo), in.Say(refReload)
	entry := strings.Contains(k.Path, "[].")
	if k.FileOnly || entry {
		env = "–"
	}
	if k.isFlag() && !entry {
		flag = in.Say(refYes)
	}
	if k.fixed() {
		change = in.Say(refRestart)
	}
	standard := "–"
	if value := k.entryStandard(); value != "" {
		standard = "`" + strings.ReplaceAll(value, ",", ", ") + "`"
	}
	text := in.Say(Meanings[k.Path])
	if limits := constraints[k.Path].text(in); limits != "" {
		text += "<br>" + limits
	}
	name := k.Path[strings.LastIndex(k.Path, "].")+1:]
	name = strings.TrimPrefix(name, ".")
	return fmt.Sprintf("| `%s`<br>%s | %s | %s | %s | %s | %s |\n", name, strings.ReplaceAll(text, "|", `\|`),
		k.kind(in), standard, env, flag, change)
}

// entryStandard is the default of a key, also of one in a route.
func (k key) entryStandard() string {
	name, route := strings.CutPrefix(k.Path, "routes[].")
	if !route {
		if strings.Contains(k.Path, "[].") {
			return ""
		}
		return k.standard()
	}
	defaults := reflect.ValueOf(DefaultRoute())
	for _, f := range fieldsOf(defaults.Type()) {
		if f.name == name && name != "access" {
			return written(defaults.FieldByIndex(f.index))
		}
	}
	if name == "access" {
		return "signed_in"
	}
	return ""
}

// fixed reports whether a change needs a restart.
func (k key) fixed() bool {
	path := k.Path
	if k.FileOf != "" {
		path = k.FileOf
	}
	return slices.ContainsFunc(fixedKeys, func(f string) bool { return path == f || strings.HasPrefix(path, f+".") })
}

func (k key) kind(in i18n.Language) string {
	switch t := k.typ; {
	case k.Secret:
		return in.Say(i18n.Message{"secret", "密钥"})
	case t == durationType:
		return in.Say(i18n.Message{"duration", "时长"})
	case t == headersType:
		return in.Say(i18n.Message{"headers", "请求头"})
	case k.FileOnly:
		return in.Say(i18n.Message{"list of objects", "对象列表"})
	case t.Kind() == reflect.Bool:
		return "true, false"
	case t.Kind() == reflect.Int:
		return in.Say(i18n.Message{"number", "整数"})
	case t.Kind() == reflect.Slice:
		return in.Say(refList)
	case namesFile(k.Path):
		return in.Say(i18n.Message{"path", "路径"})
	}
	return in.Say(i18n.Message{"text", "文字"})
}

// text says what the values can be.
func (c constraint) text(in i18n.Language) string {
	span := func(low, high string) string {
		return in.Say(i18n.Message{"From " + low + " to " + high + ".", "范围 " + low + " 到 " + high + "。"})
	}
	switch {
	case c.values != nil:
		named := slices.DeleteFunc(slices.Clone(c.values), func(v string) bool { return v == "" })
		return in.Say(refValues) + "`" + strings.Join(named, "`, `") + "`"
	case c.max > 0:
		return span(Short(c.min), Short(c.max))
	case c.positive:
		return in.Say(i18n.Message{"Longer than 0s.", "大于 0s。"})
	case c.high > 0:
		return span(fmt.Sprint(c.low), fmt.Sprint(c.high))
	case c.length > 0:
		return in.Say(i18n.Message{fmt.Sprintf("At most %d characters.", c.length),
			fmt.Sprintf("最多 %d 个字符。", c.length)})
	}
	return ""
}
