package main

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/gatewayconf"
	"dinggate/internal/i18n"
)

// usage is the help on the whole.
func usage(c cli.Invocation, out io.Writer) {
	fmt.Fprintln(out, c.Say(i18n.Message{"dinggate puts DingTalk sign-in in front of any web application.", "dinggate 为任意 Web 应用加上钉钉登录。"}))
	fmt.Fprintf(out, "\n%s\n", c.Say(i18n.Message{"Commands", "命令"}))
	for _, cmd := range commands() {
		fmt.Fprintf(out, "  dinggate %-12s %s\n", cmd.name, c.Say(cmd.brief))
	}
	fmt.Fprintf(out, "\n%s\n", c.Say(i18n.Message{
		"--lang zh|en (or DINGGATE_LANG) chooses the language. Exit codes: 0 done, 1 it went wrong, 2 called wrongly.",
		"--lang zh|en（或 DINGGATE_LANG）选择语言。退出码：0 成功，1 出错，2 用法错误。"}))
	fmt.Fprintf(out, "%s\n", c.Say(i18n.Message{
		"dinggate COMMAND --help tells more. To begin: dinggate demo", "dinggate 命令 --help 查看详情。初次体验：dinggate demo"}))
}

// commandUsage is the help on one command.
func commandUsage(c cli.Invocation, out io.Writer, cmd command) {
	flags, example := cmd.operands()
	switch {
	case cmd.config:
		for _, f := range ownFlags(cmd.name) {
			flags += " [" + strings.TrimSpace("--"+f.Name+" "+f.Value) + "]"
		}
		flags += " [--config FILE] [--KEY VALUE …]"
	case cmd.listen != "":
		flags = " [--listen " + cmd.listen + "]"
		if cmd.name == "demo" {
			flags += " [--sso]"
		}
		for _, f := range ownFlags(cmd.name) {
			flags += " [--" + f.Name + " " + f.Value + "]"
		}
	}
	fmt.Fprintf(out, "dinggate %s%s\n  %s\n", cmd.name, flags, c.Say(cmd.brief))
	ownUsage(c, out, cmd)
	if !cmd.config {
		return
	}
	if cmd.name == "gen" {
		fmt.Fprintf(out, "  GATEWAY  %s\n", strings.Join(gatewayconf.Names(), ", "))
	}
	fmt.Fprintf(out, "\n%s\n", c.Say(i18n.Message{"Examples", "示例"}))
	fmt.Fprintf(out, "  dinggate %s%s --config /etc/dinggate/config.yaml\n", cmd.name, example)
	fmt.Fprintf(out, "  dinggate %s%s --config config.yaml --listen :8080 --log.level debug\n", cmd.name, example)
	fmt.Fprintf(out, "  DINGGATE_PUBLIC_URL=https://app.example.com DINGGATE_UPSTREAM=http://127.0.0.1:8080 … dinggate %s%s\n", cmd.name, example)
	fmt.Fprintf(out, "\n%s\n\n", c.Say(i18n.Message{
		`Keys. A flag beats the environment, that beats the file, that beats the default.
A list in the environment is separated by commas. A secret is no flag, since every
process can read a command line: give its file.`,
		`配置项。优先级：命令行 > 环境变量 > 配置文件 > 默认值。环境变量中的列表以逗号分隔。
密钥不能写在命令行上（任何进程都能读取命令行），请使用对应的 _file 项。`}))
	fmt.Fprintf(out, "  --config FILE  %s\n      %s\n", config.ConfigVariable, c.Say(i18n.Message{"the file to read; see config.example.yaml", "要读取的配置文件；参见 config.example.yaml"}))
	defaults := reflect.ValueOf(config.Default()).Elem()
	for _, k := range config.Keys() {
		name, env, standard := "--"+k.Path, "  "+k.Env(), ""
		if k.Secret || k.FileOnly {
			name = k.Path
		}
		if k.FileOnly {
			env = c.Say(i18n.Message{"  (file only)", "  （仅限配置文件）"})
		}
		if k.FileOf == "" && !k.Secret {
			standard = written(defaults.FieldByIndex(k.Index))
		}
		if standard != "" {
			standard = "  [" + standard + "]"
		}
		fmt.Fprintf(out, "  %s%s%s\n      %s\n", name, env, standard, c.Say(config.Meanings[k.Path]))
	}
}

// written is a value as the environment takes it.
func written(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		return short(value)
	case []string:
		return strings.Join(value, ",")
	case config.HeaderFields:
		pairs := make([]string, len(value))
		for i, rule := range value {
			pairs[i] = rule.Name + "=" + rule.Field
		}
		return strings.Join(pairs, ",")
	}
	switch v.Kind() { // without anything in them they would show Go's braces
	case reflect.Struct, reflect.Slice, reflect.Map, reflect.Pointer:
		if v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 {
			return ""
		}
	}
	return fmt.Sprint(v.Interface())
}

// short writes 24h, not 24h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
