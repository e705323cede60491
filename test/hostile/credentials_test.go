package hostile

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// A page but for its own number, and for the name that it was given.
var (
	ticket = regexp.MustCompile(`[0-9a-f]{24}`)
	inputs = regexp.MustCompile(`<input[^>]*>`)
)

// formed is what the sign-in form takes.
const formed = "Content-Type: application/x-www-form-urlencoded"

// forms29 are the form's own rows: who may post it, what it says, and where it
// leads afterwards (class R at one more endpoint).
func forms29() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{"T6 W3a " + name, do}) }
	good := url.Values{"username": {"erin"}, "password": {password("erin")}}.Encode()
	const ours = "Sec-Fetch-Site: same-origin"
	for name, c := range map[string]struct {
		body  string
		lines []string
		want  []int
	}{
		"as a browser posts it":          {good, []string{formed, ours, "Origin: null"}, []int{303}},
		"without a browser":              {good, []string{formed}, []int{303}},
		"our Origin":                     {good, []string{formed, "Origin: https://app.test"}, []int{303}},
		"typed in":                       {good, []string{formed, "Sec-Fetch-Site: none"}, []int{303}},
		"with a charset":                 {good, []string{formed + "; charset=utf-8", ours}, []int{303}},
		"cross-site":                     {good, []string{formed, "Sec-Fetch-Site: cross-site"}, []int{403}},
		"a sibling's":                    {good, []string{formed, "Sec-Fetch-Site: same-site"}, []int{403}},
		"a foreign Origin":               {good, []string{formed, "Origin: https://evil.test"}, []int{403}},
		"Origin null alone":              {good, []string{formed, "Origin: null"}, []int{403}},
		"an Origin that looks like ours": {good, []string{formed, "Origin: https://app.test.evil.test"}, []int{403}},
		"http":                           {good, []string{formed, "Origin: http://app.test"}, []int{403}},
		"two Origins": {good,
			[]string{formed, "Origin: https://app.test", "Origin: https://evil.test"}, []int{403}},
		"two sites": {good, []string{formed, ours, "Sec-Fetch-Site: cross-site"}, []int{403}},
		"a Referer alone": {good, []string{formed, "Sec-Fetch-Site: cross-site", "Referer: https://app.test/"},
			[]int{403}},
		"text/plain": {good, []string{"Content-Type: text/plain", ours}, []int{415}},
		"multipart":  {good, []string{"Content-Type: multipart/form-data; boundary=x", ours}, []int{415}},
		"JSON": {`{"username":"erin","password":"` + password("erin") + `"}`,
			[]string{"Content-Type: application/json", ours}, []int{415}},
		"no type":       {good, []string{ours}, []int{415}},
		"compressed":    {good, []string{formed, ours, "Content-Encoding: gzip"}, []int{415}},
		"two types":     {good, []string{formed + ", text/plain", ours}, []int{415}},
		"empty":         {"", []string{formed, ours}, []int{400}},
		"a name alone":  {"username=erin", []string{formed, ours}, []int{400}},
		"two names":     {good + "&username=dora", []string{formed, ours}, []int{400}},
		"two passwords": {good + "&password=x", []string{formed, ours}, []int{400}},
		"an array":      {strings.ReplaceAll(good, "username", "username[]"), []string{formed, ours}, []int{400}},
		"semicolons":    {strings.ReplaceAll(good, "&", ";"), []string{formed, ours}, []int{400}},
		"a bad escape":  {good + "&x=%zz", []string{formed, ours}, []int{400}},
		"8 KiB":         {good + "&x=" + strings.Repeat("x", 8<<10), []string{formed, ours}, []int{413}},
		"60 KiB":        {good + "&x=" + strings.Repeat("x", 60<<10), []string{formed, ours}, []int{413}},
		"in the query":  {"x=y", []string{formed, ours}, []int{400}},
	} {
		add(name, func(h *client) {
			v, query := h.visitor(), ""
			if name == "in the query" {
				query = "?" + good
			}
			a := v.post(query, c.body, c.lines...)
			if !slices.Contains(c.want, a.status) && !a.bare || (a.status == 303) != (v.value(sessionCookie) != "") {
				h.failf("got %v, want %d", a, c.want)
			}
		})
	}
	var same string
	for _, who := range [][2]string{{"erin", "wrong"}, {"nobody", "wrong"}, {"nobody", password("erin")},
		{"ERIN", password("erin")}, {"Erin", password("erin")}, {"ｅrin", password("erin")},
		{"erin\x00", password("erin")}, {"erin\x00x", password("erin")}, {"erin:", password("erin")},
		{"er\u200bin", password("erin")}, {"erіn", password("erin")}, {"../erin", password("erin")},
		{"erin", password("dora")}, {"erin", password("erin") + " "}, {"erin", " " + password("erin")},
		{"erin", password("erin")[:len(password("erin"))-1]}, {"erin", password("erin") + "\x00"},
		{"erin", strings.ToLower(password("erin"))}, {"erin", password("erin") + "x"},
		{"erin", strings.Repeat("x", 73)}, {"erin", strings.Repeat("x", 1025)}, {"erin", ""}, {"", password("erin")},
		{"", ""}, {"zhangsan", "x"}, {"alice' OR '1'='1", "x"}, {"*", "*"}, {"admin", "admin"},
		{strings.Repeat("n", 129), "x"}, {"<script>alert(1)</script>", "x"}, {"\r\nSet-Cookie: x", "x"},
		{"{{7*7}}", "x"}, {"管理", "x"}} {
		add(fmt.Sprintf("%.40q %d bytes", who[0], len(who[1])), func(h *client) {
			v := h.visitor()
			a := v.form("", who[0], who[1])
			if a.status != 401 || v.value(sessionCookie) != "" || strings.Contains(a.body, "<script>alert") ||
				a.header["Www-Authenticate"] != nil {
				h.failf("got %v, want 401", a)
			}
			// But for the name it was given, the page is one and the same: it does not tell who is known.
			text := ticket.ReplaceAllString(inputs.ReplaceAllString(a.body, ""), "")
			h.env.partnerMu.Lock()
			defer h.env.partnerMu.Unlock()
			if same == "" {
				same = text
			}
			if text != same {
				h.failf("another page than for others: %.3000q, for others %.3000q", text, same)
			}
		})
	}
	add("blanks around a name", func(h *client) { // phones add them
		if a := h.visitor().form("", " erin ", password("erin")); a.status != 303 {
			h.failf("got %v", a)
		}
	})
	add("guesses end", func(h *client) {
		v := h.visitor()
		for busy, guesses := 0, 0; guesses < 40 && busy < 20; {
			switch a := v.form("", "dora", "guess"); a.status {
			case 429:
				h.visitor().account("dora") // nobody else is locked out
				return
			case 401:
				guesses++
			case 503: // behind the passwords of others; nothing was verified
				busy++
			default:
				h.failf("got %v", a)
				return
			}
		}
		h.failf("40 guesses, and no end")
	})
	add("guesses over many names end", func(h *client) {
		v := h.visitor()
		for busy, guesses := 0, 0; guesses < 120 && busy < 20; {
			switch a := v.form("", fmt.Sprint("name", guesses), "guess"); a.status {
			case 429:
				return
			case 503:
				busy++
			default:
				guesses++
			}
		}
		h.failf("120 guesses, and no end")
	})
	for _, target := range hostileTargets() {
		for _, form := range []string{"raw", "escaped"} {
			query := "?rd=" + url.QueryEscape(target)
			if form == "raw" {
				if strings.ContainsAny(target, " \r\n\x00\t#") || len(target) > 5000 ||
					strings.ContainsFunc(target, func(r rune) bool { return r < ' ' || r == 0x7f }) {
					continue
				}
				query = "?rd=" + target
			}
			list = append(list, try{fmt.Sprintf("R1 the form leads to %s %.80q", form, target), func(h *client) {
				v := h.visitor()
				a := v.form(query, "erin", password("erin"))
				if a.status != 303 && a.status != 400 && a.status != 431 && a.status != 414 ||
					a.status == 303 && v.value(sessionCookie) == "" {
					h.failf("got %v", a)
				}
			}})
		}
	}
	return list
}

