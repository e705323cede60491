package sso

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/url"
	"strings"

	"dinggate/internal/conf"
)

// App is a registered third party.
type App struct {
	ClientID     string      `yaml:"client_id"`
	ClientSecret conf.Secret `yaml:"client_secret"`
	RedirectURLs []string    `yaml:"redirect_urls"` // people are sent back there, compared to the letter
	AllowQuery   bool        `yaml:"allow_query"`   // the query of a redirect_url may vary; nothing else
}

// accepts reports whether people may be sent to this address: a registered
// one, to the letter. Nothing is made canonical, so that no two readers can
// differ (threats R14, R15).
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

// plainURL refuses what browsers read in more than one way wherever it stands:
// blanks, control bytes, `\`, other alphabets, fragments.
func plainURL(s string) bool { return printable(s, maxURL) && !strings.ContainsAny(s, `\#`) }

func beforeQuery(s string) string {
	before, _, _ := strings.Cut(s, "?")
	return before
}

// withAnswer is a registered address with code and state set: replaced where
// its own query has them, never there twice (threats R18).
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

// apps finds registered third parties; immutable.
type apps map[string]*registered

// registered is a third party with the hash of its secret.
type registered struct {
	*App
	secret [sha256.Size]byte
}

func newApps(list []App) apps {
	all := make(apps, len(list))
	for i := range list {
		all[list[i].ClientID] = &registered{&list[i], sha256.Sum256([]byte(list[i].ClientSecret.Reveal()))}
	}
	return all
}

// unregistered is compared for a client that is not registered: its hash is that of no text.
var unregistered = &registered{}

// known is the app that both texts belong to, or nil. Whatever is wrong takes
// the same steps, an unknown client too: two look-ups, two hashes of what was
// given, two comparisons of hashes (threats T6). RFC 6749 §2.3.1 has clients
// encode both texts as forms do before base64, which most leave out: both
// readings count.
func (all apps) known(id, secret string) *App {
	plain, other := all[id], all[formDecoded(id)]
	if plain == nil {
		plain = other
	}
	app := plain
	if app == nil {
		app = unregistered
	}
	given, decoded := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte(formDecoded(secret)))
	if subtle.ConstantTimeCompare(given[:], app.secret[:])|subtle.ConstantTimeCompare(decoded[:], app.secret[:]) != 1 {
		return nil
	}
	if app.App == nil || app.ClientSecret.IsZero() {
		return nil
	}
	return app.App
}

// formDecoded is a text as forms encode it, or the text where that is none.
func formDecoded(text string) string {
	if decoded, err := url.QueryUnescape(text); err == nil {
		return decoded
	}
	return text
}

// same compares without telling by its time where or how two texts differ.
func same(a, b string) int {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:])
}
