package hostile

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// redirects covers class R: the addresses that a browser may be redirected to. Each target is
// passed in every way in which dinggate accepts one, and is followed to the last Location.
func redirects(s *env) []try {
	var list []try
	add := func(name, target, want string, do func(h *client, target, want string)) {
		list = append(list, try{fmt.Sprintf("%s %.120q", name, target), func(h *client) { do(h, target, want) }})
	}
	for _, target := range hostileTargets() {
		signedIn, signedOut := "/", "/oauth2/sign_out"
		// Some targets are on our site for every parser once their bytes are encoded, or in one of
		// the encodings that are used below. Only the invariants are checked for them.
		after, absolute := strings.CutPrefix(target, "https://app.test")
		if len(target) > 1 && target[0] == '/' && target[1] >= 0x80 ||
			absolute && strings.ContainsAny(after[:1], "/?#%") {
			signedIn, signedOut = "", ""
		}
		add("start", target, signedIn, startEscaped)
		add("start raw", target, signedIn, startRaw)
		add("sign-out", target, signedOut, signOut)
		add("sign-in page", target, signedIn, signInPage)
		add("gateway's header", target, signedIn, redirectHeader)
		add("as the target", target, "", asTarget)
	}
	for target, want := range ownTargets {
		add("start", target, want, startEscaped)
		add("gateway's header", target, want, redirectHeader)
		add("sign-in page", target, want, signInPage)
	}
	for _, target := range corpus() {
		add("sign-in page", target, "", signInPage)
		add("sign-out", target, "", signOut)
	}
	return append(list, claims()...)
}

// startEscaped runs an entire sign-in with the target encoded as a form encodes it.
func startEscaped(h *client, target, want string) {
	follow(h, "/oauth2/start?rd="+strings.ReplaceAll(url.QueryEscape(target), "+", "%20"), want)
}

// startRaw runs it with the target as nginx writes it, without escaping.
func startRaw(h *client, target, want string) {
	if strings.ContainsAny(target, " \r\n") { // would end the request line
		target, want = strings.NewReplacer(" ", "%20", "\r", "%0d", "\n", "%0a").Replace(target), ""
	}
	follow(h, "/oauth2/start?rd="+target, want)
}

// redirectHeader runs it with the target in the header that a trusted gateway may set.
func redirectHeader(h *client, target, want string) {
	v := h.visitor()
	v.from = gateway
	if strings.ContainsAny(target, "\r\n") {
		return // would be another header: class M
	}
	followFrom(v, "/oauth2/start", want,
		"X-Forwarded-For: 10.9."+fmt.Sprint(h.env.seq.Add(1)%250, ".", h.env.seq.Add(1)%250),
		"X-Auth-Request-Redirect: "+target)
}

func follow(h *client, target, want string) { followFrom(h.visitor(), target, want) }

// followFrom starts a sign-in, completes it and checks the final Location.
func followFrom(v *visitor, target, want string, headers ...string) {
	state, a := v.begin(target, headers...)
	if state == "" {
		if a.status < 400 || a.status >= 500 {
			v.h.failf("no sign-in began, and it is no refusal: %v", a)
		} else if want != "/" && want != "" {
			v.h.failf("start = %v, want a sign-in for %q", a, want)
		}
		return
	}
	from := v.from
	if len(headers) > 0 {
		v.from = v.h.env.newAddress()
	}
	a = v.finish("zhangsan", state)
	v.from = from
	if a.status != http.StatusFound || want != "" && a.header.Get("Location") != want {
		v.h.failf("the sign-in ended with %v, want %q", a, want)
	}
}

func signOut(h *client, target, want string) {
	where := "/oauth2/sign_out?rd=" + strings.ReplaceAll(url.QueryEscape(target), "+", "%20")
	h.send(request{raw: requestText("GET", where, h.id, "Accept: text/html"), cleared: true})
	a := h.send(request{
		method:  "POST",
		raw:     requestText("POST", where, h.id, "Sec-Fetch-Site: same-origin", "Origin: null", "Content-Length: 0"),
		cleared: true,
	})
	if want != "" && a.status == http.StatusSeeOther && a.header.Get("Location") != want {
		h.failf("signed out to %q, want %q", a.header.Get("Location"), want)
	}
}

