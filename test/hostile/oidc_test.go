package hostile

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The provider's clients, as the configuration of the env has them.
const (
	oidcCallback = "https://one.partner.test/oidc/callback"
	oidcLoopback = "http://127.0.0.1/cb"
	oidcIssuer   = "https://app.test"
)

var authWeb, authAsks = basic("web", canary+"-web"+longSecret), basic("asks", canary+"-asks"+longSecret)

// openProvider starts a dinggate that is an OpenID Connect provider too.
func openProvider(t *testing.T) *env {
	s := openWith(t, func(text string) string {
		return text + fmt.Sprintf(`state_dir: %q
oidc:
  clients:
    - {client_id: web, client_secret: %[2]s-web%[3]s, redirect_uris: ["%[4]s"], groups: [roles]}
    - {client_id: asks, client_secret: %[2]s-asks%[3]s, redirect_uris: ["%[4]s"], consent: true}
    - {client_id: native, redirect_uris: ["%[5]s"]}
`, t.TempDir(), canary, longSecret, oidcCallback, oidcLoopback)
	})
	s.t = t
	return s
}

// oidcAnswer tells what is wrong with an answer that a browser takes to an
// application; "" for nothing (threats E3).
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
		return "does not say one issuer, ours"
	case len(q["code"])+len(q["error"]) != 1 || len(q["state"]) > 1:
		return "has not one code or one error, and one state at most"
	}
	return ""
}

// openID is class E.
func openID(*env) []try {
	return slices.Concat(oidcTargets(), oidcRedemptions(), oidcClients(), oidcHints(), oidcFrames(), oidcScopes(),
		oidcDevices(), oidcTokens())
}

