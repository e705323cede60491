package config

import (
	_ "embed"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"dinggate/internal/i18n"
)

// The text before the tables of the reference, in Markdown.
var (
	//go:embed reference.en.txt
	refHeadEnglish string
	//go:embed reference.zh.txt
	refHeadChinese string
)

// Texts of the reference.
var (
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

// Document returns the reference of all keys as a page: docs/configuration.md or its Chinese version.
func Document(in i18n.Language) []byte {
	var b strings.Builder
	names := strings.NewReplacer("STANDARD_FILE", StandardFile, "ROUTES_FOLDER", RoutesFolder)
	b.WriteString(names.Replace(in.Say(i18n.Message{refHeadEnglish, refHeadChinese})))
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
			if strings.HasPrefix(k.Path, list.entries()) {
				b.WriteString(k.row(in))
			}
		}
	}
	return []byte(b.String())
}

// row is a key in the table, with its description.
func (k key) row(in i18n.Language) string {
	env, flag, change := "`"+k.Env()+"`", in.Say(refNo), in.Say(refReload)
	entry := strings.Contains(k.Path, "[].") || strings.HasPrefix(k.Path, consoleRule+".")
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

// entryStandard returns the default of a key, also of one in a route.
func (k key) entryStandard() string {
	name, route := strings.CutPrefix(k.Path, "routes[].")
	if !route {
		if strings.Contains(k.Path, "[].") || strings.HasPrefix(k.Path, consoleRule) {
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
	case k.FileOnly && t.Kind() != reflect.Pointer:
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

// text describes the valid values.
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