// api asks with an Authorization header and gives what the application saw.
func (h *client) api(target string, right bool, lines ...string) (*answer, []sighting) {
	a := h.send(request{
		from:  h.env.someone(),
		right: right,
		slow:  true,
		raw:   requestText("GET", target, h.id, lines...),
	})
	return a, h.env.up.of(h.id)
}

// basics: a name and a password in place of a cookie (api_tokens).
func basics() (list []try) {
	raw := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	good := raw("erin:" + password("erin"))
	for _, line := range []string{"Basic " + raw("erin:wrong"), "Basic " + raw("erin:"), "Basic " + raw("erin"),
		"Basic " + raw(":"+password("erin")), "Basic " + raw("ERIN:"+password("erin")),
		"Basic " + raw("erin:"+password("dora")), "Basic " + raw("erin :"+password("erin")),
		"Basic " + raw("erin:"+password("erin")+"\n"), "Basic " + raw("erin:"+password("erin")+"\x00"),
		"Basic " + raw("erin:"+password("erin")+" "), "Basic " + raw("\xff\xfe:x"),
		"Basic " + strings.TrimRight(good, "=") + "x", "Basic " + good + "," + good, "Basic", "Basic ", "basic !!!",
		"BASIC " + good[:8], "Basic " + strings.Repeat("A", 30_000), "Basic " + url.QueryEscape(good) + "%",
		"Basic " + raw("nobody:"+password("erin")), "Basic " + raw("zhangsan:zhangsan"),
		"Basic " + raw("app-one:"+canary+"-one"+longSecret), "Bearer " + good, "Bearer ", "Bearer", "Bearer null",
		"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.", "bearer  x", "Bearer " + strings.Repeat("x", 30_000)} {
		for _, target := range []string{"/page", "/admin/", "/oauth2/auth", "/oauth2/forward-auth",
			"/oauth2/ext-authz/page"} {
			for _, member := range []bool{false, true} { // a wrong credential is nobody, whatever cookie comes with it
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
			list = append(list, try{"T16 right " + scheme + target, func(h *client) {
				a, seen := h.api(target, true, "Authorization: "+scheme+good, "X-Forwarded-User: boss",
					h.member("lisi"))
				if a.status != 200 || len(seen) != 1 || seen[0].value("X-Forwarded-User") != "erin" ||
					a.header["Set-Cookie"] != nil &&
						strings.Contains(strings.Join(a.header["Set-Cookie"], ""), "dinggate") {
					h.failf("got %v, the application saw %+v", a, seen)
					return
				}
				if v := seen[0].values("Authorization"); len(v) > 0 {
					h.failf("the password went on to the application: %d headers", len(v))
				}
			}})
		}
	}
	list = append(list, try{"H8 a scheme that is not ours stays the application's", func(h *client) {
		for _, line := range []string{"Digest username=\"erin\"", "AWS4-HMAC-SHA256 x", "Negotiate x", "token x"} {
			if a, _ := h.api("/page", false, "Authorization: "+line); a.status != 401 {
				h.failf("got %v", a)
			}
		}
	}}, try{"T5 guesses by Basic end", func(h *client) {
		from := h.env.someone()
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
					h.failf("others of that name are locked out: %v", a)
				}
				return
			}
		}
		h.failf("60 guesses, and no end")
	}})
	return list
}