// oidcAsk is an authorization request; pairs change it, "-" takes one out.
func oidcAsk(change ...string) string {
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

// colleague is one of those who sign in to applications: one gets only so many codes.
func (h *client) colleague() string {
	people := []string{"zhangsan", "lisi", "wangwu", "zhaoliu"}
	return h.member(people[int(h.env.seq.Add(1))%len(people)])
}

// oidcCode is a fresh code of somebody who is signed in, for client web.
func (h *client) oidcCode(change ...string) string {
	a := h.get(oidcAsk(change...), h.colleague())
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || to.Query().Get("code") == "" || to.Query().Get("state") != "theirs" {
		h.failf("no code came: %v", a)
		return ""
	}
	return to.Query().Get("code")
}

// form posts a form; every refusal has no token in it.
func (h *client) form(path, body string, lines ...string) *answer {
	a := h.send(request{
		from:   h.env.someone(),
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

type oidcAnswered struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
}

// oidcRedeem is a redemption that must work.
func (h *client) oidcRedeem(code string, change ...string) (t oidcAnswered) {
	a := h.form("/oidc/token", oidcForm(code, change...), authWeb)
	if err := json.Unmarshal([]byte(a.body), &t); a.status != 200 || err != nil || t.Access == "" || t.Refresh == "" ||
		t.ID == "" {
		h.failf("redeeming a good code = %v", a)
	}
	return t
}

// page400 is what a wrong client or address gets: a page of dinggate.
func (h *client) page400(a *answer) {
	if a.status != 400 && a.status != 431 && a.status != 414 && a.status != 413 || a.header["Location"] != nil ||
		len(a.header["Set-Cookie"]) > 0 {
		h.failf("got %v, want a 400 page", a)
	}
}

// oidcTargets are E1: where a browser may be sent with a code.
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
			h.page400(h.get(oidcAsk("redirect_uri", target)))
		}}, try{fmt.Sprintf("E1 signed in, redirect_uri %.100q", target), func(h *client) {
			h.page400(h.get(oidcAsk("redirect_uri", target), h.colleague()))
		}}, try{fmt.Sprintf("E1 posted, redirect_uri %.100q", target), func(h *client) {
			_, body, _ := strings.Cut(oidcAsk("redirect_uri", target), "?")
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
			h.page400(h.get(oidcAsk("client_id", "native", "redirect_uri", target), h.colleague()))
		}})
	}
	good := url.QueryEscape(oidcCallback)
	for _, query := range []string{"client_id=web&redirect_uri=" + good + "&redirect_uri=" + good,
		"client_id=web&redirect_uri=" + good + "&redirect_uri=https://evil.test", "client_id=web&redirect_uri[]=" + good,
		"client_id=web", "redirect_uri=" + good, "client_id=web&client_id=asks&redirect_uri=" + good,
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

// oidcRedemptions are E2, E4 and E5: who gets tokens for a code, and how often.
func oidcRedemptions() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	verifier := strings.Repeat("v", 50)
	sum := sha256.Sum256([]byte(verifier))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	refused := func(h *client, a *answer) {
		if a.status != 400 && a.status != 401 {
			h.failf("got %v, want a refusal", a)
		}
	}
	for _, tt := range []struct {
		name        string
		ask, redeem []string
		auth        string
	}{
		{"another client", nil, nil, authAsks},
		{"a public client", nil, []string{"client_id", "native"}, "X-None: x"},
		{"nobody", nil, nil, "X-None: x"},
		{"the client without its secret", nil, []string{"client_id", "web"}, "X-None: x"},
		{"another address", nil, []string{"redirect_uri", oidcCallback + "/"}, authWeb},
		{"no address", nil, []string{"redirect_uri", "-"}, authWeb},
		{"a verifier that nobody asked for", nil, []string{"code_verifier", verifier}, authWeb},
		{"no verifier", []string{"code_challenge", challenge, "code_challenge_method", "S256"}, nil, authWeb},
		{"another verifier", []string{"code_challenge", challenge, "code_challenge_method", "S256"},
			[]string{"code_verifier", verifier[1:]}, authWeb},
		{"the challenge as verifier", []string{"code_challenge", challenge, "code_challenge_method", "S256"},
			[]string{"code_verifier", challenge}, authWeb},
		{"an empty verifier", []string{"code_challenge", challenge, "code_challenge_method", "S256"},
			[]string{"code_verifier", ""}, authWeb},
		{"another grant type", nil, []string{"grant_type", "password"}, authWeb},
		{"client credentials", nil, []string{"grant_type", "client_credentials"}, authWeb},
		{"an implicit grant", nil, []string{"grant_type", "implicit"}, authWeb},
		{"a code as refresh token", nil, []string{"grant_type", "refresh_token", "refresh_token", "CODE"}, authWeb},
	} {
		add("E2 E4 "+tt.name, func(h *client) {
			code := h.oidcCode(tt.ask...)
			redeem := slices.Clone(tt.redeem)
			for i := range redeem {
				if redeem[i] == "CODE" {
					redeem[i] = code
				}
			}
			refused(h, h.form("/oidc/token", oidcForm(code, redeem...), tt.auth))
		})
	}
	for _, method := range []string{"plain", "s256", "S512", "", "S256 "} {
		add(fmt.Sprintf("E4 method %q", method), func(h *client) {
			a := h.get(oidcAsk("code_challenge", challenge, "code_challenge_method", method), h.colleague())
			if to, _ := url.Parse(a.header.Get("Location")); to == nil || to.Query().Get("error") != "invalid_request" {
				h.failf("got %v, want invalid_request", a)
			}
		})
	}
	for _, text := range []string{verifier, challenge[1:], challenge + "=", challenge + "A", "", " ", "\x00", challenge[:42] + "B",
		strings.Repeat("A", 5000)} {
		add(fmt.Sprintf("E4 native, challenge %.20q", text), func(h *client) {
			a := h.get(oidcAsk("client_id", "web", "code_challenge", text, "code_challenge_method", "S256"), h.colleague())
			if to, _ := url.Parse(a.header.Get("Location")); a.status == 302 && to.Query().Get("code") != "" {
				h.failf("got a code with %q", text)
			}
		})
	}
	for i := range 10 {
		add(fmt.Sprintf("E2 twice at once %d", i), func(h *client) {
			code := h.oidcCode()
			statuses := make(chan int, 8)
			var all sync.WaitGroup
			for range cap(statuses) {
				all.Go(func() {
					w := &rawConns{kept: map[string]*rawConn{}}
					defer w.close()
					one := &client{env: h.env, wires: w, id: h.id}
					statuses <- one.form("/oidc/token", oidcForm(code), authWeb).status
				})
			}
			all.Wait()
			close(statuses)
			won := 0
			for status := range statuses {
				if status == 200 {
					won++
				}
			}
			if won != 1 {
				h.failf("%d of 8 redemptions of one code won", won)
			}
		})
		add(fmt.Sprintf("E2 E5 a second use ends what the first gave %d", i), func(h *client) {
			code := h.oidcCode()
			first := h.oidcRedeem(code)
			refused(h, h.form("/oidc/token", oidcForm(code), authWeb))
			if a := h.get("/oidc/userinfo", "Authorization: Bearer "+first.Access); a.status != 401 {
				h.failf("userinfo after a reuse = %v", a)
			}
			refused(h, h.form("/oidc/token", "grant_type=refresh_token&refresh_token="+url.QueryEscape(first.Refresh), authWeb))
		})
	}
	for i := range 40 {
		add(fmt.Sprintf("E2 a code changed at %d", i), func(h *client) {
			code := []byte(h.oidcCode())
			at := i % len(code)
			code[at] = map[bool]byte{true: 'B', false: 'A'}[code[at] == 'A']
			refused(h, h.form("/oidc/token", oidcForm(string(code)), authWeb))
		})
	}
	return list
}

