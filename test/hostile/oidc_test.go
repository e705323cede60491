package hostile

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// The provider's clients in the configuration of the env.
const (
	oidcCallback = "https://one.partner.test/oidc/callback"
	oidcLoopback = "http://127.0.0.1/cb"
	oidcIssuer   = "https://app.test"
)

var authWeb, authConsent = basic("web", canary+"-web"+longSecret), basic("consent", canary+"-consent"+longSecret)

// openProvider starts a dinggate that is also an OpenID Connect provider.
func openProvider(t *testing.T) *env {
	s := openWith(t, func(text string) string {
		return text + fmt.Sprintf(`state_dir: %q
oidc:
  clients:
    - {client_id: web, client_secret: %[2]s-web%[3]s, redirect_uris: ["%[4]s"], groups: [roles]}
    - {client_id: consent, client_secret: %[2]s-consent%[3]s, redirect_uris: ["%[4]s"], consent: true}
    - {client_id: native, redirect_uris: ["%[5]s"]}
`, t.TempDir(), canary, longSecret, oidcCallback, oidcLoopback)
	})
	s.t = t
	return s
}

// oidcAnswer describes why a redirect to an application is not a valid authorization response. It
// returns "" if the response is valid (threats E3).
func oidcAnswer(to string) string {
	rest, ok := strings.CutPrefix(to, oidcCallback)
	if !ok {
		return "is no registered address"
	}
	if rest == "" { // of a form
		return ""
	}
	q, err := url.ParseQuery(strings.TrimPrefix(rest, "?"))
	switch {
	case err != nil || rest[0] != '?' || len(q["iss"]) != 1 || q.Get("iss") != oidcIssuer:
		return "does not name our issuer once"
	case len(q["code"])+len(q["error"]) != 1 || len(q["state"]) > 1:
		return "has not one code or one error, and one state at most"
	}
	return ""
}

// openID covers class E.
func openID(*env) []try {
	return slices.Concat(oidcTargets(), oidcRedemptions(), oidcClients(), oidcHints(), oidcFrames(), oidcScopes(),
		oidcDevices(), oidcTokens())
}

// oidcAuthorize returns an authorization request. Pairs of change replace parameters, and the value "-"
// removes one.
func oidcAuthorize(change ...string) string {
	v := url.Values{"client_id": {"web"}, "redirect_uri": {oidcCallback}, "response_type": {"code"},
		"scope": {"openid profile email groups offline_access"}, "state": {"theirs"}, "nonce": {"n"}}
	for i := 0; i+1 < len(change); i += 2 {
		v.Set(change[i], change[i+1])
		if change[i+1] == "-" {
			v.Del(change[i])
		}
	}
	return "/oidc/authorize?" + strings.ReplaceAll(v.Encode(), "+", "%20")
}

// colleague returns one of several people who sign in to applications, because the number of codes
// per person is limited.
func (h *client) colleague() string {
	people := []string{"zhangsan", "lisi", "wangwu", "zhaoliu"}
	return h.member(people[int(h.env.seq.Add(1))%len(people)])
}

// oidcCode returns a fresh code of a signed-in person for the client web.
func (h *client) oidcCode(change ...string) string {
	a := h.get(oidcAuthorize(change...), h.colleague())
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || to.Query().Get("code") == "" || to.Query().Get("state") != "theirs" {
		h.failf("no code was issued: %v", a)
		return ""
	}
	return to.Query().Get("code")
}

// form posts a form and checks that a refusal contains no token.
func (h *client) form(path, body string, lines ...string) *answer {
	a := h.send(request{
		from:   h.env.newAddress(),
		method: "POST",
		fresh:  true,
		raw: requestText("POST", path, h.id, append(lines, "Content-Type: application/x-www-form-urlencoded",
			fmt.Sprintf("Content-Length: %d", len(body)))...) + body,
	})
	if a.status != 200 && (strings.Contains(a.body, "access_token\"") || strings.Contains(a.body, "refresh_token\"")) {
		h.failf("a refusal with a token: %v", a)
	}
	return a
}

func oidcForm(code string, change ...string) string {
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {oidcCallback}}
	for i := 0; i+1 < len(change); i += 2 {
		v.Set(change[i], change[i+1])
		if change[i+1] == "-" {
			v.Del(change[i])
		}
	}
	return v.Encode()
}

type oidcTokenResponse struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
}

// oidcRedeem redeems a code. The redemption must succeed.
func (h *client) oidcRedeem(code string, change ...string) (t oidcTokenResponse) {
	a := h.form("/oidc/token", oidcForm(code, change...), authWeb)
	if err := json.Unmarshal([]byte(a.body), &t); a.status != 200 || err != nil || t.Access == "" || t.Refresh == "" ||
		t.ID == "" {
		h.failf("redeeming a good code = %v", a)
	}
	return t
}

// page400 checks that a wrong client or redirect URI is answered with an error page of dinggate.
func (h *client) page400(a *answer) {
	if a.status != 400 && a.status != 431 && a.status != 414 && a.status != 413 || a.header["Location"] != nil ||
		len(a.header["Set-Cookie"]) > 0 {
		h.failf("got %v, want a 400 page", a)
	}
}

