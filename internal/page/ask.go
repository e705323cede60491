package page

import (
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"dinggate/internal/web"
)

// Kinds of the page.
const (
	AskConsent   = "consent"       // may an application receive this identity?
	AskCode      = "device_code"   // which code does the program show?
	AskDevice    = "device"        // may the program that shows this code sign in?
	AskLogout    = "logout"        // sign out?
	DeviceDone   = "device_done"   // it may
	DeviceDenied = "device_denied" // it may not
)

// WrongCode means that a code is unknown.
const WrongCode = "wrong_code"

// AskData is a decision of the signed-in person, made by a form of the same origin with two
// buttons: `decision` is allow or deny.
type AskData struct {
	Kind        string
	Application string // its client id
	Who         string // the signed-in person
	Place       string // the address of the program that requested it
	Code        string // the code that the program shows
	Learns      []string
	Action      string      // the URL that the form posts to: one of our paths; "" has no form
	Fields      [][2]string // hidden fields of the form
	Input       string      // the name of a field for a code; "" has none
	Wrong       string      // WrongCode, or ""
	Next        string      // the destination after the form, which the page's policy has to name
}

type askView struct {
	view
	Labels                                     askLabels
	Application, Who, Place, Code, Text, Wrong string
	Learns                                     []string
	Action                                     string
	Fields                                     []whoRow
	Input, Yes, No                             string
}

// Ask shows the page.
func (p *Pages) Ask(w http.ResponseWriter, r *http.Request, data AskData) {
	v := askView{
		view:        p.view(w, r),
		Application: clean(data.Application, 128),
		Who:         clean(data.Who, 200),
		Place:       clean(data.Place, 64),
		Code:        clean(data.Code, 16),
	}
	said := zhAsk[data.Kind]
	v.Labels = zhAskLabels
	if v.Lang == "en" {
		said, v.Labels = enAsk[data.Kind], enAskLabels
	}
	v.Heading, v.Text, v.Yes, v.No = said.Heading, said.Text, said.Yes, said.No
	for _, scope := range data.Learns {
		if text := v.Labels.learns[scope]; text != "" {
			v.Learns = append(v.Learns, text)
		}
	}
	if data.Wrong == WrongCode {
		v.Wrong = said.Wrong
	}
	csp := p.csp
	if ownPath(data.Action) {
		v.Action, v.Input, v.Posts = data.Action, data.Input, true
		csp = p.formCSP + formSource(data.Next)
		for _, f := range data.Fields {
			v.Fields = append(v.Fields, whoRow{f[0], f[1]})
		}
	}
	p.render(w, r, "ask", csp, http.StatusOK, v)
}

// formSource is a source of form-action: an origin, or the scheme of a native application.
// Browsers apply it to a form's redirects too.
func formSource(next string) string {
	u, err := url.Parse(next)
	if next == "" || err != nil || strings.ContainsAny(next, " ;,'\"\r\n") {
		return ""
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		return formTarget(next)
	}
	if !strings.Contains(u.Scheme, ".") {
		return ""
	}
	return " " + u.Scheme + ":"
}

// PostFormData is an answer that a browser posts to an application.
type PostFormData struct {
	Action string // a URL of the application
	Fields [][2]string
}

type postFormView struct {
	view
	Action template.URL
	Fields []whoRow
	Script string
}

// PostForm shows a page that submits itself, by one of our scripts or, without scripts, by its
// button (OAuth 2.0 Form Post Response Mode).
func (p *Pages) PostForm(w http.ResponseWriter, r *http.Request, data PostFormData) {
	v := postFormView{view: p.view(w, r), Script: p.assetURL("", "post_form.js")}
	v.Heading, v.Switch = v.Words.Continue, "" // its fields are used once: the page cannot be loaded again
	csp := strings.Replace(p.formCSP, "form-action 'self'", "form-action"+formSource(data.Action), 1) +
		"; script-src 'self'"
	if formSource(data.Action) == "" {
		p.answerJSON(w, r, &web.Error{Status: http.StatusBadRequest, Code: "oidc_redirect"})
		return
	}
	v.Action = template.URL(data.Action) // registered by the operator, and no script: see formSource
	for _, f := range data.Fields {
		v.Fields = append(v.Fields, whoRow{f[0], f[1]})
	}
	p.render(w, r, "post_form", csp, http.StatusOK, v)
}

// askTexts are the texts of one kind.
type askTexts struct{ Heading, Text, Yes, No, Wrong string }

var zhAsk = map[string]askTexts{
	AskConsent:   {Heading: "允许应用登录？", Text: "这个应用想用你的账号登录，它会知道：", Yes: "允许", No: "拒绝"},
	AskCode:      {Heading: "登录设备", Text: "输入设备或命令行上显示的代码。", Yes: "继续", Wrong: "代码不对或已经过期，请在设备上重新获取。"},
	AskDevice:    {Heading: "允许设备登录？", Text: "只有代码与你设备上显示的一致，并且是你本人发起的，才可以允许。别人发给你的代码请拒绝。允许后，它会知道：", Yes: "允许", No: "拒绝"},
	AskLogout:    {Heading: "要退出登录吗？", Text: "有应用请求退出登录。退出后，需要重新登录才能继续访问。", Yes: "退出登录", No: "取消"},
	DeviceDone:   {Heading: "设备已登录", Text: "可以关闭这个页面，回到设备上继续。"},
	DeviceDenied: {Heading: "已拒绝", Text: "设备没有登录。如果代码是别人发给你的，请告诉管理员。"},
}

var enAsk = map[string]askTexts{
	AskConsent: {Heading: "Let the application sign you in?",
		Text: "This application wants to sign you in with your account. It learns:", Yes: "Allow", No: "Deny"},
	AskCode: {Heading: "Sign a device in", Text: "Enter the code that your device or command line shows.", Yes: "Continue",
		Wrong: "The code is wrong or has expired. Get a new one on the device."},
	AskDevice: {Heading: "Let the device sign in?",
		Text: "Allow this only if the code is the one on your own device and you began this yourself. " +
			"Deny a code that another person sent you. The device learns:", Yes: "Allow", No: "Deny"},
	AskLogout: {Heading: "Sign out?",
		Text: "An application asks to sign you out. You will have to sign in again before you can go on.",
		Yes:  "Sign out", No: "Cancel"},
	DeviceDone: {Heading: "The device is signed in", Text: "You can close this page and go on at the device."},
	DeviceDenied: {Heading: "Denied",
		Text: "The device is not signed in. If another person sent you the code, tell your administrator."},
}

// askLabels are the labels of the facts on the page.
type askLabels struct {
	Application, Code, Place string

	learns map[string]string // by scope: what an application receives
}

var zhAskLabels = askLabels{
	Application: "应用", Code: "代码", Place: "请求来自",
	learns: map[string]string{"profile": "姓名和用户名", "email": "邮箱", "groups": "你的角色或部门", "offline_access": "在你离开后仍保持登录"},
}

var enAskLabels = askLabels{
	Application: "Application", Code: "Code", Place: "Requested from",
	learns: map[string]string{"profile": "your name and username", "email": "your email address",
		"groups": "your roles or departments", "offline_access": "it stays signed in when you have left"},
}
