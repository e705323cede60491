package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/dingtalkapp"
	"dinggate/dingtalk"
	"dinggate/internal/i18n"
)

// appReader compares the settings that dws reads with those that the configuration needs.
type appReader struct {
	*dingtalkapp.DWS
	want dingtalkapp.Settings
}

// dwsChecks read the app's settings with DingTalk's command-line tool. For a missing
// setting they print the command that sets it.
func dwsChecks(d *Doctor) []check {
	if d.DWS == nil {
		return nil
	}
	r := appReader{d.DWS, dingtalkapp.For(d.cfg)}
	var once sync.Once
	var app string
	var missing error
	find := func(ctx context.Context) (string, error) {
		once.Do(func() { app, missing = d.DWS.App(ctx, d.cfg.DingTalk.ClientID) })
		return app, missing
	}
	with := func(ask func(ctx context.Context, app string) Result) func(context.Context) Result {
		return func(ctx context.Context) Result {
			id, err := find(ctx)
			if err != nil {
				return dwsFailed(err)
			}
			return ask(ctx, id)
		}
	}
	all := []check{
		{Name: "dws.app", title: i18n.Message{"the app, by dws", "应用（dws）"},
			run: with(func(_ context.Context, id string) Result { return good(i18n.Message{id, id}) })},
		{Name: "dws.redirect_urls", title: i18n.Message{"redirect URLs, by dws", "重定向URL（dws）"},
			run: with(r.redirects)},
		{Name: "dws.permissions", title: i18n.Message{"permissions, by dws", "权限（dws）"},
			run: with(r.permissions)},
		{Name: "dws.webapp", title: i18n.Message{"workbench entry, by dws", "工作台入口（dws）"},
			run: with(r.webapp)},
		{Name: "dws.version", title: i18n.Message{"released version, by dws", "版本发布（dws）"},
			run: with(r.version)},
	}
	if len(r.want.Events) > 0 {
		all = append(all, check{Name: "dws.events", title: i18n.Message{"event subscriptions, by dws", "事件订阅（dws）"},
			run: with(r.events)})
	}
	return all
}

// dwsLine is the command that changes a setting.
func dwsLine(app, words, rest string) i18n.Message {
	line := "dws dev app " + words + " --unified-app-id " + shellWord(app) + rest + " --format json --yes"
	return i18n.Message{line, line}
}

// shellWord quotes s as one word of a shell: it comes from DingTalk, and people paste
// the command.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:,@%+=", r)
	}
	if s = cli.Printable(s); s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func dwsFailed(err error) Result {
	f := Result{Severity: Wrong, Text: i18n.Message{"dws does not answer", "dws 没有可用的应答"}, Detail: err.Error(),
		Hint: i18n.Message{"run dws auth login as an administrator of the app", "请以应用管理员身份执行 dws auth login"}, cause: "dws"}
	switch {
	case errors.Is(err, dingtalkapp.ErrNoDWS):
		f.Text = i18n.Message{"dws is not installed here", "本机未安装 dws"}
		f.Hint = i18n.Message{"install dingtalk-workspace-cli, or use the checklist that dinggate gen dingtalk prints",
			"请安装 dingtalk-workspace-cli，或按 dinggate gen dingtalk 打印的清单核对"}
	case errors.Is(err, dingtalkapp.ErrNoApp):
		f.Text = i18n.Message{"this login sees no app with dingtalk.client_id", "当前登录看不到 dingtalk.client_id 对应的应用"}
		f.Hint = i18n.Message{"run dws auth login as an administrator of the app, and check dingtalk.client_id",
			"请以应用管理员身份执行 dws auth login，并核对 dingtalk.client_id"}
	}
	return f
}

func (r appReader) redirects(ctx context.Context, app string) Result {
	got, known, err := r.DWS.Redirects(ctx, app)
	if err != nil {
		return dwsFailed(err)
	}
	if !known {
		return Result{Severity: Note, Text: i18n.Message{"dws does not show them", "dws 不显示已登记的地址"},
			Hint: i18n.Message{"the command that sets them replaces the whole list: dinggate gen dingtalk",
				"设置命令会整组覆盖，见 dinggate gen dingtalk"}}
	}
	if missing := absent(r.want.Redirects, func(url string) bool { return slices.Contains(got, url) }); len(missing) > 0 {
		f := dwsMissing(missing)
		f.Hint = dwsLine(app, "security config", " --redirect-urls "+
			shellWord(strings.Join(append(got, missing...), ",")))
		return f
	}
	list := strings.Join(r.want.Redirects, ", ")
	return good(i18n.Message{list, list})
}

