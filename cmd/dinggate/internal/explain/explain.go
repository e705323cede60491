// Package explain reports which route and which rule decide about a request, and why.
package explain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/describe"
	"dinggate/dingtalk"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/proxy/access"
)

// Command is `dinggate explain`; grants reads the grants of a person.
func Command(grants GrantsOf) cli.Command {
	return cli.Command{
		Name: "explain", Config: true, Flags: flags, Run: Run(grants),
		Brief: i18n.Message{
			"show which route and which rule decide a request, and why",
			"说明某个请求由哪条路由、哪条规则决定，以及原因"},
		Examples: []string{
			"explain --url https://app.example.com/reports --config /etc/dinggate/config.yaml",
			"explain --url /admin/ --user zhangsan --lookup --config config.yaml",
		},
	}
}

var flags = []cli.Flag{
	{Name: "url", Value: "URL",
		Help: i18n.Message{"the requested URL, or a path on public_url's host (required)",
			"请求的地址，或 public_url 主机上的路径（必填）"}},
	{Name: "method", Value: "METHOD", Help: i18n.Message{"default GET", "默认为 GET"}},
	{Name: "user", Value: "USERID",
		Help: i18n.Message{"the person, by DingTalk userid; default: not signed in",
			"请求者的钉钉 userid；不写则视为未登录"}},
	{Name: "lookup", Value: "",
		Help: i18n.Message{"look --user up in the directory: departments, roles, e-mail", "向通讯录查询 --user 的部门、角色和邮箱"}},
	{Name: "username", Value: "NAME",
		Help: i18n.Message{"their username; default: derived from the other flags by dingtalk.username",
			"应用看到的用户名；不写则按 dingtalk.username 从其他参数得出"}},
	{Name: "departments", Value: "IDS",
		Help: i18n.Message{"their departments and all above, separated by commas", "所在部门及其全部上级，逗号分隔"}},
	{Name: "roles", Value: "ROLES", Help: i18n.Message{"names or ids, separated by commas", "角色名称或 id，逗号分隔"}},
	{Name: "email", Value: "ADDRESS", Help: i18n.Message{"their e-mail address", "邮箱"}},
	{Name: "name", Value: "NAME", Help: i18n.Message{"their name", "姓名"}},
	{Name: "job-number", Value: "NUMBER", Help: i18n.Message{"their job number", "工号"}},
	{Name: "client", Value: "ADDRESS",
		Help: i18n.Message{"the client address, for rules on networks", "客户端地址，用于 networks 规则"}},
	{Name: "json", Value: "", Help: i18n.Message{"print JSON", "输出 JSON"}},
}

// explanation is the decision about a request and the reasons. Its JSON form is for programs.
type explanation struct {
	Method    string               `json:"method"`
	URL       string               `json:"url"`
	Path      string               `json:"path,omitempty"`     // canonical; used by rules and routes
	Readings  []string             `json:"readings,omitempty"` // further paths that the rule must hold for
	Variants  []string             `json:"variants,omitempty"` // further paths; the strictest of their rules decides
	Person    *describe.PersonView `json:"person,omitempty"`
	Route     int                  `json:"route"` // index in routes; -1: none
	RouteName string               `json:"route_name,omitempty"`
	Place     string               `json:"place,omitempty"` // file:line of the route, if several files have routes
	Upstream  string               `json:"upstream,omitempty"`
	Verdict   string               `json:"verdict"` // allow, deny, sign_in
	Rule      string               `json:"rule,omitempty"`
	Reason    string               `json:"reason,omitempty"`
	Direct    i18n.Message         `json:"-"`                // the answer to a browser
	Asked     i18n.Message         `json:"-"`                // the answer to a gateway
	Status    int                  `json:"status,omitempty"` // of the answer by our own proxy
	Steps     []explainedStep      `json:"steps,omitempty"`
	Request   [][2]string          `json:"request_headers,omitempty"`
	Response  [][2]string          `json:"response_headers,omitempty"`
	Notes     []i18n.Message       `json:"-"`
}