// oidcClients are E9: who an application is, and how it proves that.
func oidcClients() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	raw := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	good, secret := strings.TrimPrefix(authWeb, "Authorization: "), canary+"-web"+longSecret
	for _, lines := range [][]string{{"Authorization:"}, {"Authorization: Basic"}, {"Authorization: Basic !!!"},
		{"Authorization: Basic " + raw("web")}, {"Authorization: Basic " + raw(":"+secret)},
		{"Authorization: Basic " + raw("web:")}, {"Authorization: Basic " + raw(":")},
		{"Authorization: Basic " + raw("web:"+secret+" ")}, {"Authorization: Basic " + raw("web: "+secret)},
		{"Authorization: Basic " + raw("web:"+secret[1:])}, {"Authorization: Basic " + raw("web:"+secret+"e")},
		{"Authorization: Basic " + raw("web:"+strings.ToUpper(secret))}, {"Authorization: Basic " + raw("WEB:"+secret)},
		{"Authorization: Basic " + raw("asks:"+secret)}, {"Authorization: Basic " + raw("native:")},
		{"Authorization: Basic " + raw("native:x")}, {"Authorization: Bearer " + good[6:]}, {"Authorization: " + good[6:]},
		{"Authorization: Basic " + good[6:] + ", Basic x"}, {"Authorization: Digest username=\"web\""},
		{"Proxy-Authorization: " + good}, {"X-Authorization: " + good}, {"Authorization: Basic x", authWeb},
		{authWeb, "Authorization: Basic x"}, {authWeb, authAsks},
		{"Authorization: Basic " + raw("web\x00:"+secret)}, {"Authorization: Basic " + raw("web:"+secret+"\x00")},
		{"Authorization: Basic " + strings.Repeat("A", 30_000)}} {
		for _, path := range []string{"/oidc/token", "/oidc/introspect", "/oidc/revoke"} {
			if path == "/oidc/revoke" && lines[0] == "Authorization: Basic "+raw("native:") {
				continue // a client without a secret says who it is
			}
			add(fmt.Sprintf("E9 %s %.60q", path, lines), func(h *client) {
				body := oidcForm("x")
				if path != "/oidc/token" {
					body = "token=x"
				}
				a := h.form(path, body, lines...)
				if !a.bare && a.status != 401 && a.status != 400 && a.status != 431 && a.status != 429 {
					h.failf("got %v, want 401", a)
				}
			})
		}
	}
	for name, send := range map[string]func(h *client, code string) *answer{
		"secret in the address": func(h *client, code string) *answer {
			return h.form("/oidc/token?client_id=web&client_secret="+url.QueryEscape(secret), oidcForm(code))
		},
		"secret in the address too": func(h *client, code string) *answer {
			return h.form("/oidc/token?client_secret=x", oidcForm(code), authWeb)
		},
		"both methods": func(h *client, code string) *answer {
			return h.form("/oidc/token", oidcForm(code, "client_id", "web", "client_secret", secret), authWeb)
		},
		"another client_id in the body": func(h *client, code string) *answer {
			return h.form("/oidc/token", oidcForm(code, "client_id", "asks"), authWeb)
		},
		"an empty secret in the body": func(h *client, code string) *answer {
			return h.form("/oidc/token", oidcForm(code, "client_id", "web", "client_secret", ""))
		},
		"a secret for a public client": func(h *client, code string) *answer {
			return h.form("/oidc/token", oidcForm(code, "client_id", "native", "client_secret", "x"))
		},
		"code twice": func(h *client, code string) *answer {
			return h.form("/oidc/token", oidcForm(code)+"&code="+code, authWeb)
		},
		"parameters in the address": func(h *client, code string) *answer {
			return h.form("/oidc/token?"+oidcForm(code), "", authWeb)
		},
		"an assertion": func(h *client, code string) *answer {
			return h.form("/oidc/token", oidcForm(code, "client_assertion_type",
				"urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", "a.b.c", "client_id", "web"))
		},
	} {
		add("E9 "+name, func(h *client) {
			if a := send(h, h.oidcCode()); a.status != 400 && a.status != 401 {
				h.failf("got %v, want a refusal", a)
			}
		})
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH"} {
		for _, path := range []string{"/oidc/token", "/oidc/introspect", "/oidc/revoke", "/oidc/device_authorization"} {
			add("E9 "+method+" "+path, func(h *client) {
				a := h.send(request{from: h.env.someone(), method: method, fresh: true,
					raw: requestText(method, path+"?"+oidcForm("x"), h.id, authWeb)})
				if !a.bare && a.status != 405 && a.status != 400 {
					h.failf("got %v, want 405", a)
				}
			})
		}
	}
	return list
}

