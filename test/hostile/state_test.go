package hostile

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/keyring"
)

// productKeyring seals and opens as the program under test does. It makes inputs that require the
// program's keys.
func productKeyring() *keyring.Keyring {
	k, err := keyring.New([]conf.Secret{conf.NewSecret(cookieSecret)})
	if err != nil {
		panic(err)
	}
	return k
}

// attempt returns the visitor's newest attempt cookie.
func (v *visitor) attempt() *http.Cookie {
	for i := len(v.jar) - 1; i >= 0; i-- {
		if strings.HasPrefix(v.jar[i].Name, attemptCookie) {
			return v.jar[i]
		}
	}
	v.h.failf("no attempt began")
	return &http.Cookie{Name: attemptCookie + "0"}
}

// callback tries to complete a sign-in in a browser with only this attempt cookie. It must fail
// without a call to DingTalk (O10).
func (h *client) callback(query, name, value string, want ...int) *answer {
	v := h.visitor()
	lines := []string{}
	if name != "" {
		lines = []string{"Cookie: " + name + "=" + value}
	}
	a := v.do(request{}, "GET", "/oauth2/callback?"+query, lines...)
	if want == nil {
		want = []int{403}
	}
	for _, status := range want {
		if a.status == status || a.bare {
			return a
		}
	}
	h.failf("callback?%.200s with %.60s = %v, want %d", query, value, a, want)
	return a
}

