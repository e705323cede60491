package session

import (
	"net/http"
	"strings"
	"time"
)

// purpose keeps session cookies apart from everything else the keyring seals.
const purpose = "session"

// CookieName is the name of the session cookie: with the `__Host-` prefix, which
// no sibling subdomain and no plain-HTTP page can plant, wherever browsers
// accept it (RFC 6265bis §4.1.3.2: Secure, Path=/, no Domain).
func CookieName(https bool, domain string) string {
	if https && domain == "" {
		return "__Host-dinggate"
	}
	return "dinggate"
}

// Clear is the cookie that removes ours from a browser. Send it after a
// sign-out, never because of ErrStore or ErrUnconfirmed.
func (m *Manager) Clear() *http.Cookie { return m.At("").Clear() }

// until makes a browser discard c when the session's lifetime is over.
func until(c *http.Cookie, expires, now time.Time) *http.Cookie {
	c.Expires = expires
	c.MaxAge = max(1, int(expires.Sub(now)/time.Second))
	return c
}

func (cc CookieConfig) cookie(https bool, text string) *http.Cookie {
	c := &http.Cookie{Name: CookieName(https, cc.Domain), Value: text, Path: "/", Domain: cc.Domain, HttpOnly: true, Secure: https}
	switch strings.ToLower(cc.SameSite) {
	case "strict":
		c.SameSite = http.SameSiteStrictMode
	case "none":
		c.SameSite, c.Secure = http.SameSiteNoneMode, true // browsers drop it otherwise
	default:
		c.SameSite = http.SameSiteLaxMode
	}
	return c
}

// CookieName is the name of this manager's session cookie.
func (m *Manager) CookieName() string { return CookieName(m.Secure, m.Cookie.Domain) }
