package gatewayconf

import (
	"embed"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"text/template"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
	"dinggate/internal/web"
)

// appTemplates has a folder for each application, and the templates of our own side.
//
//go:embed app
var appTemplates embed.FS

const ourSide = "dinggate.yaml"

// application has an application's own paths, below its address.
type application struct {
	redirects   []string // an absolute one is used unchanged
	postLogout  string
	backchannel string
	public      bool     // it has no secret
	cli         []string // redirects of a public client beside it
	needsEmail  bool     // it has no account for a person without an e-mail address
}

var applications = map[string]application{
	"grafana": {redirects: []string{"/login/generic_oauth"}, postLogout: "/login", needsEmail: true},
	"gitlab":  {redirects: []string{"/users/auth/openid_connect/callback"}, needsEmail: true},
	"harbor":  {redirects: []string{"/c/oidc/callback"}},
	"argocd": {redirects: []string{"/auth/callback"}, postLogout: "/login",
		cli: []string{"http://localhost/auth/callback"}},
	"jenkins":    {redirects: []string{"/securityRealm/finishLogin"}, postLogout: "/OicLogout"},
	"kubernetes": {redirects: []string{"http://localhost", "http://localhost/"}, public: true},
	"vault": {redirects: []string{"/ui/vault/auth/oidc/oidc/callback",
		"http://localhost:8250/oidc/callback"}},
	"superset":   {redirects: []string{"/oauth-authorized/dingtalk"}},
	"jumpserver": {redirects: []string{"/core/auth/openid/callback/"}, postLogout: "/"},
	"nextcloud": {redirects: []string{"/apps/user_oidc/code", "/index.php/apps/user_oidc/code"},
		backchannel: "/index.php/apps/user_oidc/backchannel-logout/DingTalk"},
	"outline":  {redirects: []string{"/auth/oidc.callback"}, needsEmail: true},
	"gitea":    {redirects: []string{"/user/oauth2/dingtalk/callback"}, needsEmail: true},
	"minio":    {redirects: []string{"/oauth_callback"}},
	"metabase": {redirects: []string{"/auth/sso/dingtalk/callback"}, needsEmail: true},
	"dify":     {redirects: []string{"/console/api/enterprise/sso/oidc/callback"}, needsEmail: true},
	"mod_auth_openidc": {redirects: []string{"/oidc_redirect"}, postLogout: "/",
		backchannel: "/oidc_redirect?logout=backchannel"},
}

