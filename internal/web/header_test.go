package web

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"dinggate/internal/headername"
)

func TestProtectedDrop(t *testing.T) {
	p := NewProtected("X-Forwarded-User", "X-Mail", "Authorization")
	gone := []string{"X-Forwarded-User", "X_Forwarded_User", "x-forwarded.user", "X-FORWARDED-USER", "XForwardedUser",
		"X-Mail", "X_Mail", "x.mail", "Authorization", "X-Forwarded-For", "X-Forwarded-Port", "X-Original-Url",
		"X_Original_Method",
		"X-Auth-Request-Email", "X-Real-Ip", "Forwarded", "Proxy", "Remote-User", "Remote_Groups", "X-Rewrite-Url",
		"True-Client-Ip", "Cf-Connecting-Ip", "X-Http-Method-Override", "X-Client-Cert", "Ssl-Client-S-Dn",
		"X-Forwarded-Client-Cert",
		"Content_length", "Content.Length", "ContentLength", "Transfer_encoding", "_host", "Keep_alive", "Te-"}
	stay := []string{"Content-Length", "Transfer-Encoding", "Host", "Connection", "Upgrade", "Te", "Trailer",
		"Expect", "Content-Encoding", "Cookie", "Accept", "X-Forward", "X-Mailer", "User-Agent", "X-Requested-With",
		"Content-Type", "Sec-Fetch-Mode"}
	h := http.Header{}
	for _, n := range slices.Concat(gone, stay) {
		h[n] = []string{"forged", ""}
	}
	p.Drop(h)
	for _, n := range gone {
		if _, found := h[n]; found {
			t.Errorf("Drop left %q", n)
		}
	}
	for _, n := range stay {
		if _, found := h[n]; !found {
			t.Errorf("Drop took %q", n)
		}
	}
}

// TestProtectedNames: every name that no client may set, in every spelling that some application
// treats as that name (threats H16, H17).
func TestProtectedNames(t *testing.T) {
	p := NewProtected()
	names := slices.Clone(headername.Names)
	for _, prefix := range headername.Prefixes {
		names = append(names, prefix+"-Anything")
	}
	for _, name := range names {
		for _, between := range []string{"-", "_", ".", "~", "--", ""} {
			for _, spelled := range []string{strings.ReplaceAll(name, "-", between),
				strings.Replace(name, "-", between, 1), between + name} {
				if spelled = http.CanonicalHeaderKey(spelled); !p.Has(spelled) {
					t.Errorf("Has(%q) = false, want true: it is %s", spelled, name)
				}
			}
		}
	}
}

func FuzzProtected(f *testing.F) {
	f.Add("X_Forwarded-User")
	f.Add("x.mail")
	f.Add("Content_Length")
	p := NewProtected("X-Mail")
	letters := func(r rune) rune { // the name after a server has folded it; independent of our own Fold
		switch {
		case r >= utf8.RuneSelf:
			return -1
		case unicode.IsUpper(r):
			return unicode.ToLower(r)
		case unicode.IsLetter(r), unicode.IsDigit(r):
			return r
		}
		return -1
	}
	f.Fuzz(func(t *testing.T, name string) {
		h := http.Header{name: {"forged"}}
		p.Drop(h)
		for left := range h {
			if f := strings.Map(letters, left); f == "xmail" || strings.HasPrefix(f, "xforwarded") {
				t.Errorf("Drop left %q, which folds to %q", left, f)
			} else if (f == "contentlength" || f == "transferencoding") && http.CanonicalHeaderKey(left) != left {
				t.Errorf("Drop left %q, a body's end to a server that folds names", left)
			}
		}
	})
}