type explainedStep struct {
	Route int    `json:"route"` // -1: the request as a whole
	Name  string `json:"name,omitempty"`
	Text  string `json:"text"`
	said  conf.Text
}

// errExplain is a command line that cannot be explained, with a localized message.
type errExplain struct{ i18n.Message }

func (e errExplain) Error() string { return e.Message[i18n.English] }

// Run prints how a request is decided. Without --lookup it makes no network connection;
// it reads grants at the control socket if the route supports requests for access. The
// exit code is 1 for a configuration with a mistake and for a person whom the directory
// does not have, 2 for a wrong command line.
func Run(grants GrantsOf) func(cli.Invocation) int {
	return func(c cli.Invocation) int { return run(c, grants) }
}

func run(c cli.Invocation, grants GrantsOf) int {
	if c.Given["url"] == "" {
		fmt.Fprintln(c.Stderr,
			c.Say(i18n.Message{"dinggate explain: give the requested URL: --url https://app.example.com/reports",
				"dinggate explain：请说明请求的地址：--url https://app.example.com/reports"}))
		return 2
	}
	cfg, problems := c.Load()
	if !c.Has("lookup") { // the secrets are on the server; routes can be explained anywhere
		problems = slices.DeleteFunc(problems, func(p conf.Problem) bool {
			return !p.Usage && !config.AffectsGateway(p.Key)
		})
	}
	if code := config.ExitCode(problems); code != 0 {
		config.PrintProblems(c.Stderr, c.Language, problems)
		return code
	}
	target, raw, err := ReadTarget(c, cfg)
	var user *identity.User
	if err == nil {
		user, err = readPerson(c)
	}
	if usage, ok := errors.AsType[errExplain](err); ok {
		fmt.Fprintf(c.Stderr, "dinggate explain: %s\n", c.Say(usage.Message))
		return 2
	}
	work := func(ctx context.Context) error {
		if c.Has("lookup") {
			found, err := LookUp(ctx, cfg, user.UserID)
			if err != nil {
				return unfound(c, user.UserID, err)
			}
			user = &found
		} else if user != nil {
			user.Username = usernameOf(cfg, user, c.Given["username"])
		}
		notes := granted(ctx, c, cfg, grants, &target, user)
		e, err := Explain(cfg, target, raw, user)
		if err != nil {
			return err
		}
		e.Notes = append(e.Notes, notes(e.Rule)...)
		if c.Has("json") {
			return e.writeJSON(c.Stdout)
		}
		e.write(c)
		return nil
	}
	return c.Until(work)
}

// ReadTarget parses --url, --method and --client. raw is the path as given.
func ReadTarget(c cli.Invocation, cfg *config.Config) (t access.Target, raw string, err error) {
	text := c.Given["url"]
	if strings.HasPrefix(text, "/") {
		text = cfg.PublicURL + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return t, "",
			errExplain{i18n.Message{"--url is neither an address with http:// or https:// nor a path",
				"--url 既不是 http:// 或 https:// 开头的地址，也不是路径"}}
	}
	host, err := web.CleanHost(u.Host, u.Scheme)
	if err != nil {
		return t, "", errExplain{i18n.Message{"--url has an invalid host", "--url 的主机名无法识别"}}
	}
	t = access.Target{Method: strings.ToUpper(c.Given["method"]), Host: host}
	if t.Method == "" {
		t.Method = http.MethodGet
	}
	if text := c.Given["client"]; text != "" {
		if t.Client, err = netip.ParseAddr(text); err != nil {
			return t, "", errExplain{i18n.Message{"--client is not an IP address", "--client 不是 IP 地址"}}
		}
	}
	_, rest, _ := strings.Cut(text, "://")
	raw = "/"
	if i := strings.IndexAny(rest, "/?#"); i >= 0 && rest[i] == '/' {
		raw, _, _ = strings.Cut(rest[i:], "?")
		raw, _, _ = strings.Cut(raw, "#")
	}
	return t, raw, nil
}

