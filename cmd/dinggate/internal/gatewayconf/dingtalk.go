package gatewayconf

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/dingtalkapp"
	"dinggate/dingtalk"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
)

// DingTalkFlags are the flags of `gen dingtalk`.
var DingTalkFlags = append([]cli.Flag{
	{Name: "app", Value: "ID", Help: i18n.Message{
		"the app's unifiedAppId, as dws dev app list shows it", "应用的 unifiedAppId，见 dws dev app list"}},
	{Name: "keep", Value: "URL,URL", Help: i18n.Message{
		"registered redirect URLs to keep: dws replaces the whole list",
		"已登记并需保留的重定向 URL：dws 会整组覆盖"}},
}, Flags...)

// RunDingTalk prints the required settings of the app at DingTalk, as commands of
// DingTalk's command-line tool and as a checklist for the console:
//
//	dinggate gen dingtalk --config config.yaml
//
// Output and exit codes are those of Run.
func RunDingTalk(c cli.Invocation) int {
	if c.Given["out"] == "" && (c.Has("out") || c.Has("force")) {
		return c.Misused(conf.Problem{Key: "--out", Text: conf.Textf("is missing")})
	}
	cfg, problems := c.Load()
	problems = slices.DeleteFunc(problems, func(p conf.Problem) bool {
		return p.Warning || !p.Usage && !config.AffectsGateway(p.Key)
	})
	if cfg.SSO.On() {
		problems = append(problems, conf.Problem{Key: "sso",
			Text: conf.Textf("is set: users sign in at that service, and no app at DingTalk is needed")})
	}
	if len(problems) > 0 {
		config.PrintProblems(c.Stderr, c.Language, problems)
		return config.ExitCode(problems)
	}
	a := &dingtalkConfig{Settings: dingtalkapp.For(cfg), in: c.Language, public: cfg.PublicURL,
		app: c.Given["app"], kept: c.List("keep")}
	if isSafe(cfg.DingTalk.ClientID, "-_") {
		a.client = cfg.DingTalk.ClientID
	}
	if faults := a.faults(); len(faults) > 0 {
		return c.Misused(faults...)
	}
	if c.Has("out") {
		return writeFiles(c, a.render())
	}
	fmt.Fprint(c.Stdout, joined(a.render()))
	return 0
}

// dingtalkConfig is the data of the two files. As in GatewayConfig, no text can end the
// word that contains it.
type dingtalkConfig struct {
	dingtalkapp.Settings
	in     i18n.Language
	public string
	client string   // "": not known
	app    string   // unifiedAppId; "": to be filled in
	kept   []string // registered redirect URLs; nil: to be filled in
}

func (a *dingtalkConfig) faults() (all []conf.Problem) {
	if a.app != "" && !isSafe(a.app, "-_.") {
		all = append(all, conf.Problem{Key: "--app", Usage: true,
			Text: conf.Textf("contains characters other than letters, digits and - . _")})
	}
	for _, address := range a.kept {
		if !shellAddress(address) {
			all = append(all, conf.Problem{Key: "--keep", Usage: true,
				Text: conf.Textf("is not an address such as https://app.example.com")})
			break
		}
	}
	for _, address := range append(slices.Clone(a.Redirects), a.Homepage) {
		if !shellAddress(address) {
			return append(all, conf.Problem{Key: "public_url", Text: conf.Textf("is not an address that is safe in a shell")})
		}
	}
	return all
}

// shellAddress accepts http addresses that are literal between double quotes.
func shellAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && isSafe(s, ":/.-_~?=&%+[]@")
}

func (a *dingtalkConfig) render() []File {
	return []File{{"dingtalk.sh", a.script()}, {"dingtalk.md", a.checklist()}}
}

// dws returns one command of DingTalk's command-line tool for the app.
func dws(words string) string {
	return `dws dev app ` + strings.Replace(words, " --", ` --unified-app-id "${APP:?}" --`, 1) + " --format json"
}

