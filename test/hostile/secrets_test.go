package hostile

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"dinggate/dingtalk/simulator"
)

// secrets covers class L: data that must not be disclosed, and configurations that must not start.
func secrets(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	// L1, L2: the secrets of one sign-in must not appear in any output.
	add("L1 L2 a sign-in leaves no secret in the log", func(h *client) {
		v := h.visitor()
		state, _ := v.begin("/oauth2/start")
		attempt := v.attempt().Value
		code := v.code("zhangsan")
		h.env.budget.Add(callsPerSignIn)
		a := v.do(request{session: true}, "GET", "/oauth2/callback?authCode="+code+"&state="+state)
		grant := h.grant("third-party-state-" + canary[:6])
		got := h.redeem(grant, "third-party-state-"+canary[:6])
		h.userinfo("Authorization: " + got.Access)
		h.send(request{
			raw: requestText("GET", "/page?authCode="+code+"&token="+got.Access, h.id, v.cookie(),
				"Authorization: Bearer "+got.Access),
			authorized: true,
		})
		h.env.logged(a.header.Get("X-Request-Id"))
		time.Sleep(300 * time.Millisecond)
		output := h.env.output()
		for what, secret := range map[string]string{"state": state, "attempt cookie": attempt, "authCode": code,
			"session cookie": v.value(sessionCookie), "code": grant, "access token": got.Access,
			"refresh token": got.Refresh, "Basic": strings.TrimPrefix(authOne, "Authorization: Basic ")} {
			if secret == "" {
				h.failf("no %s to look for", what)
			}
			for form, text := range forms(secret) {
				if strings.Contains(output, text) {
					h.failf("the %s is in the log (%s)", what, form)
				}
			}
		}
	})
	list = append(list, noOutgoingRequests(s))
	for _, path := range []string{"/livez", "/ready", "/metrics", "/debug/pprof/", "/debug/pprof/goroutine?debug=2",
		"/debug/vars", "/oauth2/livez", "/oauth2/ready", "/oauth2/metrics", "/oauth2/ping", "/oauth2/debug/pprof/",
		"/ping", "/status", "/config", "/.env", "/.git/config"} {
		for _, member := range []bool{false, true} {
			add(fmt.Sprintf("L10 %s member %v", path, member), func(h *client) {
				lines := []string{}
				if member {
					lines = []string{h.member("zhangsan")}
				}
				a := h.send(request{raw: requestText("GET", path, h.id, lines...), authorized: member})
				if strings.HasPrefix(path, "/oauth2/") && a.status != 404 || !member && a.status == 200 ||
					strings.Contains(a.body, "go_goroutines") || strings.Contains(a.body, "goroutine ") {
					h.failf("got %v", a)
				}
			})
		}
	}
	for _, claim := range []string{"127.0.0.1", "127.0.0.2", "192.0.2.1", "junk, 192.0.2.1", "192.0.2.1, junk",
		"::ffff:192.0.2.1", "[::ffff:192.0.2.1]:80", "192.0.2.1:80", "0300.0.2.1", "192.0.2.1, 198.51.100.1",
		"198.51.100.1, 192.0.2.1", "192.0.2.1%eth0", "", "192.0.2.1,", ",192.0.2.1", "192.0.2.1 192.0.2.1", "unknown",
		"_hidden", "for=192.0.2.1", "3221225985", "192.0.2.1/24", "192.0.2.1\t", "192.0.2.999",
		"127.0.0.2, 192.0.2.1"} {
		in := map[string]bool{"192.0.2.1": true, "junk, 192.0.2.1": true, "::ffff:192.0.2.1": true,
			"[::ffff:192.0.2.1]:80": true, "192.0.2.1:80": true, "198.51.100.1, 192.0.2.1": true, ",192.0.2.1": true,
			"192.0.2.1\t": true, "127.0.0.2, 192.0.2.1": true}[claim]
		for _, from := range []string{untrusted, gateway} {
			add(fmt.Sprintf("L9 %q from %s", claim, from), func(h *client) { // /office/ is open to 192.0.2.0/24
				a := h.send(request{
					from:       from,
					raw:        requestText("GET", "/office/x", h.id, "X-Forwarded-For: "+claim),
					authorized: in && from == gateway,
				})
				if (a.status == 200) != (in && from == gateway) && !a.bare {
					h.failf("got %v, want it allowed: %v", a, in && from == gateway)
				}
			})
			for _, name := range []string{"X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP",
				"Forwarded"} {
				add(fmt.Sprintf("L9 %s: %q from %s", name, claim, from), func(h *client) {
					if a := h.send(request{
						from: from,
						raw:  requestText("GET", "/office/x", h.id, name+": "+claim),
					}); a.status == 200 {
						h.failf("got %v", a)
					}
				})
			}
		}
	}
	return append(list, mistakes(s)...)
}