// readPerson returns the person that the flags describe; nil for an anonymous request.
func readPerson(c cli.Invocation) (*identity.User, error) {
	id := c.Given["user"]
	if id == "" {
		for _, name := range []string{"lookup", "username", "departments", "roles", "email", "name", "job-number"} {
			if c.Has(name) {
				return nil, errExplain{i18n.Message{"--" + name + " describes a person: add --user",
					"--" + name + " 描述的是某个人：请加上 --user"}}
			}
		}
		return nil, nil
	}
	u := &identity.User{
		UserID:    id,
		Name:      c.Given["name"],
		JobNumber: c.Given["job-number"],
		Email:     identity.NormalizeEmail(c.Given["email"]),
	}
	if u.Email == "" && c.Given["email"] != "" {
		return nil, errExplain{i18n.Message{"--email is not a plain address; such an address is ignored",
			"--email 不是普通的邮箱地址，这样的地址会被忽略"}}
	}
	for _, text := range c.List("departments") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, errExplain{i18n.Message{"--departments accepts only ids (numbers)",
				"--departments 只接受部门 id（数字）"}}
		}
		u.Departments = append(u.Departments, n)
	}
	for _, text := range c.List("roles") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			n = 0
		}
		u.Roles = append(u.Roles, identity.Role{ID: n, Name: text})
	}
	return u, nil
}

// usernameOf is the username that a sign-in would set, as far as the flags determine it.
func usernameOf(c *config.Config, u *identity.User, given string) string {
	local, _, _ := strings.Cut(u.Email, "@")
	for _, name := range []string{given,
		map[string]string{"job_number": u.JobNumber, "email": u.Email, "email_localpart": local,
			"name": u.Name}[c.DingTalk.Username]} {
		if name != "" {
			return name
		}
	}
	return u.UserID
}

var errNoLookup = errors.New(
	"--lookup asks DingTalk's directory, and people sign in at an SSO service here: describe the person by flags",
)

// unfound reports a failed lookup with doctor's description.
func unfound(c cli.Invocation, userID string, err error) error {
	if _, ok := errors.AsType[*identity.Failure](err); !ok {
		return err
	}
	f := describe.DescribeFailure(err)
	return fmt.Errorf("%s %s: %s\n→ %s\n  %s", c.Say(i18n.Message{"looking up", "查询"}), cli.Printable(userID),
		c.Say(f.Text), c.Say(f.Hint), cli.Printable(f.Detail))
}

func LookUp(ctx context.Context, cfg *config.Config, userID string) (identity.User, error) {
	if cfg.SSO.On() {
		return identity.User{}, errNoLookup
	}
	if err := cfg.ConnectAsService(); err != nil {
		return identity.User{}, err
	}
	client := &dingtalk.Client{Config: cfg.DingTalk}
	defer client.CloseIdleConnections()
	return (&dingtalk.Directory{
		Client:    client,
		Username:  cfg.DingTalk.Username,
		Ancestors: cfg.NamesDepartments(),
	}).Colleague(ctx, userID)
}

