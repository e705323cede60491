package sso

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/url"
	"strings"

	"dinggate/internal/clientauth"
	"dinggate/internal/conf"
)

// App is a registered third party.
type App struct {
	ClientID     string      `yaml:"client_id"`
	ClientSecret conf.Secret `yaml:"client_secret"`
	RedirectURLs []string    `yaml:"redirect_urls"` // where people are sent back to; compared exactly
	AllowQuery   bool        `yaml:"allow_query"`   // the query of a redirect_url may vary; nothing else
}

// accepts reports whether people may be sent to this address: it must be registered
// exactly as given. Nothing is normalized, so that two parsers cannot disagree
// about it (threats R14, R15).
func (a *App) accepts(redirect string) bool {
	if !plainURL(redirect) {
		return false
	}
	for _, registered := range a.RedirectURLs {
		if redirect == registered || a.AllowQuery && beforeQuery(redirect) == beforeQuery(registered) {
			return true
		}
	}
	return false
}

// plainURL refuses what browsers interpret in more than one way anywhere in a URL:
// spaces, control bytes, `\`, non-ASCII characters, fragments.
func plainURL(s string) bool { return printable(s, maxURL) && !strings.ContainsAny(s, `\#`) }

func beforeQuery(s string) string {
	before, _, _ := strings.Cut(s, "?")
	return before
}

// withAnswer returns a registered address with code and state set. They replace
// parameters of its own query, so that neither occurs twice (threats R18).
func withAnswer(redirect, code, state string) string {
	base, query, _ := strings.Cut(redirect, "?")
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		decoded, err := url.QueryUnescape(name)
		if pair == "" || err == nil && (decoded == "code" || decoded == "state") {
			continue
		}
		kept = append(kept, pair)
	}
	return base + "?" + strings.Join(append(kept, "code="+url.QueryEscape(code), "state="+url.QueryEscape(state)), "&")
}

// apps indexes registered third parties; immutable.
type apps struct {
	byID    map[string]*App
	secrets clientauth.Secrets
}

func newApps(list []App) apps {
	all := apps{make(map[string]*App, len(list)), make(clientauth.Secrets, len(list))}
	for i := range list {
		all.byID[list[i].ClientID] = &list[i]
		all.secrets.Add(list[i].ClientID, list[i].ClientSecret)
	}
	return all
}

// known returns the app with this id and secret, or nil.
func (all apps) known(id, secret string) *App {
	client, ok := all.secrets.Match(id, secret)
	if !ok {
		return nil
	}
	return all.byID[client]
}

// same compares two texts in constant time.
func same(a, b string) int {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:])
}
