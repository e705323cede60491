package hostile

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// api sends a request with an Authorization header and returns the requests that the application
// received.
func (h *client) api(target string, authorized bool, lines ...string) (*answer, []upstreamRequest) {
	a := h.send(request{
		from:       h.env.newAddress(),
		authorized: authorized,
		slow:       true,
		raw:        requestText("GET", target, h.id, lines...),
	})
	return a, h.env.up.received(h.id)
}

// basicCredentials covers api_tokens: a name and a password instead of a cookie.
func basicCredentials() (list []try) {
	raw := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	good := raw("erin:" + password("erin"))
	for _, line := range []string{"Basic " + raw("erin:wrong"), "Basic " + raw("erin:"), "Basic " + raw("erin"),
		"Basic " + raw(":"+password("erin")), "Basic " + raw("ERIN:"+password("erin")),
		"Basic " + raw("erin:"+password("dora")), "Basic " + raw("erin :"+password("erin")),
		"Basic " + raw("erin:"+password("erin")+"\n"), "Basic " + raw("erin:"+password("erin")+"\x00"),
		"Basic " + raw("erin:"+password("erin")+" "), "Basic " + raw("\xff\xfe:x"),
		"Basic " + strings.TrimRight(good, "=") + "x", "Basic " + good + "," + good, "Basic", "Basic ", "basic !!!",
		"BASIC " + good[:8], "Basic " + strings.Repeat("A", 30_000), "Basic " + url.QueryEscape(good) + "%",
		"Basic " + raw("unknown:"+password("erin")), "Basic " + raw("zhangsan:zhangsan"),
		"Basic " + raw("app-one:"+canary+"-one"+longSecret), "Bearer " + good, "Bearer ", "Bearer", "Bearer null",
		"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.", "bearer  x", "Bearer " + strings.Repeat("x", 30_000)} {
		for _, target := range []string{"/page", "/admin/", "/oauth2/auth", "/oauth2/forward-auth",
			"/oauth2/ext-authz/page"} {
			for _, member := range []bool{false, true} { // a wrong credential is anonymous even with a valid cookie
				list = append(list,
					try{fmt.Sprintf("T4 T17 %.50q at %s member %v", line, target, member), func(h *client) {
						lines := []string{"Authorization: " + line, "Accept: text/html"}
						if member {
							lines = append(lines, h.member("lisi"))
						}
						a, seen := h.api(target, false, lines...)
						if a.status != 401 && a.status != 429 && !a.bare && a.status != 431 || len(seen) > 0 {
							h.failf("got %v, want 401", a)
						}
					}})
			}
		}
	}
	for _, lines := range [][]string{{"Authorization: Basic " + good, "Authorization: Basic " + good},
		{"Authorization: Basic " + good, "Authorization: Bearer x"},
		{"Authorization: Digest x", "Authorization: Basic " + good}, {"X-Authorization: Basic " + good},
		{"Proxy-Authorization: Basic " + good}, {"Authorization_: Basic " + good}, {"Authorization.: Basic " + good}} {
		list = append(list, try{fmt.Sprintf("T4 %.40q", lines), func(h *client) {
			if a, seen := h.api("/page", false, lines...); a.status != 401 || len(seen) > 0 {
				h.failf("got %v, want 401", a)
			}
		}})
	}
	for _, scheme := range []string{"Basic ", "basic ", "BASIC "} {
		for _, target := range []string{"/page", "/public/page"} {
			list = append(list, try{"T16 correct " + scheme + target, func(h *client) {
				a, seen := h.api(target, true, "Authorization: "+scheme+good, "X-Forwarded-User: boss",
					h.member("lisi"))
				if a.status != 200 || len(seen) != 1 || seen[0].value("X-Forwarded-User") != "erin" ||
					a.header["Set-Cookie"] != nil &&
						strings.Contains(strings.Join(a.header["Set-Cookie"], ""), "dinggate") {
					h.failf("got %v, the application received %+v", a, seen)
					return
				}
				if v := seen[0].values("Authorization"); len(v) > 0 {
					h.failf("the password was forwarded to the application: %d headers", len(v))
				}
			}})
		}
	}
	list = append(list, try{"H8 a scheme of the application", func(h *client) {
		for _, line := range []string{"Digest username=\"erin\"", "AWS4-HMAC-SHA256 x", "Negotiate x", "token x"} {
			if a, _ := h.api("/page", false, "Authorization: "+line); a.status != 401 {
				h.failf("got %v", a)
			}
		}
	}}, try{"T5 guesses by Basic end", func(h *client) {
		from := h.env.newAddress()
		for busy, guesses := 0, 0; guesses < 60 && busy < 20; {
			a := h.send(request{
				from: from,
				slow: true,
				raw: requestText("GET", "/page", h.id,
					"Authorization: Basic "+raw(fmt.Sprintf("dora:guess%d", guesses))),
			})
			if a.status == 503 {
				busy++
				continue
			}
			guesses++
			if a.status == 429 {
				if a, _ := h.api("/page", true,
					"Authorization: Basic "+raw("dora:"+password("dora"))); a.status != 200 {
					h.failf("the account is refused from other addresses too: %v", a)
				}
				return
			}
		}
		h.failf("60 guesses are not limited")
	}})
	return list
}

