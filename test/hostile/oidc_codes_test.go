package hostile

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// oidcRedemptions covers E2, E4 and E5: which client receives tokens for a code, and how often.
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
		name              string
		authorize, redeem []string
		auth              string
	}{
		{"another client", nil, nil, authConsent},
		{"a public client", nil, []string{"client_id", "native"}, "X-None: x"},
		{"no client", nil, nil, "X-None: x"},
		{"the client without its secret", nil, []string{"client_id", "web"}, "X-None: x"},
		{"another address", nil, []string{"redirect_uri", oidcCallback + "/"}, authWeb},
		{"no address", nil, []string{"redirect_uri", "-"}, authWeb},
		{"a verifier without a challenge", nil, []string{"code_verifier", verifier}, authWeb},
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
			code := h.oidcCode(tt.authorize...)
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
			a := h.get(oidcAuthorize("code_challenge", challenge, "code_challenge_method", method), h.colleague())
			if to, _ := url.Parse(a.header.Get("Location")); to == nil || to.Query().Get("error") != "invalid_request" {
				h.failf("got %v, want invalid_request", a)
			}
		})
	}
	for _, text := range []string{verifier, challenge[1:], challenge + "=", challenge + "A", "", " ", "\x00", challenge[:42] + "B",
		strings.Repeat("A", 5000)} {
		add(fmt.Sprintf("E4 native, challenge %.20q", text), func(h *client) {
			a := h.get(oidcAuthorize("client_id", "web", "code_challenge", text, "code_challenge_method", "S256"), h.colleague())
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
					w := &rawConns{idle: map[string]*rawConn{}}
					defer w.close()
					one := &client{env: h.env, conns: w, id: h.id}
					statuses <- one.form("/oidc/token", oidcForm(code), authWeb).status
				})
			}
			all.Wait()
			close(statuses)
			succeeded := 0
			for status := range statuses {
				if status == 200 {
					succeeded++
				}
			}
			if succeeded != 1 {
				h.failf("%d of 8 redemptions of one code succeeded", succeeded)
			}
		})
		add(fmt.Sprintf("E2 E5 a second use ends the first tokens %d", i), func(h *client) {
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

// oidcClients covers E9: client identification and authentication.
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
		{"Authorization: Basic " + raw("consent:"+secret)}, {"Authorization: Basic " + raw("native:")},
		{"Authorization: Basic " + raw("native:x")}, {"Authorization: Bearer " + good[6:]}, {"Authorization: " + good[6:]},
		{"Authorization: Basic " + good[6:] + ", Basic x"}, {"Authorization: Digest username=\"web\""},
		{"Proxy-Authorization: " + good}, {"X-Authorization: " + good}, {"Authorization: Basic x", authWeb},
		{authWeb, "Authorization: Basic x"}, {authWeb, authConsent},
		{"Authorization: Basic " + raw("web\x00:"+secret)}, {"Authorization: Basic " + raw("web:"+secret+"\x00")},
		{"Authorization: Basic " + strings.Repeat("A", 30_000)}} {
		for _, path := range []string{"/oidc/token", "/oidc/introspect", "/oidc/revoke"} {
			if path == "/oidc/revoke" && lines[0] == "Authorization: Basic "+raw("native:") {
				continue // a client without a secret sends only its id
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
			return h.form("/oidc/token", oidcForm(code, "client_id", "consent"), authWeb)
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
				a := h.send(request{from: h.env.newAddress(), method: method, fresh: true,
					raw: requestText(method, path+"?"+oidcForm("x"), h.id, authWeb)})
				if !a.bare && a.status != 405 && a.status != 400 {
					h.failf("got %v, want 405", a)
				}
			})
		}
	}
	return list
}

// oidcTokens covers tokens that userinfo, introspection and refresh must reject (E2, E5).
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
		a := h.form("/oidc/token", "grant_type=refresh_token&refresh_token="+url.QueryEscape(mine.Refresh), authConsent)
		if a.status != 400 {
			h.failf("got %v, want 400", a)
		}
		if a := h.form("/oidc/introspect", "token="+url.QueryEscape(mine.Access), authConsent); !strings.Contains(a.body, `"active":false`) {
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