// signInState covers class S: a sign-in is completed once, in the browser that began it.
func signInState(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	// One attempt serves all tries that must not use it up. The last of them proves that none did.
	var once sync.Once
	var state, value, name, code string
	begin := func(h *client) {
		once.Do(func() {
			v := h.visitor()
			state, _ = v.begin("/oauth2/start?rd=%2Fafter")
			c := v.attempt()
			name, value, code = c.Name, c.Value, v.code("zhangsan")
		})
	}
	const b64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range 43 { // S6: a state of 43 characters, each one changed
		for _, step := range []int{1, 16, 32} {
			add(fmt.Sprintf("S6 state at %d by %d", i, step), func(h *client) {
				begin(h)
				at := strings.IndexByte(b64, state[i])
				h.callback("authCode="+code+"&state="+state[:i]+string(b64[(at+step)%64])+state[i+1:], name, value)
			})
		}
	}
	for i := range 160 {
		add(fmt.Sprintf("S6 cookie at %d", i), func(h *client) {
			begin(h)
			at := i * len(value) / 160
			flipped := []byte(value)
			flipped[at] = b64[(strings.IndexByte(b64, flipped[at])+1+i%3)%64]
			h.callback("authCode="+code+"&state="+state, name, string(flipped))
		})
	}
	for i := range 40 {
		add(fmt.Sprintf("S6 cookie cut at %d", i), func(h *client) {
			begin(h)
			h.callback("authCode="+code+"&state="+state, name, value[:i*len(value)/40])
		})
	}
	for label, spell := range map[string]func(string) string{
		"padded": func(s string) string { return s + "=" }, "padded twice": func(s string) string { return s + "==" },
		"plus":            func(s string) string { return strings.NewReplacer("-", "+", "_", "/").Replace(s) + "+" },
		"second spelling": respelled,
		"upper":           strings.ToUpper, "doubled": func(s string) string { return s + s },
		"cut":        func(s string) string { return s[:42] },
		"line break": func(s string) string { return s[:20] + "%0A" + s[20:] },
		"blank":      func(s string) string { return s + "%20" }, "NUL": func(s string) string { return s + "%00" },
		"array": func(s string) string { return s + "," + s }, "empty": func(string) string { return "" },
		"other": func(string) string { return strings.Repeat("A", 43) },
	} {
		add("S6 state "+label, func(h *client) {
			begin(h)
			h.callback("authCode="+code+"&state="+spell(state), name, value, 403, 400)
		})
		add("S6 cookie "+label, func(h *client) {
			begin(h)
			if label != "second spelling" { // the cookie's last character may have no spare bits
				h.callback("authCode="+code+"&state="+state, name,
					strings.NewReplacer("%0A", "", "%20", "x", "%00",
						"x").Replace(spell(value[:min(42, len(value))]))+value[min(42, len(value)):]+"x")
			}
		})
	}
	for _, query := range []string{"", "authCode=CODE", "state=STATE", "state[]=STATE&authCode=CODE",
		"authCode=CODE&state=STATE&state=STATE", "authCode=CODE&state=STATE&state=x",
		"authCode=CODE&state=x&state=STATE", "authCode=CODE&authCode=CODE&state=STATE",
		"authCode=CODE&code=other&state=STATE", "code=other&authCode=CODE&state=STATE", "authCode=CODE&STATE=STATE",
		"authCode=CODE;state=STATE", "authCode=CODE&state=%zz", "authCode=%zz&state=STATE", "authCode=&state=STATE",
		"code=&state=STATE", "authCode=a%20b&state=STATE", "authCode=a%0d%0ab&state=STATE",
		"authCode=" + strings.Repeat("c", 1025) + "&state=STATE", "state=STATE&authCode=%E5%BC%A0",
		"authCode=CODE&state=" + strings.Repeat("s", 50_000), "authCode=CODE&state=" + strings.Repeat("s", 1<<20),
		"?authCode=CODE&state=STATE", "authCode=CODE#&state=STATE", "authCode[]=CODE&state=STATE",
		"authCode=CODE&state=null", "authCode=CODE&state=undefined"} {
		add(fmt.Sprintf("S7 %.60q", query), func(h *client) {
			begin(h)
			h.callback(strings.NewReplacer("CODE", code, "STATE", state).Replace(query), name, value, 400, 403, 431,
				414, 0)
		})
	}
	// S11
	for _, from := range []string{"", "access_denied", "<script>alert(1)</script>", "\"><svg onload=1>",
		"server_error", strings.Repeat("e", 3000)} {
		add(fmt.Sprintf("S11 %.20q without a state", from), func(h *client) {
			a := h.callback("error="+url.QueryEscape(from)+"&error_description=%3Cscript%3Ealert(2)%3C/script%3E", "",
				"", 400, 403)
			if strings.Contains(a.body, "alert(") || strings.Contains(a.body, "<svg onload") {
				h.failf("a client's text is on the page: %v", a)
			}
		})
		add(fmt.Sprintf("S11 %.20q with a state", from), func(h *client) {
			v := h.visitor()
			state, _ := v.begin("/oauth2/start")
			a := v.do(request{}, "GET", "/oauth2/callback?error="+url.QueryEscape(from)+"&state="+state)
			if a.status != 403 || strings.Contains(a.body, "alert(") || strings.Contains(a.body, "<svg onload") {
				h.failf("got %v", a)
			}
		})
	}
	for _, method := range []string{"HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "get"} { // S13
		add("S13 "+method, func(h *client) {
			begin(h)
			a := h.send(request{
				method: method,
				raw: requestText(method, "/oauth2/callback?authCode="+code+"&state="+state, h.id,
					"Cookie: "+name+"="+value),
			})
			if a.status != 405 {
				h.failf("got %v, want 405", a)
			}
		})
	}
	for _, line := range []string{"Sec-Purpose: prefetch", "Sec-Purpose: prefetch;prerender", "Purpose: prefetch"} {
		add("S13 "+line, func(h *client) {
			begin(h)
			v := h.visitor()
			if a := v.do(request{}, "GET", "/oauth2/callback?authCode="+code+"&state="+state,
				"Cookie: "+name+"="+value, line); a.status == 302 || a.header["Set-Cookie"] != nil {
				h.failf("a prefetch used up the attempt: %v", a)
			}
		})
	}
	// S10: a page of another origin does not evict attempts in progress.
	for _, where := range []string{"/oauth2/start", authorizeFor(appOne, oneCallback, "s"), "/page"} {
		for _, lines := range [][]string{{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors",
			"Sec-Fetch-Dest: image"},
			{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors", "Origin: https://sibling.test"},
			{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Accept: text/html"},
			{"Origin: https://evil.test", "Accept: application/json"},
			{"Referer: https://evil.test/", "Accept: application/json"}, {"Accept: image/avif,image/webp,*/*;q=0.8"},
			{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe", "Accept: text/html"},
			{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe",
				"Accept: text/html"},
			{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: object", "Accept: text/html"},
			{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: embed"},
			{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: frame"},
			{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image",
				"Accept: image/avif,*/*;q=0.8"},
			{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"},
			{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Dest: iframe"}} {
			add(fmt.Sprintf("S10 %.20s by %.90q", where, lines), func(h *client) {
				v := h.visitor()
				v.begin("/oauth2/start")
				if a := v.do(request{}, "GET", where, append(lines, "X-Requested-With: x")...); a.status != 403 &&
					a.status != 401 || a.header["Set-Cookie"] != nil {
					h.failf("got %v", a)
				}
			})
		}
	}
	for _, host := range []string{"evil.test", "friend.test", "app.test.evil.test", "www.app.test"} { // S17, W12
		add("S17 "+host, func(h *client) {
			begin(h)
			v := h.visitor()
			if a := v.do(request{}, "GET", "/oauth2/callback?authCode="+code+"&state="+state,
				"Cookie: "+name+"="+value, "Host: "+host); a.status != 421 {
				h.failf("completed on another host: %v", a)
			}
		})
	}
	return append(append(list, signInSequences()...),
		sealedByUs(func(h *client) (string, string) { begin(h); return name, value })...)
}

// respelled returns the alternative encoding of the last character of 32 bytes in base64url.
func respelled(s string) string {
	if s == "" {
		return "x"
	}
	const b64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return s[:len(s)-1] + string(b64[strings.IndexByte(b64, s[len(s)-1])^1])
}

// sealedByUs covers S5 and S8: texts that carry a valid seal and are not an attempt for this app,
// time and slot.
func sealedByUs(attempt func(h *client) (name, value string)) (list []try) {
	const purpose = "login attempt"
	for label, change := range map[string]func(plain []byte) []byte{
		"ten minutes old": func(b []byte) []byte { return issued(b, -10*time.Minute) },
		"an hour old":     func(b []byte) []byte { return issued(b, -time.Hour) },
		"from the future": func(b []byte) []byte { return issued(b, 10*time.Minute) },
		"another app's": func(b []byte) []byte {
			return []byte(strings.Replace(string(b), clientID, "dingother"+clientID[9:], 1))
		},
		"another host's": func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "app.test", "bpp.test", 1))
		},
		"another version's":      func(b []byte) []byte { b[0]++; return b },
		"an old version's":       func(b []byte) []byte { b[0] = 0; return b },
		"cut":                    func(b []byte) []byte { return b[:len(b)-1] },
		"longer":                 func(b []byte) []byte { return append(b, 0) },
		"with one of our states": func(b []byte) []byte { copy(b[1:33], make([]byte, 32)); return b },
	} {
		list = append(list, try{"S5 S8 " + label, func(h *client) {
			name, value := attempt(h)
			plain, _, err := productKeyring().Open(purpose, name, value)
			if err != nil {
				h.failf("opening our own attempt: %v", err)
				return
			}
			text, err := productKeyring().Seal(purpose, name, change(plain))
			if err != nil {
				h.failf("%v", err)
				return
			}
			v := h.visitor()
			state, _ := v.begin("/oauth2/start")
			if label == "with one of our states" {
				state = strings.Repeat("A", 42) + "B"
			}
			h.callback("authCode="+v.code("zhangsan")+"&state="+state, name, text)
		}})
	}
	list = append(list, try{"S8 a session as an attempt", func(h *client) {
		_, session, _ := strings.Cut(h.member("zhangsan"), sessionCookie+"=")
		for slot := range 5 {
			h.callback("authCode=x&state="+strings.Repeat("A", 43), attemptCookie+fmt.Sprint(slot), session)
		}
	}}, try{"S8 an attempt as a session", func(h *client) {
		_, value := attempt(h)
		if a := h.send(request{raw: requestText("GET", "/page", h.id,
			"Cookie: "+sessionCookie+"="+value)}); a.status != 401 {
			h.failf("got %v", a)
		}
	}}, try{"S8 an attempt in another slot", func(h *client) {
		v := h.visitor()
		state, _ := v.begin("/oauth2/start")
		c := v.attempt()
		for slot := range 5 {
			if other := attemptCookie + fmt.Sprint(slot); other != c.Name {
				h.callback("authCode="+v.code("zhangsan")+"&state="+state, other, c.Value)
			}
		}
	}})
	for _, purpose := range []string{"session", "login", "binding", "sso attempt", "link", ""} {
		list = append(list, try{"S8 sealed for " + purpose, func(h *client) {
			name, value := attempt(h)
			plain, _, err := productKeyring().Open("login attempt", name, value)
			if err != nil {
				h.failf("%v", err)
				return
			}
			if text, err := productKeyring().Seal(purpose, name, plain); err == nil {
				h.callback("authCode=x&state="+strings.Repeat("A", 43), name, text)
			}
		}})
	}
	return list
}

// issued changes the time at which an attempt was sealed.
func issued(plain []byte, by time.Duration) []byte { return stamped(plain, 33, by) }

func stamped(plain []byte, at int, by time.Duration) []byte {
	binary.BigEndian.PutUint64(plain[at:], uint64(time.Now().Add(by).UnixMilli()))
	return plain
}