func (r appReader) permissions(ctx context.Context, app string) Result {
	granted, err := r.DWS.Permissions(ctx, app)
	if err != nil {
		return dwsFailed(err)
	}
	var points []string
	for _, p := range slices.Concat(r.want.Given, r.want.Required) {
		points = append(points, p.Point)
	}
	missing := absent(points, func(point string) bool { return granted[point] })
	if len(missing) == 0 {
		return good(i18n.Message{"all required permissions are granted", "配置所需的权限均已开通"})
	}
	var names []string
	for _, point := range missing {
		names = append(names, dingtalk.PermissionName(point))
	}
	f := dwsMissing(names)
	f.Hint = dwsLine(app, "permission add", " --scope-values "+strings.Join(missing, ","))
	return f
}

func (r appReader) events(ctx context.Context, app string) Result {
	subscribed, err := r.DWS.Events(ctx, app)
	if err != nil {
		return dwsFailed(err)
	}
	missing := absent(r.want.Events, func(code string) bool { return subscribed[code] })
	if len(missing) == 0 {
		return good(i18n.Message{"all subscribed", "均已订阅"})
	}
	f := dwsMissing(missing)
	f.Severity = Warning // the recheck finds leavers later
	f.Hint = dwsLine(app, "event subscribe", " --event-codes "+strings.Join(missing, ","))
	return f
}

// webapp: the entry is a convenience, unless it opens another address.
func (r appReader) webapp(ctx context.Context, app string) Result {
	phone, pc, err := r.DWS.Homepages(ctx, app)
	if err != nil {
		return dwsFailed(err)
	}
	f := good(i18n.Message{cli.Printable(phone), cli.Printable(phone)})
	if phone == "" {
		f = Result{Severity: Note, Text: i18n.Message{"not set", "未配置"}}
	}
	for _, got := range []string{pc, phone} {
		if got != "" && strings.TrimSuffix(got, "/") != strings.TrimSuffix(r.want.Homepage, "/") && !strings.HasPrefix(got, r.want.Homepage) {
			f = Result{Severity: Warning, Text: i18n.Message{"opens " + cli.Printable(got), "指向 " + cli.Printable(got)}}
		}
	}
	if f.Severity != Fine {
		f.Hint = dwsLine(app, "webapp config", " --homepage-url "+shellWord(r.want.Homepage)+" --pc-homepage-url "+shellWord(r.want.Homepage))
	}
	return f
}

func (r appReader) version(ctx context.Context, app string) Result {
	v, err := r.DWS.Versions(ctx, app)
	switch {
	case err != nil:
		return dwsFailed(err)
	case v.Audit != "":
		f := Result{Severity: Warning, Text: i18n.Message{"a version waits for approval", "有版本正在审批"},
			Hint: i18n.Message{"its changes take effect when an administrator approves it", "管理员审批通过前，其中的变更不生效"}}
		if !v.Released {
			f.Severity = Wrong
		}
		return f
	case v.Draft != "":
		f := Result{Severity: Warning, Text: i18n.Message{"a version is not published: its changes have no effect",
			"有版本未发布，其中的变更不生效"},
			Hint: dwsLine(app, "version publish", " --version-id "+shellWord(v.Draft))}
		if !v.Released {
			f.Severity = Wrong
		}
		return f
	case !v.Released:
		return Result{Severity: Wrong, Text: i18n.Message{"no version was released: only the creator can sign in",
			"尚未发布任何版本，只有创建者能登录"}, Hint: dwsLine(app, "version create", "")}
	}
	return good(i18n.Message{"released", "已发布"})
}

func dwsMissing(what []string) Result {
	return Result{Severity: Wrong, Text: i18n.Message{"missing: " + strings.Join(what, ", "), "缺少：" + strings.Join(what, "、")}}
}

// absent lists what is missing.
func absent(all []string, there func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(all), there)
}
