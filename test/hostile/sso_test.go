package hostile

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// The service's clients in the configuration of the env.
const (
	appOne, appTwo, appQuery = "app-one", "app-two", "app-query"
	oneCallback              = "https://one.partner.test/callback"
	twoCallback              = "https://two.partner.test/callback"
	queryCallback            = "https://query.partner.test/callback?keep=1&code=old&state=old"
)

var callbacks = []string{oneCallback, twoCallback, queryCallback}

func basic(id, secret string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

const longSecret = "-with-thirty-two-bytes-and-more"

var authOne, authTwo = basic(appOne, canary+"-one"+longSecret), basic(appTwo, canary+"-two"+longSecret)

// authorizeFor returns the authorization request of a client.
func authorizeFor(client, redirect, state string) string {
	return "/dingtalk/authorize?client_id=" + url.QueryEscape(client) + "&redirect_url=" + url.QueryEscape(redirect) +
		"&state=" + url.QueryEscape(state)
}

// grant returns a fresh code of a signed-in person for client one.
func (h *client) grant(state string) (code string) {
	return h.grantFor(appOne, oneCallback, state)
}

// grantMade sends an authorization request without a state and returns the code and the generated
// state.
func (h *client) grantMade() (code, state string) {
	v := h.visitor()
	v.jar = nil
	a := h.send(request{
		from: v.from,
		raw:  requestText("GET", authorizeFor(appOne, oneCallback, ""), h.id, "Accept: text/html", h.partner()),
	})
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || to.Query().Get("code") == "" || len(to.Query().Get("state")) < 22 {
		h.failf("no code was issued: %v", a)
		return "", ""
	}
	return to.Query().Get("code"), to.Query().Get("state")
}

func (h *client) grantFor(client, redirect, state string) string {
	v := h.visitor()
	v.jar = nil
	a := h.send(request{
		from: v.from,
		raw:  requestText("GET", authorizeFor(client, redirect, state), h.id, "Accept: text/html", h.partner()),
	})
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || to.Query().Get("code") == "" || to.Query().Get("state") != state {
		h.failf("no code was issued: %v", a)
		return ""
	}
	return to.Query().Get("code")
}

// partner returns a signed-in person and changes them regularly, because the number of codes per
// sign-in is limited.
func (h *client) partner() string {
	h.env.partnerMu.Lock()
	defer h.env.partnerMu.Unlock()
	if h.env.partnerUses++; h.env.partnerUses%100 == 1 {
		h.env.partner = "Cookie: " + sessionCookie + "=" + h.visitor().signIn("zhangsan").value(sessionCookie)
	}
	return h.env.partner
}

// token sends a token request. Every response is JSON that caches must not store.
func (h *client) token(body string, lines ...string) *answer {
	a := h.send(request{
		from:   h.env.newAddress(),
		method: "POST",
		fresh:  true,
		raw: requestText("POST", "/dingtalk/token", h.id,
			append(lines, fmt.Sprintf("Content-Length: %d", len(body)))...) + body,
	})
	if !a.bare && a.status != 0 && a.header.Get("Content-Type") != "application/json" {
		h.failf("token responded %v", a)
	}
	if a.status != 200 && strings.Contains(a.body, "access_token\"") {
		h.failf("a refusal with a token: %v", a)
	}
	return a
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Type    string `json:"token_type"`
	Expiry  int    `json:"expiry_in"`
	Expires int    `json:"expires_in"`
}

// redeem performs step 3 of the contract, which must succeed.
func (h *client) redeem(code, state string) (t tokens) {
	a := h.token("code="+code+"&state="+state, authOne, "Content-Type: text/plain")
	if err := json.Unmarshal([]byte(a.body), &t); a.status != 200 || err != nil || t.Access == "" ||
		t.Refresh == "" || t.Type != "Bearer" || t.Expiry != 7200 || t.Expires != 7200 {
		h.failf("redeeming a good code = %v", a)
	}
	return t
}

func (h *client) userinfo(lines ...string) *answer {
	return h.send(request{
		from:  h.env.newAddress(),
		fresh: true,
		raw:   requestText("GET", "/dingtalk/userinfo", h.id, lines...),
	})
}

// ssoService covers class T, and the targets of class R that pass through the service.
func ssoService(s *env) []try {
	return slices.Concat(ssoTargets(), ssoClients(), ssoBasic(), ssoBodies(), ssoTokens(), ssoReuse())
}

// ssoTargets covers R14–R16 and R18: the addresses that the service redirects a browser to.
func ssoTargets() (list []try) {
	refused := func(h *client, target string) {
		a := h.get(target)
		if a.status != 400 && a.status != 431 || a.header["Location"] != nil || len(a.header["Set-Cookie"]) > 0 {
			h.failf("got %v, want a 400 page", a)
		}
	}
	targets := hostileTargets()
	for _, change := range []string{"?", "?x=1", "#", "#x", "/", "/x", "/..", "/../callback", "%2f", "%20", "\x00",
		"x", ".", ";", "?code=x", "&x", "//", "\\", "%00", "\t", "\n", "@evil.test"} {
		targets = append(targets, oneCallback+change)
	}
	targets = append(targets, "", "http://one.partner.test/callback", "HTTPS://one.partner.test/callback",
		"https://One.partner.test/callback", "https://one.partner.test:443/callback",
		"https://one.partner.test/Callback", "https://one.partner.test/callbac", "https://one.partner.test",
		"//one.partner.test/callback", "https://one.partner.test./callback", "https://user@one.partner.test/callback",
		"https://one.partner.test/%63allback", "https://one.partner.test/./callback",
		"https://one.partner.test//callback", " https://one.partner.test/callback", twoCallback, queryCallback,
		"https://app.test/", "/")
	for _, target := range targets {
		list = append(list, try{fmt.Sprintf("R14 R15 redirect_url %.100q", target), func(h *client) {
			refused(h, authorizeFor(appOne, target, "s"))
		}})
	}
	for _, target := range targets {
		list = append(list, try{fmt.Sprintf("R16 forward_url %.100q", target), func(h *client) {
			v := h.visitor()
			state, _ := v.begin(authorizeFor(appOne, oneCallback, "theirs"))
			a := v.do(request{}, "GET",
				"/dingtalk/callback?forward_url="+strings.ReplaceAll(url.QueryEscape(target), "+", "%20")+
					"&authCode="+v.code("zhangsan")+"&state="+state)
			if a.status != 400 && a.status != 431 || a.header["Location"] != nil {
				h.failf("got %v, want 400", a)
			}
		}})
	}
	good := url.QueryEscape(oneCallback)
	for _, query := range []string{"client_id=app-one&redirect_url=" + good + "&redirect_url=" + good,
		"client_id=app-one&redirect_url=" + good + "&redirect_url=https://evil.test",
		"client_id=app-one&redirect_url[]=" + good, "client_id=app-one", "redirect_url=" + good,
		"client_id=app-one&client_id=app-two&redirect_url=" + good,
		"client_id=app-one&client_id=app-one&redirect_url=" + good, "client_id=&redirect_url=" + good,
		"client_id=app-one;redirect_url=" + good, "client_id=APP-ONE&redirect_url=" + good,
		"client_id=app-one%20&redirect_url=" + good, "client_id=app-two&redirect_url=" + good,
		"client_id=app-one&redirect_uri=" + good, "client_id=app-one&REDIRECT_URL=" + good,
		"client_id=app-one&redirect_url=%zz", "client_id=%zz&redirect_url=" + good, "",
		"client_id=app-one&redirect_url=" + good + "&state=a&state=b",
		"client_id=app-one&redirect_url=" + good + "&state=%0d%0a",
		"client_id=app-one&redirect_url=" + good + "&state=%00",
		"client_id=app-one&redirect_url=" + good + "&state=%ff",
		"client_id=app-one&redirect_url=" + good + "&state=" + strings.Repeat("s", 5000)} {
		list = append(list,
			try{fmt.Sprintf("R14 T1 %.100q", query), func(h *client) { refused(h, "/dingtalk/authorize?"+query) }})
		list = append(list, try{fmt.Sprintf("R14 T1 signed in %.100q", query), func(h *client) {
			if a := h.get("/dingtalk/authorize?"+query, h.partner()); a.status != 400 && a.status != 431 ||
				a.header["Location"] != nil {
				h.failf("got %v", a)
			}
		}})
	}
	list = append(list, try{"R18 a callback with a query of its own", func(h *client) {
		a := h.get(authorizeFor(appQuery, queryCallback, "mine"), h.partner())
		to, err := url.Parse(a.header.Get("Location"))
		if q := to.Query(); err != nil || len(q["code"]) != 1 || len(q["state"]) != 1 || q.Get("state") != "mine" ||
			q.Get("code") == "old" || q.Get("keep") != "1" {
			h.failf("got %v", a)
		}
	}})
	return list
}
