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
)

// oidcHints covers E6: an ID token that dinggate did not issue signs no person out without
// confirmation.
func oidcHints() (list []try) {
	checkConfirmation := func(h *client, hint, cookie string) {
		a := h.get("/oidc/end_session?id_token_hint="+url.QueryEscape(hint), cookie)
		if a.status != 200 || !strings.Contains(a.body, "<form") || len(a.header["Set-Cookie"]) > 0 {
			h.failf("got %v, want a confirmation page", a)
		}
	}
	var once sync.Mutex
	var token string
	hint := func(h *client) string { // one hint of zhangsan for all tries
		once.Lock()
		defer once.Unlock()
		if token == "" {
			a := h.get(oidcAuthorize(), h.member("zhangsan"))
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
			checkConfirmation(h, string(text), h.member("zhangsan"))
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
				case "KEY": // an HMAC with public data as the key
					mac := hmac.New(sha256.New, []byte(h.get("/oidc/end_session").body))
					mac.Write([]byte(body))
					sign = encode(mac.Sum(nil))
				}
				checkConfirmation(h, body+"."+sign, h.member("zhangsan"))
			}})
		}
	}
	for _, text := range []string{"", ".", "..", "...", "a.b.c", "x", strings.Repeat("a.", 100), strings.Repeat("A", 7000),
		"张三", "%00"} {
		list = append(list, try{fmt.Sprintf("E6 hint %.20q", text), func(h *client) { checkConfirmation(h, text, h.member("zhangsan")) }})
	}
	return append(list, try{"E6 another person's hint", func(h *client) { checkConfirmation(h, hint(h), h.member("lisi")) }})
}

// oidcFrames covers E7: pages in frames, and forged consent.
func oidcFrames() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for _, lines := range [][]string{{"Sec-Fetch-Dest: iframe", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: cross-site"},
		{"Sec-Fetch-Dest: frame", "Sec-Fetch-Mode: navigate"}, {"Sec-Fetch-Dest: object", "Sec-Fetch-Mode: navigate"},
		{"Sec-Fetch-Dest: empty", "Sec-Fetch-Mode: cors", "Sec-Fetch-Site: cross-site"}, {"Accept: application/json"}, {}} {
		for _, prompt := range []string{"none", "none login", "none consent", "none none"} {
			add(fmt.Sprintf("E7 prompt %q %q", prompt, lines), func(h *client) {
				a := h.get(oidcAuthorize("prompt", prompt), lines...)
				to, _ := url.Parse(a.header.Get("Location"))
				if got := to.Query().Get("error"); got != "login_required" && got != "invalid_request" {
					h.failf("got %v, want an error for the application", a)
				}
			})
		}
	}
	consent := func(h *client) (page *answer, cookie string) {
		cookie = h.colleague()
		page = h.get(oidcAuthorize("client_id", "consent"), cookie)
		if page.status != 200 || !strings.Contains(page.body, "<form") {
			h.failf("no consent page: %v", page)
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
		page := h.get(oidcAuthorize("client_id", "consent"), h.member("zhangsan"))
		a := h.form("/oidc/authorize", hiddenFields(page.body)+"&decision=allow", "Sec-Fetch-Site: same-origin",
			"Accept: text/html", h.member("lisi"))
		if to := a.header.Get("Location"); strings.Contains(to, "code=") {
			h.failf("got %v", a)
		}
	})
	return list
}

// hiddenFields returns the hidden fields of a page's form, encoded.
func hiddenFields(body string) string {
	v := url.Values{}
	for _, m := range hiddenField.FindAllStringSubmatch(body, -1) {
		v.Set(m[1], strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#34;", `"`).Replace(m[2]))
	}
	return v.Encode()
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// oidcScopes covers E8: a client receives only the claims of its scopes.
func oidcScopes() (list []try) {
	known := []string{"openid", "profile", "email", "groups", "offline_access"}
	for _, scope := range []string{"", "admin", "openid admin root *", "OPENID", "openid\x00profile", "openid\tprofile", "openid,profile",
		"openid openid openid", "phone address", "openid <script>", strings.Repeat("a ", 60), strings.Repeat("a ", 2000),
		strings.Repeat("x", 4000), "openid\r\nX: y", "openid departments mobile userid unionid", "open id", "openid%20profile"} {
		list = append(list, try{fmt.Sprintf("E8 scope %.40q", scope), func(h *client) {
			a := h.get(oidcAuthorize("scope", scope), h.colleague())
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
					h.failf("scope %q was granted", one)
				}
			}
		}})
	}
	for _, claims := range []string{`{}`, `[]`, `null`, `1`, `"x"`, `{"id_token":null}`, `{"id_token":{"mobile":null}}`, `{"userinfo":1}`,
		`{"id_token":{"iss":{"value":"https://evil.test"}}}`, `{"id_token":{"sub":{"value":"other"}}}`,
		`{"id_token":{"aud":{"value":"consent"}}}`, `{"id_token":{"email":{"value":"evil@evil.test"}}}`, `{`, `{"id_token":{"`,
		`{"id_token":{"groups":{"essential":true,"values":["root"]}}}`, `{"userinfo":{"unionid":null,"userid":null,"mobile":null}}`,
		strings.Repeat(`{"id_token":`, 500), `{"id_token":` + strings.Repeat("[", 2000) + `}`, "\x00", `{"id_token":{"` + strings.Repeat("a", 5000) + `":null}}`} {
		list = append(list, try{fmt.Sprintf("E8 claims %.60q", claims), func(h *client) {
			a := h.get(oidcAuthorize("scope", "openid", "claims", claims), h.colleague())
			to, _ := url.Parse(a.header.Get("Location"))
			code := to.Query().Get("code")
			if code == "" {
				return
			}
			a = h.form("/oidc/token", oidcForm(code), authWeb)
			var t oidcTokenResponse
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
					h.failf("the ID token contains %s", name)
				}
			}
			if id["iss"] != oidcIssuer || id["aud"] != "web" || id["email"] == "evil@evil.test" {
				h.failf("the ID token contains %s", body)
			}
		}})
	}
	for _, pair := range [][2]string{{"request", "a.b.c"}, {"request_uri", "https://evil.test/r"}, {"request_uri", "http://169.254.169.254/"},
		{"registration", "{}"}, {"resource", "https://evil.test"}, {"response_type", "token"}, {"response_type", "code id_token"},
		{"response_type", "none"}, {"response_mode", "fragment"}, {"response_mode", "query.jwt"}, {"max_age", "-1"}, {"max_age", "1e9"},
		{"max_age", "99999999999999999999"}, {"prompt", "none login"}} {
		list = append(list, try{fmt.Sprintf("E8 %s %q", pair[0], pair[1]), func(h *client) {
			a := h.get(oidcAuthorize(pair[0], pair[1]), h.colleague())
			if to, _ := url.Parse(a.header.Get("Location")); to.Query().Get("error") == "" || to.Query().Get("code") != "" {
				h.failf("got %v, want an error for the application", a)
			}
		}})
	}
	return list
}

// oidcDevices covers E10: guessed user codes, and devices that poll too often.
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
			h.failf("no response to %+v was slow_down", d)
		}
	}})
}