// noOutgoingRequests covers L11: dinggate sends no request to an address that it finds in a request or in a
// response of DingTalk.
func noOutgoingRequests(s *env) try {
	return try{"L11 addresses in requests are not requested", func(h *client) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			h.failf("%v", err)
			return
		}
		defer l.Close()
		var requests atomic.Int32
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				requests.Add(1)
				c.Close()
			}
		}()
		address := "http://" + l.Addr().String() + "/x.png"
		escaped := url.QueryEscape(address)
		for _, target := range []string{"/oauth2/start?rd=" + escaped, "/oauth2/sign_in?rd=" + escaped,
			"/oauth2/sign_out?rd=" + escaped, "/dingtalk/authorize?client_id=app-one&redirect_url=" + escaped,
			"/dingtalk/callback?forward_url=" + escaped + "&authCode=x&state=x",
			"/oauth2/callback?authCode=" + escaped + "&state=" + escaped, "/oauth2/start?page=" + escaped,
			"/public/?url=" + escaped, "/page?logo=" + escaped} {
			h.send(request{
				authorized: true,
				raw:        requestText("GET", target, h.id, "Accept: text/html", "Referer: "+address, "Origin: "+address),
			})
		}
		for _, line := range []string{"X-Original-URL: " + address, "X-Forwarded-Host: " + l.Addr().String(),
			"X-Auth-Request-Redirect: " + address, "X-Rewrite-URL: " + address, "Destination: " + address,
			"Host: " + l.Addr().String()} {
			for _, where := range []string{"/page", "/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz/x",
				"/oauth2/start"} {
				h.send(request{from: gateway, raw: requestText("GET", where, h.id, line)})
			}
		}
		h.env.sim.Join(simulator.Person{
			ID:      "l11",
			Account: simulator.Account{Avatar: address},
			Record: simulator.Record{
				UserID:      "l11",
				Name:        "L11",
				OrgEmail:    "l11@" + l.Addr().String(),
				Departments: []int64{42},
			},
		})
		h.visitor().signIn("l11")
		if n := requests.Load(); n > 0 {
			h.failf("%d requests", n)
		}
	}}
}

