package explain

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/i18n"
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy/access"
)

// The answer to a request, by our own proxy and to a gateway.
var (
	answerPass      = i18n.Message{"200 with the headers of headers.response", "200，并带上 headers.response 中的响应头"}
	answerForbidden = i18n.Message{"403", "403"}
	answerSignIn    = i18n.Message{"a page load: 302 to the sign-in; other requests: 401 JSON",
		"页面访问：302 跳转登录；其他请求：401 JSON"}
	answerAskSignIn = i18n.Message{"nginx: 401; other gateways: 302 to the sign-in for a page load, otherwise 401 JSON",
		"nginx：401；其他网关：页面访问 302 跳转登录，其余 401 JSON"}
	answerNoUpstream = i18n.Message{"404: the route has no upstream and only answers gateways",
		"404：该路由没有 upstream，仅用于网关鉴权"}
	answerNoRoute    = i18n.Message{"404: no route matches", "404：没有匹配的路由"}
	answerNotAllowed = i18n.Message{"403: the rule does not allow this person", "403：规则不包含此人"}
	answerAmbiguous  = i18n.Message{"400: interpretations of the path match different routes or rules",
		"400：该路径有多种解读方式，会命中不同的路由或规则"}
	answerBadPath     = i18n.Message{"400: the path is ambiguous", "400：路径无法唯一解读"}
	answerUnknownHost = i18n.Message{
		"421: the host is neither public_url's nor a route's nor below cookie.domain (hosts: any allows it; a " +
			"trusted proxy may use it)",
		"421：该域名既不是 public_url 的，也不是任何路由的，且不在 cookie.domain 之下（hosts: any 可放行；受信任的代理可使用该名称）",
	}
	answerOwn = i18n.Message{
		"answered by dinggate itself: the path is below prefix (or /dingtalk) and never forwarded",
		"由 dinggate 自己应答：位于 prefix（或 /dingtalk）之下，绝不转发",
	}
)

// StepWords has the Chinese text of the steps of access.Explain, by their formats.
var StepWords = map[string]string{
	"matches":                                                             "匹配",
	"does not match: another path":                                        "不匹配：路径不同",
	"does not match: another host":                                        "不匹配：主机不同",
	"does not match: another method":                                      "不匹配：方法不同",
	"may match: the path is unknown":                                      "可能是它：路径未知",
	"may match: the host is unknown":                                      "可能是它：主机未知",
	"may match: the method is unknown":                                    "可能是它：方法未知",
	"may be read as %s":                                                   "也可能被读作 %s",
	"may match: many applications ignore the final slash":                 "可能是它：许多应用不区分末尾斜杠",
	"may match: servers also run a script for the path after its name":    "可能是它：脚本名之后还有路径时，服务器也会运行该脚本",
	"the stricter rule decides, since it may also mean %s":                "以更严格的规则为准，因为也可能指 %s",
	"is served without regard to letter case by many applications, as %s": "许多应用不区分大小写，会当作 %s 处理",
	"letter case alone selects another rule":                              "仅大小写不同即命中另一条规则",
	"no route matches":                                                    "没有匹配的路由",
	"the readings of the path select different routes":                    "路径的不同读法命中不同的路由",
	"is public, but not for a path that is not written plainly":           "公开，但不适用于写法不规范的路径",
	"requires a sign-in: no session":                                      "要求登录：当前未登录",
	"names this person in no part of its rule":                            "规则的任何部分都不包含此人",
	"networks: not used for such a path":                                  "networks：不适用于这样的路径",
	"networks: the client is in none":                                     "networks：客户端不在任何网段中",
	"departments: the person is in none of them, nor below":               "departments：此人不在这些部门及其下级中",
	"roles: the person has none of them":                                  "roles：此人没有这些角色",
	"users: the person is none of them":                                   "users：不包含此人",
	"emails: the person's is none of them":                                "emails：不包含此人的邮箱",
	"deny refuses: %s":                                                    "deny 拒绝：%s",
	"deny: nothing in it applies":                                         "deny：没有一项符合",
	"all[%d] holds: %s":                                                   "all[%d] 满足：%s",
	"all[%d] does not hold":                                               "all[%d] 不满足",
	"fresh %v: it is unknown when the person signed in":                   "fresh %v：不知道此人何时登录",
	"fresh %v: the sign-in was silent, which does not count":              "fresh %v：上次是免登，不算",
	"fresh %v: the sign-in was %v ago":                                    "fresh %v：上次登录在 %v 之前",
	"fresh %v: the sign-in is recent enough":                              "fresh %v：登录时间足够近",
}

var verdictWords = map[string]i18n.Message{
	"allow":   {"allowed", "放行"},
	"deny":    {"refused", "拒绝"},
	"sign_in": {"must sign in", "需要登录"},
	"own":     {"dinggate's own endpoint", "自有端点"},
}