// AppNames lists the applications, sorted.
func AppNames() []string {
	var names []string
	for name := range applications {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// AppConfig is the data of the application templates. As in GatewayConfig, no text can
// end the word that contains it.
type AppConfig struct {
	Client     string // its client_id
	Issuer     string
	URL        string // the application's address, without a trailing slash
	SecretFile string
	Redirects  []string
	Entries    []appEntry
	Language   i18n.Language // of the comments

	name string
}

// appEntry is one of oidc.clients.
type appEntry struct {
	ID, SecretFile, PostLogout, Backchannel string
	Redirects                               []string
}

// AppFlags are the flags of `gen app`.
var AppFlags = append([]cli.Flag{
	{Name: "url", Value: "URL", Help: i18n.Message{
		"the application's address; default: that of its client in oidc.clients, or NAME below the domain of public_url",
		"应用的地址；默认取 oidc.clients 中对应客户端的地址，没有时为 public_url 所在域名下的 NAME"}},
	{Name: "client", Value: "ID", Help: i18n.Message{
		"its client_id, if it is not NAME", "应用的 client_id，与 NAME 不同时指定"}},
}, Flags...)

// RunApp prints the settings with which an application signs people in here, and its
// client for our own configuration:
//
//	dinggate gen app grafana --config config.yaml --url https://grafana.example.com
//
// Output, advice and exit codes are those of Run.
func RunApp(c cli.Invocation) int {
	if c.Given["out"] == "" && (c.Has("out") || c.Has("force")) {
		return c.Misused(conf.Problem{Key: "--out", Text: conf.Textf("is missing")})
	}
	cfg, problems := c.Load()
	problems = slices.DeleteFunc(problems, func(p conf.Problem) bool {
		return p.Warning || !p.Usage && p.Key != "" && p.Key != "public_url"
	})
	if len(problems) > 0 {
		config.PrintProblems(c.Stderr, c.Language, problems)
		return config.ExitCode(problems)
	}
	a, faults := NewApp(c.Args[0], c.Given["client"], c.Given["url"], cfg)
	if len(faults) > 0 {
		return c.Misused(faults...)
	}
	a.Language = c.Language
	for _, advice := range a.advice(cfg) {
		fmt.Fprintln(c.Stderr, "dinggate gen: "+c.Say(advice))
	}
	if c.Has("out") {
		return writeFiles(c, a.Render())
	}
	fmt.Fprint(c.Stdout, joined(a.Render()))
	return 0
}

// NewApp reads a configuration for an application; client and address may be "".
func NewApp(name, client, address string, cfg *config.Config) (*AppConfig, []conf.Problem) {
	a := &AppConfig{name: name, Client: client, Issuer: strings.TrimSuffix(cfg.PublicURL, "/"), URL: address}
	var faults []conf.Problem
	fault := func(key string, text conf.Text) {
		faults = append(faults, conf.Problem{Key: key, Text: text, Usage: true})
	}
	if a.Client == "" {
		a.Client = name
	}
	if !isSafe(a.Client, "-._") {
		fault("--client", conf.Textf("contains characters other than letters, digits and - . _"))
	}
	if !plainAddress(a.Issuer) {
		fault("public_url", conf.Textf("is not an address that every application supports"))
	}
	app := applications[name]
	if a.URL == "" {
		a.URL = a.guess(app, cfg)
	}
	a.URL = strings.TrimSuffix(a.URL, "/")
	if !plainAddress(a.URL) {
		fault("--url", conf.Textf("is not an address such as https://app.example.com"))
	}
	if !app.public {
		a.SecretFile = "/run/secrets/" + a.Client
	}
	a.Redirects = a.below(app.redirects...)
	entry := appEntry{ID: a.Client, SecretFile: a.SecretFile, Redirects: a.Redirects}
	if app.postLogout != "" {
		entry.PostLogout = a.URL + app.postLogout
	}
	if app.backchannel != "" {
		entry.Backchannel = a.URL + app.backchannel
	}
	a.Entries = []appEntry{entry}
	if len(app.cli) > 0 {
		a.Entries = append(a.Entries, appEntry{ID: a.Client + "-cli", Redirects: a.below(app.cli...)})
	}
	return a, faults
}

func (a *AppConfig) below(paths ...string) (all []string) {
	for _, path := range paths {
		if strings.HasPrefix(path, "/") {
			path = a.URL + path
		}
		all = append(all, path)
	}
	return all
}

// guess derives the application's address from its client, or from its name beside ours.
func (a *AppConfig) guess(app application, cfg *config.Config) string {
	for _, client := range cfg.OIDC.Clients {
		if client.ClientID != a.Client || len(client.RedirectURIs) == 0 {
			continue
		}
		for _, path := range app.redirects {
			if at, ok := strings.CutSuffix(client.RedirectURIs[0], path); ok && strings.HasPrefix(path, "/") {
				return at
			}
		}
	}
	host := web.HostName(cfg.PublicHost())
	domain := "example.com"
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && strings.Contains(host, ".") {
		domain = host
		if strings.Count(host, ".") > 1 {
			_, domain, _ = strings.Cut(host, ".")
		}
	}
	return "https://" + strings.ReplaceAll(a.name, "_", "-") + "." + domain
}

// plainAddress accepts a scheme, a host and an optional path, of characters without a
// meaning in any application's syntax.
func plainAddress(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Scheme+"://"+u.Host+u.Path != s {
		return false
	}
	host, err := web.CleanHost(u.Host, u.Scheme)
	return err == nil && host == u.Host && isSafe(u.Host, "-.:") && (u.Path == "" || isSafe(u.Path, "-._/"))
}

// Render returns our own side, then the application's files by their names.
func (a *AppConfig) Render() []File {
	words := template.FuncMap{"query": url.QueryEscape, "join": snippetWords["join"], "quoted": snippetWords["quoted"]}
	all := parse(a.name, appTemplates, words, a.Language, "app/"+ourSide+".tmpl", "app/"+a.name+"/*.tmpl")
	var files []File
	for _, t := range all.Templates() {
		var out strings.Builder
		if err := t.Execute(&out, a); err != nil {
			panic(err) // the templates are embedded, and a test runs each of them
		}
		files = append(files, File{strings.TrimSuffix(t.Name(), ".tmpl"), out.String()})
	}
	slices.SortFunc(files, func(x, y File) int {
		if (x.Name == ourSide) != (y.Name == ourSide) {
			return map[bool]int{true: -1, false: 1}[x.Name == ourSide]
		}
		return strings.Compare(x.Name, y.Name)
	})
	return files
}

// advice lists settings that the files do not contain.
func (a *AppConfig) advice(cfg *config.Config) (all []i18n.Message) {
	if strings.HasPrefix(a.Issuer, "http:") {
		all = append(all, i18n.Message{"public_url is http: most applications want an issuer with https",
			"public_url 为 http：多数应用要求 issuer 使用 https"})
	}
	for _, entry := range a.Entries {
		all = append(all, entry.missing(cfg)...)
	}
	if applications[a.name].needsEmail {
		all = append(all, i18n.Message{
			"it has no account for a person without an e-mail address: members need one in DingTalk",
			"没有邮箱的成员无法在该应用中建立账号：请在钉钉中填写邮箱"})
	}
	return all
}

// missing compares an entry with the configured client.
func (e appEntry) missing(cfg *config.Config) (all []i18n.Message) {
	for _, client := range cfg.OIDC.Clients {
		if client.ClientID != e.ID {
			continue
		}
		for _, uri := range e.Redirects {
			if !slices.Contains(client.RedirectURIs, uri) {
				all = append(all, i18n.Message{
					fmt.Sprintf("client %s of oidc.clients lacks the redirect_uris entry %s", e.ID, uri),
					fmt.Sprintf("oidc.clients 的客户端 %s 的 redirect_uris 中缺少 %s", e.ID, uri)})
			}
		}
		if config.RuleText(client.Access) != "signed_in" { // pasting the entry would admit everyone
			all = append(all, i18n.Message{
				fmt.Sprintf("client %s of oidc.clients has a rule: keep its access; the entry of %s admits every member",
					e.ID, ourSide),
				fmt.Sprintf("oidc.clients 的客户端 %s 设有规则：请保留其 access；%s 中的条目允许全体成员",
					e.ID, ourSide)})
		}
		return all
	}
	return []i18n.Message{{fmt.Sprintf("oidc.clients has no client %s: add the entry of %s", e.ID, ourSide),
		fmt.Sprintf("oidc.clients 中没有客户端 %s：请加入 %s 中的条目", e.ID, ourSide)}}
}