// bearerTokens covers bearer tokens that the service issued, instead of a cookie.
func bearerTokens() (list []try) {
	for name, c := range map[string]struct {
		line func(h *client, t tokens, code string) string
		want int
	}{
		"the access token": {func(_ *client, t tokens, _ string) string { return "Bearer " + t.Access }, 200},
		"in lower case":    {func(_ *client, t tokens, _ string) string { return "bearer " + t.Access }, 200},
		"the refresh":      {func(_ *client, t tokens, _ string) string { return "Bearer " + t.Refresh }, 401},
		"a code":           {func(_ *client, _ tokens, code string) string { return "Bearer " + code }, 401},
		"cut": {func(_ *client, t tokens, _ string) string {
			return "Bearer " + t.Access[:len(t.Access)-1]
		}, 401},
		"respelled": {func(_ *client, t tokens, _ string) string { return "Bearer " + respelled(t.Access) }, 401},
		"padded":    {func(_ *client, t tokens, _ string) string { return "Bearer " + t.Access + "=" }, 401},
		"upper": {func(_ *client, t tokens, _ string) string {
			return "Bearer " + strings.ToUpper(t.Access)
		}, 401},
		"quoted": {func(_ *client, t tokens, _ string) string { return `Bearer "` + t.Access + `"` }, 401},
		"as Basic": {func(_ *client, t tokens, _ string) string {
			return "Basic " + base64.StdEncoding.EncodeToString([]byte("alice:"+t.Access))
		}, 401},
		"bare": {func(_ *client, t tokens, _ string) string { return t.Access }, 401},
		"a session cookie": {func(h *client, _ tokens, _ string) string {
			_, v, _ := strings.Cut(h.member("zhangsan"), "=")
			return "Bearer " + v
		}, 401},
		"an assertion": {func(h *client, _ tokens, _ string) string {
			h.send(request{authorized: true, raw: requestText("GET", "/page", h.id+"p", h.member("zhangsan"))})
			return "Bearer " + h.env.up.received(h.id + "p")[0].value("X-Dinggate-Assertion")
		}, 401},
	} {
		list = append(list, try{"T16 T19 Bearer: " + name, func(h *client) {
			got, unused := h.redeem(h.grant("s"), "s"), h.grant("s")
			a, seen := h.api("/page", c.want == 200, "Authorization: "+c.line(h, got, unused))
			if a.status != c.want || (len(seen) == 1) != (c.want == 200) {
				h.failf("got %v, want %d", a, c.want)
				return
			}
			if c.want == 200 &&
				(seen[0].value("X-Forwarded-User") != "alice" || len(seen[0].values("Authorization")) > 0 ||
					strings.Contains(seen[0].head, got.Access)) {
				h.failf("the application saw %q", seen[0].head)
			}
		}})
	}
	for _, form := range []string{"?access_token=", "?token=", "?authorization=Bearer%20"} {
		list = append(list, try{"T16 in the query " + form, func(h *client) {
			if a, _ := h.api("/page"+form+h.redeem(h.grant("s"), "s").Access, false); a.status != 401 {
				h.failf("got %v", a)
			}
		}})
	}
	list = append(list, try{"T20 T21 Bearer after the sign-out", func(h *client) {
		v := h.visitor().signIn("zhangsan")
		a := v.do(request{}, "GET", authorizeFor(appOne, oneCallback, "s"))
		to, _ := url.Parse(a.header.Get("Location"))
		got := h.redeem(to.Query().Get("code"), "s")
		if a, _ := h.api("/page", true, "Authorization: Bearer "+got.Access); a.status != 200 {
			h.failf("before it = %v", a)
		}
		v.do(request{cleared: true}, "POST", "/oauth2/sign_out", "Sec-Fetch-Site: same-origin", "Content-Length: 0")
		if a, _ := h.api("/page", false, "Authorization: Bearer "+got.Access); a.status != 401 {
			h.failf("after it = %v", a)
		}
	}}, try{"T18 Bearer of a person without access", func(h *client) {
		if a, seen := h.api("/admin/", false,
			"Authorization: Bearer "+h.redeem(h.grant("s"), "s").Access); a.status != 403 || len(seen) > 0 {
			h.failf("got %v", a)
		}
	}})
	return list
}