// notes list what an offline explanation cannot know, and what makes it irrelevant.
func notes(c *config.Config, t access.Target, user *identity.User, d access.Decision) (all []i18n.Message) {
	if origins, err := c.Origins(); err == nil && origins.Place(t.Host) != "" {
		all = append(all, i18n.Message{
			web.HostName(t.Host) + " is in another domain than public_url: a one-time ticket transfers the session there",
			web.HostName(t.Host) + " 与 public_url 不在同一域：会话凭一次性票据转移到该域"})
	} else if !c.Reached(t.Host) {
		all = append(all, i18n.Message{
			web.HostName(t.Host) +
				" is neither public_url's host nor below cookie.domain: browsers do not send the session cookie",
			web.HostName(t.Host) + " 既不是 public_url 的主机，也不在 cookie.domain 之下：会话 Cookie 不会随请求发送"})
	}
	if user != nil && len(user.Ancestors) == 0 && d.Reason == access.NotAllowed &&
		len(c.Routes[d.Route].Access.Departments) > 0 {
		all = append(all, i18n.Message{
			"a department includes all below it: --departments must list those above the person's too, or use --lookup",
			"部门规则包含其全部下级：--departments 需一并列出上级部门，或使用 --lookup"})
	}
	return all
}

func (e *explanation) writeJSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(e)
}

// write prints the explanation for people.
func (e *explanation) write(c cli.Invocation) {
	var table i18n.Table
	row := func(name i18n.Message, format string, args ...any) {
		table = append(table, []string{c.Say(name), fmt.Sprintf(format, args...)})
	}
	row(i18n.Message{"Request", "请求"}, "%s %s", e.Method, cli.Printable(e.URL))
	if e.Path != "" && !strings.HasSuffix(e.URL, e.Path) {
		row(i18n.Message{"Read as", "规范路径"}, "%s", cli.Printable(e.Path))
	}
	row(i18n.Message{"Person", "人员"}, "%s", e.Person.Text(c.Language))
	if e.Route >= 0 {
		to := e.Upstream
		if to == "" {
			to = c.Say(i18n.Message{"(only answers gateways)", "（仅用于网关鉴权）"})
		}
		at := ""
		if e.Place != "" {
			at = " (" + e.Place + ")"
		}
		row(i18n.Message{"Route", "路由"}, "routes[%d] %s → %s%s", e.Route, e.RouteName, to, at)
	}
	verdict := c.Say(verdictWords[e.Verdict])
	if e.Rule != "" {
		verdict += ": " + e.Rule
	} else if e.Reason != "" {
		verdict += " (" + e.Reason + ")"
	}
	row(i18n.Message{"Verdict", "结论"}, "%s", verdict)
	row(i18n.Message{"Direct access", "直接访问"}, "%s", c.Say(e.Direct))
	row(i18n.Message{"Gateway", "网关鉴权"}, "%s", c.Say(e.Asked))
	table.Write(c.Stdout, "")
	e.writeSteps(c)
	e.writeHeaders(c)
	for _, note := range e.Notes {
		fmt.Fprintf(c.Stdout, "\n%s%s\n", c.Say(i18n.Message{"Note: ", "注意："}), c.Say(note))
	}
}

func (e *explanation) writeSteps(c cli.Invocation) {
	if len(e.Steps) == 0 {
		return
	}
	fmt.Fprintf(c.Stdout, "\n%s\n", c.Say(i18n.Message{"Step by step", "判断过程"}))
	var table i18n.Table
	for _, s := range e.Steps {
		at := ""
		if s.Route >= 0 {
			at = "routes[" + strconv.Itoa(s.Route) + "]"
		}
		said := s.said
		if zh := StepWords[said.Format]; zh != "" && c.Language == i18n.Chinese {
			said.Format = zh
		}
		text := said.String()
		if s.Text == e.Rule {
			text = c.Say(i18n.Message{"allows: ", "放行："}) + s.Text
		}
		table = append(table, []string{at, s.Name, cli.Printable(text)})
	}
	table.Write(c.Stdout, "  ")
}

func (e *explanation) writeHeaders(c cli.Invocation) {
	for _, set := range []struct {
		title i18n.Message
		pairs [][2]string
	}{
		{i18n.Message{"Headers for the upstream", "应用收到的请求头"}, e.Request},
		{i18n.Message{"Headers for a gateway", "网关收到的响应头"}, e.Response},
	} {
		if len(set.pairs) == 0 {
			continue
		}
		fmt.Fprintf(c.Stdout, "\n%s\n", c.Say(set.title))
		for _, pair := range set.pairs {
			fmt.Fprintf(c.Stdout, "  %s: %s\n", pair[0], pair[1])
		}
	}
}