// oidcHints are E6: an ID token that dinggate did not issue signs nobody out unasked.
func oidcHints() (list []try) {
	asked := func(h *client, hint, cookie string) {
		a := h.get("/oidc/end_session?id_token_hint="+url.QueryEscape(hint), cookie)
		if a.status != 200 || !strings.Contains(a.body, "<form") || len(a.header["Set-Cookie"]) > 0 {
			h.failf("got %v, want a page that asks", a)
		}
	}
	var once sync.Mutex
	var token string
	hint := func(h *client) string { // one for all tries, of zhangsan
		once.Lock()
		defer once.Unlock()
		if token == "" {
			a := h.get(oidcAsk(), h.member("zhangsan"))
			to, _ := url.Parse(a.header.Get("Location"))
			token = h.oidcRedeem(to.Query().Get("code")).ID
		}
		return token
	}
	encode := base64.RawURLEncoding.EncodeToString
	for i := range 220 {
		list = append(list, try{fmt.Sprintf("E6 a hint changed at %d of 220", i), func(h *client) {
			text := []byte(hint(h))
			at := i * len(text) / 220
			text[at] = map[bool]byte{true: 'B', false: 'A'}[text[at] == 'A']
			asked(h, string(text), h.member("zhangsan"))
		}})
	}
	for _, header := range []string{`{"alg":"none"}`, `{"alg":"None"}`, `{"alg":"NONE","typ":"JWT"}`, `{"alg":""}`, `{}`,
		`{"alg":"HS256"}`, `{"alg":"HS256","typ":"JWT"}`, `{"alg":"RS256","kid":"../../etc/passwd"}`,
		`{"alg":"RS256","jwk":{"kty":"oct","k":"AAAA"}}`, `{"alg":"RS256","jku":"https://evil.test/jwks"}`,
		`{"alg":"RS256","x5u":"https://evil.test/cert"}`, `{"alg":"ES256","kid":""}`, `{"alg":"HS512"}`, `{"alg":"EdDSA"}`,
		`{"alg":"RS256","crit":["x"],"x":1}`, `{"alg":"RS256","b64":false,"crit":["b64"]}`, `{"alg":["RS256"]}`, `null`, `[]`,
		"\x00"} {
		for _, signature := range []string{"", "AAAA", "KEY", "SAME"} {
			list = append(list, try{fmt.Sprintf("E6 header %q signature %q", header, signature), func(h *client) {
				parts := strings.Split(hint(h), ".")
				body := encode([]byte(header)) + "." + parts[1]
				sign := signature
				switch signature {
				case "SAME":
					sign = parts[2]
				case "KEY": // HMAC with what is public
					mac := hmac.New(sha256.New, []byte(h.get("/oidc/end_session").body))
					mac.Write([]byte(body))
					sign = encode(mac.Sum(nil))
				}
				asked(h, body+"."+sign, h.member("zhangsan"))
			}})
		}
	}
	for _, text := range []string{"", ".", "..", "...", "a.b.c", "x", strings.Repeat("a.", 100), strings.Repeat("A", 7000),
		"张三", "%00"} {
		list = append(list, try{fmt.Sprintf("E6 hint %.20q", text), func(h *client) { asked(h, text, h.member("zhangsan")) }})
	}
	return append(list, try{"E6 another person's hint", func(h *client) { asked(h, hint(h), h.member("lisi")) }})
}