// bearers: the service's own tokens in place of a cookie.
func bearers() (list []try) {
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
		"respelled": {func(_ *client, t tokens, _ string) string { return "Bearer " + second(t.Access) }, 401},
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
		"a proof": {func(h *client, _ tokens, _ string) string {
			h.send(request{right: true, raw: requestText("GET", "/page", h.id+"p", h.member("zhangsan"))})
			return "Bearer " + h.env.up.of(h.id + "p")[0].value("X-Dinggate-Assertion")
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
		a := v.ask(request{}, "GET", authorizeFor(appOne, oneCallback, "s"))
		to, _ := url.Parse(a.header.Get("Location"))
		got := h.redeem(to.Query().Get("code"), "s")
		if a, _ := h.api("/page", true, "Authorization: Bearer "+got.Access); a.status != 200 {
			h.failf("before it = %v", a)
		}
		v.ask(request{cleared: true}, "POST", "/oauth2/sign_out", "Sec-Fetch-Site: same-origin", "Content-Length: 0")
		if a, _ := h.api("/page", false, "Authorization: Bearer "+got.Access); a.status != 401 {
			h.failf("after it = %v", a)
		}
	}}, try{"T18 Bearer of one who may not", func(h *client) {
		if a, seen := h.api("/admin/", false,
			"Authorization: Bearer "+h.redeem(h.grant("s"), "s").Access); a.status != 403 || len(seen) > 0 {
			h.failf("got %v", a)
		}
	}})
	return list
}