func (a *dingtalkConfig) script() string {
	var b strings.Builder
	note := func(en, zh string) { b.WriteString("# " + a.in.Say(i18n.Message{en, zh}) + "\n") }
	line := func(text string) { b.WriteString(text + "\n") }

	note("What the app at DingTalk needs for "+a.public+", for dws (dingtalk-workspace-cli).",
		a.public+" 所需的钉钉应用配置，由 dws（dingtalk-workspace-cli）执行。")
	note("Go line by line: --dry-run in place of --yes shows what a line would change.",
		"请逐行执行：把 --yes 换成 --dry-run 可先预览。")
	line("dws auth login")
	line("dws dev app list --format json")
	if a.client != "" {
		note("unifiedAppId of the app whose appKey is "+a.client+":", "appKey 为 "+a.client+" 的应用的 unifiedAppId：")
	} else {
		note("unifiedAppId of the app:", "应用的 unifiedAppId：")
	}
	line(`APP="` + a.app + `"`)
	line("")
	if a.kept == nil {
		note("The next command replaces the whole list: name here what is registered already, with commas.",
			"下一条命令会整组覆盖重定向URL：请在此填写已登记的地址，以逗号分隔。")
		line(`#OLD=""`)
	} else {
		line(`OLD="` + strings.Join(a.others(), ",") + `"`)
	}
	line(dws(`security config --redirect-urls "${OLD?}${OLD:+,}`+strings.Join(a.Redirects, ",")+`"`) + " --yes")
	line("")
	for _, p := range a.Required {
		note(reason(p))
	}
	line(dws("permission add --scope-values "+points(a.Required)) + " --yes")
	note("Optional, each with what it does; take the # away:", "可选权限及其用途；需要时去掉行首的 #：")
	for _, p := range a.Optional {
		note(reason(p))
		line("#" + dws("permission add --scope-values "+p.Point) + " --yes")
	}
	line("")
	note("The entry in the workbench:", "工作台入口：")
	line(dws(`webapp config --homepage-url "`+a.Homepage+`" --pc-homepage-url "`+a.Homepage+`"`) + " --yes")
	line("")
	if len(a.Events) > 0 {
		note("dinggate has to run when events are subscribed to: DingTalk looks for its connection.",
			"订阅事件时 dinggate 必须正在运行：钉钉会检查长连接是否在线。")
		line(dws("event subscribe --event-codes "+strings.Join(a.Events, ",")) + " --yes")
		line("")
	}
	note("Nothing counts before a version is released. create answers the versionId:", "发布之前以上均不生效。create 返回 versionId：")
	line(dws(`version create --desc "dinggate"`) + " --yes")
	line(`VERSION=""`)
	line(dws(`version check-approval --version-id "${VERSION:?}"`))
	note("Add --approver-user-id USERID where check-approval asks for one, --confirmed-sensitive where it names "+
		"sensitive permissions.",
		"check-approval 要求选择审批人时加 --approver-user-id USERID；提示高敏权限时加 --confirmed-sensitive。")
	line(dws(`version publish --version-id "${VERSION:?}"`) + " --yes")
	note("Until RELEASE:", "直到 RELEASE：")
	line(dws(`version status --version-id "${VERSION:?}"`))
	note("dws does not set who may use the app and whom it sees: tick these off in the console. Then: "+
		"dinggate doctor --dws",
		"可使用范围和通讯录授权范围无法用 dws 设置，请在开发者后台核对。完成后运行：dinggate doctor --dws")
	return b.String()
}

// others are the registered redirect URLs beside ours.
func (a *dingtalkConfig) others() (all []string) {
	for _, address := range a.kept {
		if !slices.Contains(a.Redirects, address) {
			all = append(all, address)
		}
	}
	return all
}

// reason is a permission with its reason, in English and Chinese.
func reason(p dingtalkapp.Permission) (en, zh string) {
	return dingtalk.PermissionName(p.Point) + ": " + p.Why[i18n.English],
		dingtalk.PermissionName(p.Point) + "：" + p.Why[i18n.Chinese]
}

func points(permissions []dingtalkapp.Permission) string {
	var all []string
	for _, p := range permissions {
		all = append(all, p.Point)
	}
	return strings.Join(all, ",")
}

// checklist is the same for an administrator in the console.
func (a *dingtalkConfig) checklist() string {
	var b strings.Builder
	head := func(en, zh string) { b.WriteString("\n## " + a.in.Say(i18n.Message{en, zh}) + "\n\n") }
	tick := func(en, zh string) { b.WriteString("- [ ] " + a.in.Say(i18n.Message{en, zh}) + "\n") }
	b.WriteString("# " + a.in.Say(i18n.Message{
		"DingTalk's console for " + a.public, "钉钉开发者后台配置清单：" + a.public}) + "\n\n" +
		a.in.Say(i18n.Message{"Tick off at https://open-dev.dingtalk.com > 应用开发 > 企业内部应用 > 钉钉应用 > the app",
			"在 https://open-dev.dingtalk.com > 应用开发 > 企业内部应用 > 钉钉应用 > 该应用 中逐项核对"}) + "\n")

	head("开发配置 > 安全设置", "开发配置 > 安全设置")
	for _, address := range append(slices.Clone(a.Redirects), a.others()...) {
		tick("重定向URL（回调域名）: `"+address+"`", "重定向URL（回调域名）：`"+address+"`")
	}
	tick("服务器出口IP: empty, or every public address that dinggate goes out by", "服务器出口IP：留空，或填写 dinggate 的全部公网出口地址")
	tick("端内免登地址, for the sign-in without a click inside DingTalk: `"+a.Homepage+"`", "端内免登地址（用于钉钉内免登）：`"+a.Homepage+"`")

	head("权限管理", "权限管理")
	for _, p := range a.Required {
		tick(reason(p))
	}
	for _, p := range a.Optional {
		tick(dingtalk.PermissionName(p.Point)+" (optional): "+p.Why[i18n.English],
			dingtalk.PermissionName(p.Point)+"（可选）："+p.Why[i18n.Chinese])
	}
	tick("通讯录权限 > 授权范围: 全部员工", "通讯录权限 > 授权范围：全部员工")

	head("应用能力 > 网页应用", "应用能力 > 网页应用")
	tick("应用首页地址, PC端首页地址: `"+a.Homepage+"`", "应用首页地址、PC端首页地址：`"+a.Homepage+"`")

	if len(a.Events) > 0 {
		head("开发配置 > 事件订阅", "开发配置 > 事件订阅")
		tick("Stream 模式推送, then 验证连接通道 while dinggate runs", "Stream 模式推送，在 dinggate 运行时点击 验证连接通道")
		for _, code := range a.Events {
			tick("`"+code+"`", "`"+code+"`")
		}
	}
	head("应用发布 > 版本管理与发布", "应用发布 > 版本管理与发布")
	tick("创建新版本 > 可使用范围: everybody who signs in (the default is the creator alone)",
		"创建新版本 > 可使用范围：覆盖所有需要登录的人（默认仅创建者）")
	tick("保存 > 直接发布, with 网页应用 ticked", "保存 > 直接发布，并勾选 网页应用")
	return b.String()
}