func TestCookies(t *testing.T) {
	const S = "__Host-dinggate"
	for _, c := range []struct {
		line   string
		values string // joined by |
		rest   string
	}{
		{"a=1; __Host-dinggate=V; b=2", "V", "a=1; b=2"},
		{"__Host-dinggate=V", "V", ""},
		{"a=1;b=2", "", "a=1;b=2"},
		{"a=1; b=\"x; y\" ;c=3", "", "a=1; b=\"x; y\" ;c=3"},
		{"__Host-dinggate=V; __Host-dinggate=W", "V|W", ""},
		{"__host-dinggate=V; a=1", "", "a=1"},
		{"__Host-dinggate =V; a=1", "", "a=1"},
		{"$Version=1, __Host-dinggate=V; a=1", "", "a=1"},
		{"__Host-dinggate_0=V; __Host-dinggate-1=W; a=1", "", "a=1"},
		{`x="a; __Host-dinggate=V"; b=2`, "", "b=2"},
		{"\u00a0__Host-dinggate=V; b=2", "", "b=2"},
		{`__Host-dinggate="V"; b=2`, `"V"`, "b=2"},
		{"dinggate; b=2", "", "b=2"},
		{"site=https://dinggate.example.com/; b=2", "", "site=https://dinggate.example.com/; b=2"},
		{"=__Host-dinggate; ; b=2", "", "=__Host-dinggate; ; b=2"},
		// Cookies of applications, however similar the names.
		{"__Host-dinggate=V; mydinggate=1; dinggate_theme=dark; dinggateway=gw", "V",
			"mydinggate=1; dinggate_theme=dark; dinggateway=gw"},
		{"dinggate-admin=1; Dinggate2=x; dinggate-attempts=3; dinggate-linked=y; dinggate-language=zh", "",
			"dinggate-admin=1; Dinggate2=x; dinggate-attempts=3; dinggate-linked=y; dinggate-language=zh"},
		{"__Host-mydinggate=1; __Host-dinggateway=2; __Secure-dinggate.theme=3; dinggate.theme=4", "",
			"__Host-mydinggate=1; __Host-dinggateway=2; __Secure-dinggate.theme=3; dinggate.theme=4"},
		{`prefs="a; mydinggate=1; b"; c="x dinggateway=2"`, "", `prefs="a; mydinggate=1; b"; c="x dinggateway=2"`},
		{"next=/?dinggate=1&a=2; hint=dinggate; q=a=dinggate=b; mydinggate", "",
			"next=/?dinggate=1&a=2; hint=dinggate; q=a=dinggate=b; mydinggate"},
		{"words=to dinggate and back; __Host-dinggate=V", "V", "words=to dinggate and back"},
		// Our cookies in every spelling that some server reads as ours.
		{"dinggate-attempt-0=x; __Host-dinggate-attempt-5=y; dinggate-link=z; dinggate-lang=zh; a=1", "", "a=1"},
		{"DINGGATE=1; __Secure-Dinggate=2; __Http-dinggate=3; __Host-Http-dinggate=4; __hOST-dinggate-Lang=en; a=1",
			"", "a=1"},
		{"dinggate_0=1; dinggate-1=2; dinggate.2=3; __Host-dinggate-attempt-0_1=4; a=1", "", "a=1"},
		{"dinggate[]=1; dinggate[x]=2; ..Host-dinggate=3; __Host%2ddinggate=4; dinggate%20=7; a=1", "", "a=1"},
		{"\x01dinggate=1; \"dinggate\"=2; \u2000dinggate\u200b=3; \xa0dinggate=4; dinggate\t =5; a=1", "", "a=1"},
		{`a=x, dinggate=1; b=x dinggate=2; c="x;dinggate =3"; =dinggate=4; d="x,	dinggate=5`, "", ""},
	} {
		h := http.Header{"Cookie": {c.line}}
		if got := strings.Join(CookieValues(h, S), "|"); got != c.values {
			t.Errorf("CookieValues(%q) = %q, want %q", c.line, got, c.values)
		}
		StripCookies(h)
		if got := strings.Join(h["Cookie"], "\n"); got != c.rest {
			t.Errorf("StripCookies(%q) = %q, want %q", c.line, got, c.rest)
		}
	}
}

func FuzzStripCookies(f *testing.F) {
	for _, s := range []string{"a=1; __Host-dinggate=V", `x="a; __Host-dinggate=V`, "__Host-dinggate-attempt-1=z; b=",
		";;=;", `a="`, `a="";dinggate=1`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		h := http.Header{"Cookie": {line}}
		StripCookies(h)
		if got := CookieValues(h, "__Host-dinggate"); len(got) > 0 {
			t.Errorf("StripCookies(%q) left %q, which is read as ours", line, h["Cookie"])
		}
		for _, c := range (&http.Request{Header: h}).Cookies() { // as another parser reads it
			if strings.EqualFold(c.Name, "__Host-dinggate") {
				t.Errorf("StripCookies(%q) left %q, which net/http reads as ours", line, h["Cookie"])
			}
		}
		for _, c := range (&http.Request{Header: http.Header{"Cookie": {line}}}).Cookies() {
			if plain := c.Name + "=" + c.Value; plain == line && !ourName(c.Name) &&
				!strings.ContainsAny(line, "\", ") && h.Get("Cookie") != line {
				t.Errorf("StripCookies(%q) = %q: the application's only cookie is changed", line, h["Cookie"])
			}
		}
		if !containsFold(line, cookieBase) && h.Get("Cookie") != line {
			t.Errorf("StripCookies(%q) = %q, want it untouched", line, h.Get("Cookie"))
		}
	})
}

func TestOurCookieName(t *testing.T) {
	for value, want := range map[string]bool{"__Host-dinggate=x; Path=/": true, "dinggate=": true, "DingGate=x": true,
		" dinggate =x": true, "=dinggate=x": true, " \t=__Host-dinggate=x; Path=/": true, "__Host-dinggate": true,
		"=sid": false, "sid=1; dinggate=x": false, "dinggate-attempt-1=": true, "sid=dinggate": false,
		"theme=x; Path=/dinggate": false,
		"mydinggate=1":            false, "dinggate_theme=dark; Path=/": false, "dinggateway=1": false,
		"__Host-dinggateway=1; Secure; Path=/": false, "=mydinggate=1": false, "dinggate-attempts=1": false,
		"__Secure-dinggate=1": true, "dinggate_0=1": true, "dinggate[0]=1": true, "..Host-dinggate=1": true,
		"dinggate-link=1": true, "dinggate-lang=zh": true, "\u00a0dinggate=1": true} {
		if got := OurCookieName(value); got != want {
			t.Errorf("OurCookieName(%q) = %v, want %v", value, got, want)
		}
	}
}