// signInPage checks the link on the sign-in page.
func signInPage(h *client, target, want string) {
	a := h.get("/oauth2/sign_in?rd=" + strings.ReplaceAll(url.QueryEscape(target), "+", "%20"))
	if a.status == 400 || a.status == 431 || want == "" {
		return
	}
	for _, link := range links(a) {
		if _, rd, ok := strings.Cut(link, "/oauth2/start?rd="); ok {
			if got, _ := url.QueryUnescape(rd); escape(got) != want {
				h.failf("the page links to %q, want %q", got, want)
			}
			return
		}
	}
	h.failf("a page without a sign-in link: %v", a)
}

// escape percent-encodes the bytes above ASCII, as a Location carries them.
func escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] < 0x80 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

// asTarget requests the target itself as a page. It covers R13: no redirect may "repair" the
// target.
func asTarget(h *client, target, _ string) {
	if strings.ContainsAny(target, " \r\n") {
		return
	}
	a := h.get(target)
	if a.status >= 300 && a.status < 400 && !strings.HasPrefix(a.header.Get("Location"), h.env.simURL) &&
		!strings.HasPrefix(a.header.Get("Location"), "https://app.test/oauth2/") {
		h.failf("redirected to %q", a.header.Get("Location"))
	}
}

// claims covers R9, R11 and R17: duplicate parameters, headers that must be ignored, and a sign-in
// that was begun elsewhere.
func claims() (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for _, query := range []string{"rd=%2Fa&rd=%2F%2Fevil.test", "rd=%2F%2Fevil.test&rd=%2Fa", "RD=%2F%2Fevil.test",
		"Rd=https://evil.test/", "rd[]=//evil.test", "rd=%2Fa;rd=//evil.test", "rd%5B%5D=//evil.test",
		"%72d=//evil.test", "redirect=https://evil.test", "next=//evil.test", "url=//evil.test", "rd", "rd=",
		"&&rd=//evil.test&", "rd=%2Fa%26rd=//evil.test"} {
		add("R9 "+query, func(h *client) {
			v := h.visitor()
			state, a := v.begin("/oauth2/start?" + query)
			if state == "" && a.status != 400 {
				h.failf("start = %v", a)
			}
			if state != "" {
				v.finish("zhangsan", state)
			}
		})
	}
	for _, name := range []string{"X-Auth-Request-Redirect", "X-Forwarded-Uri", "X-Forwarded-Host",
		"X-Forwarded-Prefix", "X-Forwarded-Proto", "X-Forwarded-Server", "X-Original-URL", "X-Rewrite-URL", "X-Host",
		"Forwarded", "Referer", "X-Forwarded-Port", "X-Original-Host", "Origin"} {
		for _, value := range []string{"evil.test", "//evil.test/", "https://evil.test/x", "/\\evil.test",
			"host=evil.test;proto=http"} {
			for _, where := range []string{"/oauth2/start", "/page", "/oauth2/sign_in", "/oauth2/sign_out"} {
				add("R11 "+name+" "+value+" at "+where, func(h *client) {
					v := h.visitor()
					a := v.do(request{}, "GET", where, name+": "+value)
					to, _ := url.Parse(a.header.Get("Location"))
					if a.status == 302 && to != nil && to.Query().Get("state") != "" {
						want := "/"
						if where == "/page" {
							want = where
						}
						if a = v.finish("zhangsan", to.Query().Get("state")); a.header.Get("Location") != want {
							h.failf("ended at %q, want %q", a.header.Get("Location"), want)
						}
					}
					if strings.Contains(a.body, "evil.test") {
						h.failf("the page contains evil.test: %v", a)
					}
				})
			}
		}
	}
	for _, host := range []string{"evil.test", "app.test.evil.test", "other.test", "APP.TEST", "app.test:443",
		"app.test.", "app.test:8443", "127.0.0.1"} {
		for _, where := range []string{"/oauth2/start", "/page", "/oauth2/sign_in", "/oauth2/sign_out",
			"/oauth2/userinfo"} {
			add("R11 Host "+host+" at "+where, func(h *client) {
				if a := h.get(where, "Host: "+host); strings.Contains(a.body+headLine(a.header), "evil.test") {
					h.failf("our response contains the client's host: %v", a)
				}
			})
		}
	}
	for _, query := range []string{"", "&rd=//evil.test", "&forward_url=https://evil.test/",
		"&redirect_uri=https://evil.test/", "&state=other"} {
		add("R17 "+query, func(h *client) {
			v := h.visitor()
			if a := v.do(request{}, "GET",
				"/oauth2/callback?authCode="+v.code("zhangsan")+"&state="+strings.Repeat("A", 43)+
					query); a.status != 403 && a.status != 400 {
				h.failf("a sign-in that was begun elsewhere = %v, want 403", a)
			}
		})
	}
	return list
}