// oidcFrames are E7: pages in frames, consent that nobody gave.
func oidcFrames() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for _, lines := range [][]string{{"Sec-Fetch-Dest: iframe", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: cross-site"},
		{"Sec-Fetch-Dest: frame", "Sec-Fetch-Mode: navigate"}, {"Sec-Fetch-Dest: object", "Sec-Fetch-Mode: navigate"},
		{"Sec-Fetch-Dest: empty", "Sec-Fetch-Mode: cors", "Sec-Fetch-Site: cross-site"}, {"Accept: application/json"}, {}} {
		for _, prompt := range []string{"none", "none login", "none consent", "none none"} {
			add(fmt.Sprintf("E7 prompt %q %q", prompt, lines), func(h *client) {
				a := h.get(oidcAsk("prompt", prompt), lines...)
				to, _ := url.Parse(a.header.Get("Location"))
				if got := to.Query().Get("error"); got != "login_required" && got != "invalid_request" {
					h.failf("got %v, want an error for the application", a)
				}
			})
		}
	}
	consent := func(h *client) (page *answer, cookie string) {
		cookie = h.colleague()
		page = h.get(oidcAsk("client_id", "asks"), cookie)
		if page.status != 200 || !strings.Contains(page.body, "<form") {
			h.failf("no page asks: %v", page)
		}
		return page, cookie
	}
	for i, lines := range [][]string{{"Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: same-site"}, {"Origin: https://evil.test"},
		{"Origin: null", "Sec-Fetch-Site: cross-site"}, {"Origin: https://app.test.evil.test"},
		{"Origin: http://app.test", "Sec-Fetch-Site: cross-site"}} {
		add(fmt.Sprintf("E7 consent posted by another site %d", i), func(h *client) {
			page, cookie := consent(h)
			a := h.form("/oidc/authorize", hiddenFields(page.body)+"&decision=allow", append(lines, "Accept: text/html", cookie)...)
			if a.status != 403 || a.header["Location"] != nil {
				h.failf("got %v, want 403", a)
			}
		})
	}
	add("E7 consent by GET", func(h *client) {
		page, cookie := consent(h)
		a := h.get("/oidc/authorize?"+hiddenFields(page.body)+"&decision=allow", cookie)
		h.page400(a)
	})
	add("E7 consent of another person", func(h *client) {
		page := h.get(oidcAsk("client_id", "asks"), h.member("zhangsan"))
		a := h.form("/oidc/authorize", hiddenFields(page.body)+"&decision=allow", "Sec-Fetch-Site: same-origin",
			"Accept: text/html", h.member("lisi"))
		if to := a.header.Get("Location"); strings.Contains(to, "code=") {
			h.failf("got %v", a)
		}
	})
	return list
}