// proofs: what X-Dinggate-Assertion says, to whom, and that nobody else can say it.
func proofs() (list []try) {
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
		"a forged proof": {"/page", "zhangsan", "https://app.test/",
			[]string{"X-Dinggate-Assertion: " + forged, "X_Dinggate_Assertion: " + forged,
				"x-dinggate.assertion: " + forged, "Connection: X-Dinggate-Assertion"}},
		"a public page": {"/public/x", "zhangsan", "https://app.test/public/", nil},
	} {
		list = append(list, try{"H1 proof: " + name, func(h *client) {
			set, _ := keys(h)
			h.send(request{
				right: true,
				raw:   requestText("GET", c.target, h.id, append(c.lines, h.member(c.person))...),
			})
			seen := h.env.up.of(h.id)
			if len(seen) != 1 || len(seen[0].values("X-Dinggate-Assertion")) != 1 ||
				strings.Contains(seen[0].head, forged) {
				h.failf("the application saw %+v", seen)
				return
			}
			proof, err := jose.ParseSigned(seen[0].value("X-Dinggate-Assertion"), []jose.SignatureAlgorithm{jose.ES256})
			if err != nil {
				h.failf("no proof: %v", err)
				return
			}
			var claims struct {
				Iss, Sub string
				Aud      any
				Iat, Exp int64
			}
			key := set.Key(proof.Signatures[0].Header.KeyID)
			if len(key) != 1 {
				h.failf("its key is not published")
				return
			}
			plain, err := proof.Verify(key[0])
			json.Unmarshal(plain, &claims)
			want := map[string]string{"zhangsan": "alice", "lisi": "bob"}[c.person]
			if err != nil || claims.Sub != want || claims.Iss != "https://app.test" ||
				fmt.Sprint(claims.Aud) != c.audience && fmt.Sprint(claims.Aud) != "["+c.audience+"]" ||
				claims.Exp <= claims.Iat || claims.Exp > claims.Iat+900 {
				h.failf("it says %s (%v), want %s for %s", plain, err, want, c.audience)
			}
			if _, strange := key[0].Key.(*ecdsa.PublicKey); !strange {
				h.failf("the published key is a %T", key[0].Key)
			}
		}})
	}
	list = append(list, try{"L1 proof: no private part is published", func(h *client) {
		if _, text := keys(h); strings.Contains(text, `"d":`) || strings.Contains(text, `"k":`) {
			h.failf("the keys are %s", text)
		}
	}}, try{"H1 proof: none for nobody", func(h *client) {
		h.send(request{right: true, raw: requestText("GET", "/public/x", h.id, "X-Dinggate-Assertion: "+forged)})
		if seen := h.env.up.of(h.id); len(seen) != 1 || len(seen[0].values("X-Dinggate-Assertion")) > 0 {
			h.failf("the application saw %+v", seen)
		}
	}}, try{"F8 proof: a gateway gets it, empty for nobody", func(h *client) {
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
	// A page's script asks with its visitor's cookie, and says what it likes.
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
					try{fmt.Sprintf("W14 %s asks %s with %q", person, endpoint, lines), func(h *client) {
						a := h.send(request{
							right: !strings.HasPrefix(endpoint, "/oauth2/"),
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
