package hostile

import (
	"fmt"
	"slices"
	"strings"
)

// foreignHosts are hosts that are not configured. An attacker may point such a name at dinggate,
// or send it in a Host header so that it appears in an application's links.
var foreignHosts = []string{
	"evil.test", "EVIL.Test", "evil.test.", "evil.test:80", "evil.test:443", "app.test.evil.test", "xapp.test",
	"app.testx", "test", "app", "localhost", "localhost:443", "app.localhost", "friend.test",
	"127.0.0.1.nip.io", "127.1", "0x7f000001", "2130706433", "127.0.0.1.evil.test", "0.0.0.0", "127.0.0.9",
	"192.0.2.1", "[::1]", "[::]", "169.254.169.254", "wiki.app.test", "xn--app-test.test", "app-test", "_app.test",
}

// addresses are the IP addresses among them. DNS rebinding does not apply to an address. The admin
// listener accepts every address. A trusted proxy that received a request for an address may
// report it.
var addresses = []string{"0.0.0.0", "127.0.0.9", "192.0.2.1", "[::1]", "[::]", "169.254.169.254"}

// rebinding covers W12: requests for such hosts at every listener, sent by any client and reported
// by a trusted proxy.
func rebinding(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{"W12 " + name, do}) }
	for _, host := range foreignHosts {
		for _, target := range []string{"/open", "/public/a", "/page", "/office/x", "/nowhere", "/oauth2/sign_in",
			"/oauth2/start", "/oauth2/callback?state=x", "/oauth2/userinfo", "/oauth2/assets/style.css",
			"/dingtalk/authorize?client_id=app-one"} {
			add(fmt.Sprintf("%s %s", host, target), func(h *client) {
				line := "Host: " + host
				h.misdirected(h.send(request{
					raw:   requestText("GET", target, h.id, line, "Accept: text/html"),
					fresh: true,
				}))
				h.misdirected(h.send(request{raw: requestText("GET", target, h.id, line, "X-Forwarded-Host: app.test",
					h.member("zhangsan"))}))
				if !slices.Contains(addresses, host) {
					h.misdirected(h.send(request{
						from: gateway,
						raw: requestText("GET", target, h.id, "Host: gate.internal", "X-Forwarded-Host: "+host,
							"X-Forwarded-For: 192.0.2.9"),
					}))
				}
				if seen := h.env.up.received(h.id); len(seen) > 0 {
					h.failf("the application got a request: %+v", seen)
				}
			})
		}
		add("a subrequest for "+host, func(h *client) {
			member := h.member("zhangsan")
			for _, lines := range [][]string{
				{"/oauth2/auth", "Host: gate.internal", "X-Original-URL: https://" + host + "/open"},
				{"/oauth2/auth", "Host: gate.internal", "X-Original-URI: /open", "X-Forwarded-Host: " + host},
				{"/oauth2/forward-auth", "Host: gate.internal", "X-Forwarded-Uri: /open", "X-Forwarded-Host: " + host},
				{"/oauth2/forward-auth", "Host: app.test", "X-Forwarded-Uri: /page", "X-Forwarded-Host: " + host,
					"Accept: text/html"},
				{"/oauth2/ext-authz/open", "Host: " + host},
				{"/oauth2/ext-authz/page", "Host: " + host, "Accept: text/html"},
			} {
				for _, cookie := range []string{"X-Anonymous: 1", member} {
					if a := h.send(request{
						from: gateway,
						raw:  requestText("GET", lines[0], h.id, append(lines[1:], cookie)...),
					}); a.status != 403 || len(a.header["X-Auth-Request-User"]) > 0 {
						h.failf("%q: got %v, want 403", lines, a)
					}
				}
			}
			// Reports of untrusted peers are ignored, and the status is never 421.
			for _, endpoint := range []string{"/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz/open"} {
				if a := h.send(request{raw: requestText("GET", endpoint, h.id, "Host: "+host,
					"X-Original-URL: https://app.test/open", "X-Forwarded-Host: app.test", member)}); a.status != 403 {
					h.failf("%s by an untrusted peer: got %v, want 403", endpoint, a)
				}
			}
		})
		if !slices.Contains(addresses, host) && !strings.HasPrefix(host, "localhost") {
			for _, target := range []string{"/metrics", "/status", "/livez", "/ready", "/"} {
				add(fmt.Sprintf("admin %s %s", host, target), func(h *client) {
					a := h.send(request{
						to:        h.env.admin,
						raw:       requestText("GET", target, h.id, "Host: "+host),
						elsewhere: true,
						fresh:     true,
					})
					if a.status != 421 || strings.Contains(a.body, "dinggate_") {
						h.failf("got %v, want 421", a)
					}
				})
			}
		}
	}
	for _, host := range []string{"gate.internal", "dinggate:4180", "10.0.0.1"} {
		add("a gateway under its own name "+host, func(h *client) {
			member := h.member("zhangsan")
			a := h.send(request{from: gateway, raw: requestText("GET", "/open", h.id, "Host: "+host), authorized: true})
			b := h.send(request{
				from: gateway,
				raw: requestText("GET", "/oauth2/auth", h.id, "Host: "+host, "X-Original-URL: https://app.test/page",
					member),
			})
			c := h.send(request{
				from: gateway,
				raw: requestText("GET", "/oauth2/forward-auth", h.id, "Host: "+host,
					"X-Forwarded-Host: APP.test.:443", "X-Forwarded-Proto: https", "X-Forwarded-Uri: /page", member),
			})
			if a.status != 200 || b.status != 200 || c.status != 200 {
				h.failf("got %v, %v, %v; want 200", a, b, c)
			}
		})
	}
	// The address that the request arrived at. Health probes send no other host.
	for _, host := range []string{"127.0.0.1", "127.0.0.1:4180", "[::ffff:127.0.0.1]"} {
		add("a probe of "+host, func(h *client) {
			if a := h.send(request{
				raw:        requestText("GET", "/open", h.id, "Host: "+host),
				authorized: true,
			}); a.status != 200 {
				h.failf("got %v, want 200", a)
			}
			if a := h.send(request{raw: requestText("GET", "/oauth2/auth", h.id, "Host: "+host)}); a.status != 401 {
				h.failf("/oauth2/auth: got %v, want 401", a)
			}
			if a := h.send(request{
				to:        h.env.admin,
				raw:       requestText("GET", "/livez", h.id, "Host: "+host),
				elsewhere: true,
			}); a.status != 200 {
				h.failf("/livez: got %v, want 200", a)
			}
		})
	}
	return list
}

func (h *client) misdirected(a *answer) {
	if a.status != 421 || len(a.header["Set-Cookie"])+len(a.header["Location"]) > 0 {
		h.failf("got %v, want 421 and no more", a)
	}
}