// Explain evaluates the same policy as serve.
func Explain(cfg *config.Config, t access.Target, raw string, user *identity.User) (*explanation, error) {
	policy, err := cfg.Policy()
	if err != nil {
		return nil, err
	}
	e := &explanation{Method: t.Method, URL: t.Host + raw, Route: -1, Person: describe.Person(user)}
	path, err := web.CleanPath(raw)
	if err != nil {
		e.Verdict, e.Status = access.Deny.String(), http.StatusBadRequest
		e.Reason = "bad_path"
		e.Direct, e.Asked = answerBadPath, answerForbidden
		return e, nil
	}
	t.Path, t.Readings, t.Variants, t.Odd = path.Plain, path.Readings, path.Variants, path.Odd
	e.Path, e.Readings, e.Variants = path.Plain, path.Readings, path.Variants
	hosts, err := cfg.KnownHosts()
	if err != nil {
		return nil, err
	}
	if !web.IsAddress(t.Host) && !hosts.Serves(t.Host, nil) {
		e.Verdict, e.Status, e.Reason = access.Deny.String(), http.StatusMisdirectedRequest, "unknown_host"
		e.Direct, e.Asked = answerUnknownHost, answerForbidden
		e.Notes = notes(cfg, t, nil, access.Decision{})
		return e, nil
	}
	if AnswersItself(cfg, path) {
		e.Verdict, e.Reason = "own", "own_endpoint"
		e.Direct, e.Asked = answerOwn, answerOwn
		return e, nil
	}
	d, steps := policy.Explain(t, user)
	e.Verdict, e.Rule, e.Reason, e.Route = d.Verdict.String(), d.Rule, d.Reason, d.Route
	for _, s := range steps {
		e.Steps = append(e.Steps, explainedStep{s.Route, s.Name, s.Text.String(), s.Text})
	}
	upstream := ""
	if routes := cfg.AllRoutes(); d.Route >= 0 && d.Route < len(routes) {
		e.RouteName, upstream = routes[d.Route].Path, routes[d.Route].Upstream
		e.Upstream, e.Place = upstream, routes[d.Route].Place()
	}
	e.answers(d, upstream)
	e.headers(cfg, user)
	e.Notes = notes(cfg, t, user, d)
	return e, nil
}

// AnswersItself reports whether a path is below the prefix or another root of our own,
// in any interpretation: such a path is never proxied.
func AnswersItself(c *config.Config, p web.Path) bool {
	roots := []string{c.Prefix}
	if c.SSOServer.On() {
		roots = append(roots, config.SSORoot)
	}
	roots = append(roots, c.LoginAPIPaths()...)
	return slices.ContainsFunc(append([]string{p.Plain}, p.Readings...), func(path string) bool {
		return slices.ContainsFunc(roots, func(root string) bool { return web.UnderFold(path, root) })
	})
}

// answers returns the response to the verdict, by our own proxy and to a gateway.
func (e *explanation) answers(d access.Decision, upstream string) {
	switch {
	case d.Verdict == access.Allow && upstream == "":
		e.Direct, e.Asked, e.Status = answerNoUpstream, answerPass, http.StatusNotFound
	case d.Verdict == access.Allow:
		e.Direct, e.Asked, e.Status = i18n.Message{"forwarded to " + upstream, "转发到 " + upstream}, answerPass,
			http.StatusOK
	case d.Verdict == access.SignIn && upstream == "":
		e.Direct, e.Asked, e.Status = answerNoUpstream, answerAskSignIn, http.StatusNotFound
	case d.Verdict == access.SignIn:
		e.Direct, e.Asked, e.Status = answerSignIn, answerAskSignIn, http.StatusFound
	case d.Reason == access.NoRoute:
		e.Direct, e.Asked, e.Status = answerNoRoute, answerForbidden, http.StatusNotFound
	case d.Reason == access.AmbiguousPath:
		e.Direct, e.Asked, e.Status = answerAmbiguous, answerForbidden, http.StatusBadRequest
	default:
		e.Direct, e.Asked, e.Status = answerNotAllowed, answerForbidden, http.StatusForbidden
	}
}

// headers are the identity headers of an allowed request. A token belongs to the person
// and is not shown.
func (e *explanation) headers(cfg *config.Config, user *identity.User) {
	if e.Verdict != access.Allow.String() {
		return
	}
	token := identity.Token{}
	if user != nil {
		token.Access = "<access_token>"
	}
	pairs := func(rules identity.HeaderRules) (all [][2]string) {
		for _, h := range rules.Render(user, token) {
			all = append(all, [2]string{h.Name, h.Value[0]})
		}
		return all
	}
	e.Response = pairs(cfg.Headers.Response.Rules())
	if e.Upstream != "" {
		e.Request = pairs(cfg.Headers.Request.Rules())
	}
}