// assertions covers X-Dinggate-Assertion: its claims, its audience, and that no other party can issue
// it.
func assertions() (list []try) {
	keys := func(h *client) (set jose.JSONWebKeySet, text string) {
		a := h.send(request{raw: requestText("GET", "/oauth2/jwks.json", h.id+"k")})
		if err := json.Unmarshal([]byte(a.body), &set); err != nil || len(set.Keys) == 0 {
			h.failf("the keys are %v: %v", a, err)
		}
		return set, a.body
	}
	for name, c := range map[string]struct {
		target, person, audience string
		lines                    []string
	}{
		"the page":             {"/page", "zhangsan", "https://app.test/", nil},
		"a route of few":       {"/admin/x", "lisi", "https://app.test/admin/", nil},
		"the host in capitals": {"/page", "zhangsan", "https://app.test/", []string{"Host: APP.TEST:443"}},
		"a claim of a host":    {"/page", "zhangsan", "https://app.test/", []string{"X-Forwarded-Host: evil.test"}},
		"a forged assertion": {"/page", "zhangsan", "https://app.test/",
			[]string{"X-Dinggate-Assertion: " + forged, "X_Dinggate_Assertion: " + forged,
				"x-dinggate.assertion: " + forged, "Connection: X-Dinggate-Assertion"}},
		"a public page": {"/public/x", "zhangsan", "https://app.test/public/", nil},
	} {
		list = append(list, try{"H1 assertion: " + name, func(h *client) {
			set, _ := keys(h)
			h.send(request{
				authorized: true,
				raw:        requestText("GET", c.target, h.id, append(c.lines, h.member(c.person))...),
			})
			seen := h.env.up.received(h.id)
			if len(seen) != 1 || len(seen[0].values("X-Dinggate-Assertion")) != 1 ||
				strings.Contains(seen[0].head, forged) {
				h.failf("the application received %+v", seen)
				return
			}
			assertion, err := jose.ParseSigned(seen[0].value("X-Dinggate-Assertion"), []jose.SignatureAlgorithm{jose.ES256})
			if err != nil {
				h.failf("no assertion: %v", err)
				return
			}
			var claims struct {
				Iss, Sub string
				Aud      any
				Iat, Exp int64
			}
			key := set.Key(assertion.Signatures[0].Header.KeyID)
			if len(key) != 1 {
				h.failf("its key is not published")
				return
			}
			plain, err := assertion.Verify(key[0])
			json.Unmarshal(plain, &claims)
			want := map[string]string{"zhangsan": "alice", "lisi": "bob"}[c.person]
			if err != nil || claims.Sub != want || claims.Iss != "https://app.test" ||
				fmt.Sprint(claims.Aud) != c.audience && fmt.Sprint(claims.Aud) != "["+c.audience+"]" ||
				claims.Exp <= claims.Iat || claims.Exp > claims.Iat+900 {
				h.failf("it contains %s (%v), want %s for %s", plain, err, want, c.audience)
			}
			if _, ok := key[0].Key.(*ecdsa.PublicKey); !ok {
				h.failf("the published key is a %T", key[0].Key)
			}
		}})
	}
	list = append(list, try{"L1 assertion: no private part is published", func(h *client) {
		if _, text := keys(h); strings.Contains(text, `"d":`) || strings.Contains(text, `"k":`) {
			h.failf("the keys are %s", text)
		}
	}}, try{"H1 assertion: none for anonymous clients", func(h *client) {
		h.send(request{authorized: true, raw: requestText("GET", "/public/x", h.id, "X-Dinggate-Assertion: "+forged)})
		if seen := h.env.up.received(h.id); len(seen) != 1 || len(seen[0].values("X-Dinggate-Assertion")) > 0 {
			h.failf("the application received %+v", seen)
		}
	}}, try{"F8 assertion: a gateway gets it, empty for anonymous clients", func(h *client) {
		for _, line := range []string{h.member("zhangsan"), "X-A: b"} {
			a := h.send(request{
				from: gateway,
				raw: requestText("GET", "/oauth2/auth", h.id, line, "X-Original-URL: https://app.test/public/x",
					"X-Original-Method: GET"),
			})
			if v := a.header["X-Dinggate-Assertion"]; a.status != 200 || len(v) != 1 ||
				(v[0] == "") != (line == "X-A: b") {
				h.failf("%.20s: got %v with %q", line, a, v)
			}
		}
	}})
	// A script in a page sends requests with its visitor's cookie and with arbitrary headers.
	for _, endpoint := range []string{"/oauth2/auth", "/oauth2/auth?x", "/oauth2/forward-auth",
		"/oauth2/ext-authz/page", "/oauth2/ext-authz/admin/x", "/oauth2/ext-authz/public/x", "/oauth2/userinfo",
		"/oauth2/jwks.json", "/oauth2/sign_in", "/page", "/public/x"} {
		for _, lines := range [][]string{
			nil, {"X-Original-URL: https://app.test/admin/x"},
			{"X-Original-URL: https://app.test/page", "X-Original-Method: GET"}, {"X-Original-URI: /page"},
			{"X-Forwarded-Uri: /page", "X-Forwarded-Host: app.test", "X-Forwarded-Proto: https",
				"X-Forwarded-Method: GET"},
			{"X-Forwarded-For: " + gateway},
			{"X-Real-IP: " + gateway, "Forwarded: for=" + gateway + ";host=app.test"},
			{"X-Dinggate-Assertion: " + forged},
			{"Accept: application/json", "Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin"},
			{"Connection: X-Dinggate-Assertion, X-Forwarded-For"},
		} {
			for _, person := range []string{"zhangsan", "lisi"} {
				list = append(list,
					try{fmt.Sprintf("W14 %s requests %s with %q", person, endpoint, lines), func(h *client) {
						a := h.send(request{
							authorized: !strings.HasPrefix(endpoint, "/oauth2/"),
							raw: requestText("GET", endpoint, h.id,
								append(lines[:len(lines):len(lines)], h.member(person))...),
						})
						if text := headLine(a.header) + a.body; strings.Contains(text, "eyJ") &&
							!strings.Contains(endpoint, "jwks") {
							h.failf("a token is in %v", a)
						}
					}})
			}
		}
	}
	return list
}
