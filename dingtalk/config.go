package dingtalk

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"dinggate/internal/conf"
)

// Usernames lists the values of dingtalk.username.
var Usernames = []string{"userid", "job_number", "email", "email_localpart", "name", "unionid"}

// Hosts of DingTalk in China.
const (
	defaultLoginURL = "https://login.dingtalk.com"
	defaultAPIURL   = "https://api.dingtalk.com"
	defaultOAPIURL  = "https://oapi.dingtalk.com"
)

// Config is the `dingtalk` part of the configuration. Start from Defaults: the
// zero value does not follow events. An empty URL or username means the default.
type Config struct {
	ClientID     string      `yaml:"client_id"`     // Client ID (AppKey) of the app; begins with `ding`
	ClientSecret conf.Secret `yaml:"client_secret"` // Client Secret (AppSecret)
	CorpID       string      `yaml:"corp_id"`       // the organisation; only its members can sign in
	Username     string      `yaml:"username"`      // userid | job_number | email | email_localpart | name | unionid
	Events       bool        `yaml:"events"`        // follow the organisation's Stream events
	Rate         int         `yaml:"rate"`          // calls per second and API, for all replicas together; DingTalk answers 20
	Directory    string      `yaml:"directory"`     // auto | mirror | lookup: how rechecks read members
	// where browsers sign in; other deployments of DingTalk use other hosts
	LoginURL string `yaml:"login_url"`
	APIURL   string `yaml:"api_url"`  // the new API
	OAPIURL  string `yaml:"oapi_url"` // the old API
}

// Values of dingtalk.directory.
const (
	DirectoryAuto   = "auto"   // mirror if some hundred people are signed in, otherwise lookup
	DirectoryMirror = "mirror" // the whole organisation is read, and rechecks use the copy
	DirectoryLookup = "lookup" // each person is looked up
)

const maxRate = 1000

// Defaults returns the default configuration.
func Defaults() Config {
	return Config{
		Username:  "userid",
		Events:    true,
		Rate:      18,
		Directory: DirectoryAuto,
		LoginURL:  defaultLoginURL,
		APIURL:    defaultAPIURL,
		OAPIURL:   defaultOAPIURL,
	}
}

// Check reports every mistake below key (`dingtalk`). It opens nothing and
// quotes no secret.
func (c Config) Check(p *conf.Problems, key string) {
	at := func(name string) conf.Place { return p.At("%s.%s", key, name) }
	at("client_id").If(c.ClientID == "", "is missing; it is the Client ID (AppKey) under 基础信息 > 凭证与基础信息")
	at("client_id").If(!plain(c.ClientID), "contains a space, a control character or a character outside ASCII")
	at("client_id").Warn(c.ClientID != "" && !strings.HasPrefix(c.ClientID, "ding"),
		"does not begin with `ding`, as a Client ID does (DingTalk answers 900103 to another id)")
	at("client_secret").If(c.ClientSecret.IsZero(), "is missing; write it here, or set client_secret_file")
	at("client_secret").If(!plain(c.ClientSecret.Reveal()), "contains a space, a control character or a character outside ASCII")
	at("rate").If(c.Rate < 2 || c.Rate > maxRate, "is not a number of calls per second from 2 to %d", maxRate)
	at("rate").Warn(c.Rate > 20 && c.Rate <= maxRate, "is above 20: DingTalk refuses more, unless this app has a higher limit")
	at("directory").If(c.Directory != DirectoryAuto && c.Directory != DirectoryMirror && c.Directory != DirectoryLookup,
		"is not auto, mirror or lookup")
	at("corp_id").If(c.CorpID == "",
		"is missing; without it every DingTalk user could sign in (see 开发者后台首页)")
	at("corp_id").If(!plain(c.CorpID), "contains a space, a control character or a character outside ASCII")
	at("username").If(c.Username != "" && !slices.Contains(Usernames, c.Username), "is not one of %s",
		strings.Join(Usernames, ", "))
	for _, u := range []struct{ name, text string }{{"login_url", c.LoginURL}, {"api_url", c.APIURL},
		{"oapi_url", c.OAPIURL}} {
		if u.text != "" {
			checkURL(at(u.name), u.text)
		}
	}
}

// checkURL requires https: the URL receives the app's secret and the person's code.
// Plain http is for a simulator on this machine.
func checkURL(at conf.Place, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		at.If(true, "is not a URL such as %s", defaultAPIURL)
		return
	}
	at.Warn(Government(u.Hostname()),
		"is 专有钉钉 (浙政钉), which uses another protocol: other host names are not sufficient for a sign-in")
	at.If(u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "",
		"must be a bare address, without user, query or fragment")
	at.If(u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())),
		"must be https (http only on loopback)")
}

// Government reports whether host belongs to 专有钉钉 or 浙政钉, DingTalk for public
// authorities: another product (/gettoken.json, signed calls), which this package
// does not support.
func Government(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "dg-work.cn" || strings.HasSuffix(host, ".dg-work.cn")
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// plain reports whether s is printable ASCII without spaces. An editor may begin a file
// with a byte-order mark, which is invisible.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// address returns base, or its default, without a trailing slash.
func address(base, standard string) string {
	if base == "" {
		base = standard
	}
	return strings.TrimRight(base, "/")
}