// mistakes covers L5, L6 and L12: configurations and commands that must be refused. All mistakes
// are reported at once with their positions, and no report contains a secret.
func mistakes(s *env) (list []try) {
	run := func(h *client, args []string, environment ...string) (string, int) {
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), environment...)
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), canary) {
			h.failf("a secret is printed: %s", out)
		}
		if err == nil {
			return string(out), 0
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	good := s.config()
	for name, change := range map[string][2]string{
		"a short secret":            {cookieSecret, "c2hvcnQ="},
		"an example's secret":       {cookieSecret, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
		"an invalid secret":         {cookieSecret, canary + "!!"},
		"no corp_id":                {"  corp_id: ", "  #corp_id: "},
		"no client_secret":          {"  client_secret: ", "  #client_secret: "},
		"no public_url":             {"public_url: https://app.test", "public_url: ''"},
		"a public_url with a path":  {"public_url: https://app.test", "public_url: https://app.test/x?y"},
		"a public_url of no web":    {"public_url: https://app.test", "public_url: javascript:alert(1)"},
		"a file as upstream":        {s.up.url(), "file:///etc/passwd"},
		"an upstream with a user":   {s.up.url(), "http://user:" + canary + "@127.0.0.1:1"},
		"an upstream with a query":  {s.up.url(), "http://127.0.0.1:1/?x"},
		"an unknown key":            {"listen: ", "listne: "},
		"a doubled key":             {"listen: 127.0.0.1:0", "listen: 127.0.0.1:0\nlisten: 127.0.0.1:0"},
		"a list for a text":         {"listen: 127.0.0.1:0", "listen: [a, b]"},
		"a number as duration":      {"recheck: 1h", "recheck: 60"},
		"a negative duration":       {"recheck: 1h", "recheck: -1h"},
		"a name in trusted_proxies": {gateway + "/32", "gateway.internal"},
		"a junk trusted_proxies":    {gateway + "/32", "127.0.0.1/99"},
		"a template in a route":     {"path: /open,", "path: \"/{x}\", methods: [get],"},
		"a dot segment in a route":  {"path: /open,", "path: /a/../b,"},
		"an unknown access":         {"path: /open, access: public", "path: /open, access: pubilc"},
		"a star for a whole suffix": {"host: app.test,", "host: \"*.test\","},
		"an invalid prefix":         {"listen: ", "prefix: /\nlisten: "},
		"an invalid redirect":       {"https://friend.test", "javascript:alert(1)"},
		"a redirect with a path":    {"https://friend.test", "https://friend.test/path"},
		"two clients of one id":     {"client_id: app-two", "client_id: app-one"},
		"a callback of no web":      {twoCallback, "javascript:alert(1)"},
		"a callback with fragment":  {twoCallback, twoCallback + "#x"},
		"same_site none on a typo":  {"cookie: {", "cookie: {same_site: nnoe, "},
		"no YAML":                   {"listen: ", "\tlisten: [}"},
		"a cookie domain elsewhere": {"cookie: {", "cookie: {domain: evil.test, "},
	} {
		list = append(list, try{"L6 " + name, func(h *client) {
			text := strings.Replace(good, change[0], change[1], 1)
			if text == good {
				h.failf("nothing changed")
				return
			}
			dir, err := os.MkdirTemp("", "hostile-config")
			if err != nil {
				h.failf("%v", err)
				return
			}
			defer os.RemoveAll(dir)
			file := filepath.Join(dir, "config.yaml")
			os.WriteFile(file, []byte(text), 0o600)
			for _, command := range []string{"check", "serve"} {
				out, code := run(h, []string{command, "--config", file})
				if code == 0 ||
					!strings.Contains(out, "config.yaml:") && name != "no corp_id" && name != "no client_secret" &&
						name != "no public_url" {
					h.failf("%s exits %d and prints %.300s", command, code, out)
				}
				if strings.Contains(out, "panic") || strings.Contains(out, "goroutine") {
					h.failf("%s prints %.300s", command, out)
				}
			}
		}})
	}
	for name, args := range map[string][]string{
		"a secret as a flag":        {"serve", "--dingtalk.client_secret", canary + "-on-the-command-line"},
		"a cookie secret as a flag": {"check", "--cookie.secrets", cookieSecret},
		"the demo on all addresses": {"demo", "--listen", "0.0.0.0:0"},
		"the demo on another host":  {"demo", "--listen", "example.com:0"},
		"an unknown command":        {"sevre"},
		"an unknown flag":           {"serve", "--lsiten", "x"},
		"no configuration":          {"serve", "--config", "/nonexistent"},
	} {
		list = append(list, try{"L5 L12 " + name, func(h *client) {
			if out, code := run(h, args, "DINGGATE_PUBLIC_URL=", "HOME=/nonexistent"); code == 0 ||
				strings.Contains(out, "panic") {
				h.failf("exits %d and prints %.300s", code, out)
			}
		}})
	}
	for _, name := range []string{"DINGGATE_LSITEN", "DINGGATE_DINGTALK_SECRET", "DINGGATE_COOKIE_SECRET",
		"DINGGATE_TRUSTED_PROXY"} {
		list = append(list, try{"L6 " + name, func(h *client) {
			if out, code := run(h, []string{"check"}, name+"=x"); code == 0 || !strings.Contains(out, name) {
				h.failf("exits %d and prints %.300s", code, out)
			}
		}})
	}
	return list
}