// hiddenFields are those of a page's form, encoded.
func hiddenFields(body string) string {
	v := url.Values{}
	for _, m := range hiddenField.FindAllStringSubmatch(body, -1) {
		v.Set(m[1], strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#34;", `"`).Replace(m[2]))
	}
	return v.Encode()
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// oidcScopes are E8: nobody learns more than the client may.
func oidcScopes() (list []try) {
	known := []string{"openid", "profile", "email", "groups", "offline_access"}
	for _, scope := range []string{"", "admin", "openid admin root *", "OPENID", "openid\x00profile", "openid\tprofile", "openid,profile",
		"openid openid openid", "phone address", "openid <script>", strings.Repeat("a ", 60), strings.Repeat("a ", 2000),
		strings.Repeat("x", 4000), "openid\r\nX: y", "openid departments mobile userid unionid", "open id", "openid%20profile"} {
		list = append(list, try{fmt.Sprintf("E8 scope %.40q", scope), func(h *client) {
			a := h.get(oidcAsk("scope", scope), h.colleague())
			to, _ := url.Parse(a.header.Get("Location"))
			code := to.Query().Get("code")
			if code == "" {
				if a.status < 300 || a.status >= 500 {
					h.failf("got %v", a)
				}
				return
			}
			a = h.form("/oidc/token", oidcForm(code), authWeb)
			var t struct{ Scope string }
			if json.Unmarshal([]byte(a.body), &t) != nil || a.status != 200 {
				h.failf("got %v", a)
			}
			for one := range strings.FieldsSeq(t.Scope) {
				if !slices.Contains(known, one) {
					h.failf("scope %q was given", one)
				}
			}
		}})
	}
	for _, claims := range []string{`{}`, `[]`, `null`, `1`, `"x"`, `{"id_token":null}`, `{"id_token":{"mobile":null}}`, `{"userinfo":1}`,
		`{"id_token":{"iss":{"value":"https://evil.test"}}}`, `{"id_token":{"sub":{"value":"other"}}}`,
		`{"id_token":{"aud":{"value":"asks"}}}`, `{"id_token":{"email":{"value":"evil@evil.test"}}}`, `{`, `{"id_token":{"`,
		`{"id_token":{"groups":{"essential":true,"values":["root"]}}}`, `{"userinfo":{"unionid":null,"userid":null,"mobile":null}}`,
		strings.Repeat(`{"id_token":`, 500), `{"id_token":` + strings.Repeat("[", 2000) + `}`, "\x00", `{"id_token":{"` + strings.Repeat("a", 5000) + `":null}}`} {
		list = append(list, try{fmt.Sprintf("E8 claims %.60q", claims), func(h *client) {
			a := h.get(oidcAsk("scope", "openid", "claims", claims), h.colleague())
			to, _ := url.Parse(a.header.Get("Location"))
			code := to.Query().Get("code")
			if code == "" {
				return
			}
			a = h.form("/oidc/token", oidcForm(code), authWeb)
			var t oidcAnswered
			json.Unmarshal([]byte(a.body), &t)
			parts := strings.Split(t.ID, ".")
			if a.status != 200 || len(parts) != 3 {
				h.failf("got %v", a)
				return
			}
			body, _ := base64.RawURLEncoding.DecodeString(parts[1])
			var id map[string]any
			json.Unmarshal(body, &id)
			for name := range id {
				if !slices.Contains([]string{"iss", "sub", "aud", "azp", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash",
					"sid", "email", "email_verified", "groups"}, name) {
					h.failf("the ID token says %s", name)
				}
			}
			if id["iss"] != oidcIssuer || id["aud"] != "web" || id["email"] == "evil@evil.test" {
				h.failf("the ID token says %s", body)
			}
		}})
	}
	for _, pair := range [][2]string{{"request", "a.b.c"}, {"request_uri", "https://evil.test/r"}, {"request_uri", "http://169.254.169.254/"},
		{"registration", "{}"}, {"resource", "https://evil.test"}, {"response_type", "token"}, {"response_type", "code id_token"},
		{"response_type", "none"}, {"response_mode", "fragment"}, {"response_mode", "query.jwt"}, {"max_age", "-1"}, {"max_age", "1e9"},
		{"max_age", "99999999999999999999"}, {"prompt", "none login"}} {
		list = append(list, try{fmt.Sprintf("E8 %s %q", pair[0], pair[1]), func(h *client) {
			a := h.get(oidcAsk(pair[0], pair[1]), h.colleague())
			if to, _ := url.Parse(a.header.Get("Location")); to.Query().Get("error") == "" || to.Query().Get("code") != "" {
				h.failf("got %v, want an error for the application", a)
			}
		}})
	}
	return list
}

// oidcDevices are E10: user codes that are guessed, devices that ask too often.
func oidcDevices() (list []try) {
	for i := range 60 {
		list = append(list, try{fmt.Sprintf("E10 guess %d", i), func(h *client) {
			code := fmt.Sprintf("BCDF-GH%cK", 'B'+i%20)
			a := h.form("/oidc/device", "user_code="+code, "Sec-Fetch-Site: same-origin", "Accept: text/html", h.colleague())
			if a.status != 429 && !strings.Contains(a.body, `id="wrong"`) || strings.Contains(a.body, ">native<") {
				h.failf("got %v", a)
			}
		}})
	}
	for _, code := range []string{"<script>alert(1)</script>", "\"onx=1", "", "A", strings.Repeat("B", 3000), "BCDF\x00GHJK",
		"ＢＣＤＦＧＨＪＫ", "%zz", "'--", "BCDFGHJK\r\nX: y"} {
		list = append(list, try{fmt.Sprintf("E10 user_code %.30q", code), func(h *client) {
			for _, cookie := range []string{"X-None: x", h.colleague()} {
				a := h.get("/oidc/device?user_code="+url.QueryEscape(code), cookie)
				if a.status >= 500 || strings.Contains(a.body, "<script>alert") || strings.Contains(a.body, `"onx=1`) {
					h.failf("got %v", a)
				}
			}
		}})
	}
	for i := range 30 {
		list = append(list, try{fmt.Sprintf("E10 device_code %d", i), func(h *client) {
			body := "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&client_id=native&device_code=" +
				strings.Repeat(string(rune('A'+i%26)), i+1)
			if a := h.form("/oidc/token", body); a.status != 400 {
				h.failf("got %v, want 400", a)
			}
		}})
	}
	return append(list, try{"E10 polling too fast", func(h *client) {
		var d struct {
			Device string `json:"device_code"`
			User   string `json:"user_code"`
		}
		json.Unmarshal([]byte(h.form("/oidc/device_authorization", "client_id=native&scope=openid").body), &d)
		slowed := false
		for range 5 {
			a := h.form("/oidc/token", "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&client_id=native&device_code="+
				url.QueryEscape(d.Device))
			slowed = slowed || strings.Contains(a.body, "slow_down")
			if a.status != 400 {
				h.failf("got %v, want 400", a)
			}
		}
		if !slowed || len(d.User) < 8 {
			h.failf("nobody said slow_down to %+v", d)
		}
	}})
}

// oidcTokens are what is worth nothing at userinfo, introspection and refresh (E2, E5).
func oidcTokens() (list []try) {
	for _, token := range []string{"", "x", "a.b.c", strings.Repeat("A", 43), strings.Repeat("A", 5000), "null", "Bearer", "%00", "张三",
		"' or 1=1", "eyJhbGciOiJub25lIn0.e30.", "../../x"} {
		for _, line := range []string{"Authorization: Bearer ", "Authorization: bearer ", "Authorization: Basic ", "Authorization: ",
			"Cookie: access_token=", "X-Access-Token: "} {
			list = append(list, try{fmt.Sprintf("E5 userinfo %q %.20q", line, token), func(h *client) {
				if a := h.get("/oidc/userinfo?access_token="+url.QueryEscape(token), line+token); !a.bare && a.status != 401 &&
					a.status != 400 {
					h.failf("got %v, want 401", a)
				}
			}})
		}
		list = append(list, try{fmt.Sprintf("E5 refresh %.20q", token), func(h *client) {
			if a := h.form("/oidc/token", "grant_type=refresh_token&refresh_token="+url.QueryEscape(token), authWeb); a.status != 400 {
				h.failf("got %v, want 400", a)
			}
		}}, try{fmt.Sprintf("E5 introspect %.20q", token), func(h *client) {
			a := h.form("/oidc/introspect", "token="+url.QueryEscape(token), authWeb)
			if a.status != 400 && (a.status != 200 || !strings.Contains(a.body, `"active":false`)) {
				h.failf("got %v, want inactive", a)
			}
		}})
	}
	return append(list, try{"E5 another client's token", func(h *client) {
		mine := h.oidcRedeem(h.oidcCode())
		a := h.form("/oidc/token", "grant_type=refresh_token&refresh_token="+url.QueryEscape(mine.Refresh), authAsks)
		if a.status != 400 {
			h.failf("got %v, want 400", a)
		}
		if a := h.form("/oidc/introspect", "token="+url.QueryEscape(mine.Access), authAsks); !strings.Contains(a.body, `"active":false`) {
			h.failf("got %v, want inactive", a)
		}
	}}, try{"E5 an access token at a route", func(h *client) {
		mine := h.oidcRedeem(h.oidcCode())
		for _, token := range []string{mine.Access, mine.ID, mine.Refresh} {
			if a := h.get("/reports", "Authorization: Bearer "+token); a.status != 401 && a.status != 302 {
				h.failf("got %v, want a sign-in", a)
			}
		}
	}})
}