// oidcTargets covers E1: the addresses that a browser may be redirected to with a code.
func oidcTargets() (list []try) {
	targets := hostileTargets()
	for _, change := range []string{"?", "?x=1", "#", "#x", "/", "/x", "/..", "/../callback", "%2f", "%20", "\x00", "x", ".",
		";", "?code=x", "&x", "//", "\\", "%00", "\t", "\n", "@evil.test", "?iss=https://evil.test", "%0d%0aX: y"} {
		targets = append(targets, oidcCallback+change)
	}
	targets = append(targets, "", "http://one.partner.test/oidc/callback", "HTTPS://one.partner.test/oidc/callback",
		"https://One.partner.test/oidc/callback", "https://one.partner.test:443/oidc/callback",
		"https://one.partner.test/oidc/Callback", "https://one.partner.test/oidc/callbac", "https://one.partner.test",
		"//one.partner.test/oidc/callback", "https://one.partner.test./oidc/callback",
		"https://user@one.partner.test/oidc/callback", "https://one.partner.test/oidc/%63allback",
		"https://one.partner.test/./oidc/callback", "https://one.partner.test//oidc/callback", " "+oidcCallback,
		"https://xn--ne-hka.partner.test/oidc/callback", "https://ｏne.partner.test/oidc/callback", oneCallback,
		oidcLoopback, "https://app.test/", "/", "urn:ietf:wg:oauth:2.0:oob", "com.example.app:/cb")
	for _, target := range targets {
		list = append(list, try{fmt.Sprintf("E1 redirect_uri %.100q", target), func(h *client) {
			h.page400(h.get(oidcAuthorize("redirect_uri", target)))
		}}, try{fmt.Sprintf("E1 signed in, redirect_uri %.100q", target), func(h *client) {
			h.page400(h.get(oidcAuthorize("redirect_uri", target), h.colleague()))
		}}, try{fmt.Sprintf("E1 posted, redirect_uri %.100q", target), func(h *client) {
			_, body, _ := strings.Cut(oidcAuthorize("redirect_uri", target), "?")
			h.page400(h.form("/oidc/authorize", body, "Accept: text/html", h.colleague()))
		}})
	}
	for _, target := range []string{"http://127.0.0.1.evil.test/cb", "http://127.0.0.1@evil.test/cb", "http://127.0.0.1:0/cb",
		"http://127.0.0.1:99999/cb", "http://127.0.0.1:80:80/cb", "http://127.0.0.1:+80/cb", "http://127.0.0.1:080/cb",
		"http://127.0.0.1:80@evil.test/cb", "https://127.0.0.1/cb", "http://127.0.0.1:8080/cb/", "http://127.0.0.1:8080/cb?x",
		"http://localhost/cb", "http://[::1]/cb", "http://127.1/cb", "http://2130706433/cb", "http://0x7f.1/cb",
		"http://127.0.0.1:8080/CB", "http://127.0.0.1:/cb", "http://127.0.0.1:8080", "http://127.0.0.1%2eevil.test/cb",
		"http://127.0.0.1:8080\\@evil.test/cb", "http://127.0.0.2/cb", "http://127.0.0.1:8080/cb#x", oidcCallback} {
		list = append(list, try{fmt.Sprintf("E1 native %q", target), func(h *client) {
			h.page400(h.get(oidcAuthorize("client_id", "native", "redirect_uri", target), h.colleague()))
		}})
	}
	good := url.QueryEscape(oidcCallback)
	for _, query := range []string{"client_id=web&redirect_uri=" + good + "&redirect_uri=" + good,
		"client_id=web&redirect_uri=" + good + "&redirect_uri=https://evil.test", "client_id=web&redirect_uri[]=" + good,
		"client_id=web", "redirect_uri=" + good, "client_id=web&client_id=consent&redirect_uri=" + good,
		"client_id=web&client_id=web&redirect_uri=" + good, "client_id=&redirect_uri=" + good,
		"client_id=web;redirect_uri=" + good, "client_id=WEB&redirect_uri=" + good, "client_id=web%20&redirect_uri=" + good,
		"client_id=native&redirect_uri=" + good, "client_id=web&redirect_url=" + good, "client_id=web&REDIRECT_URI=" + good,
		"client_id=web&redirect_uri=%zz", "client_id=%zz&redirect_uri=" + good, "",
		"client_id=web&redirect_uri=" + good + "&state=%ff", "client_id=web&redirect_uri=" + good + "&scope=%ff",
		"client_id=web&redirect_uri=" + good + "&state=" + strings.Repeat("s", 9000),
		"client_id=app-one&redirect_uri=" + good, "client_id=<script>alert(1)</script>&redirect_uri=" + good} {
		list = append(list, try{fmt.Sprintf("E1 query %.100q", query), func(h *client) {
			h.page400(h.get("/oidc/authorize?"+query, h.colleague()))
		}})
	}
	return list
}
