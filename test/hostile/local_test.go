package hostile

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"

	"golang.org/x/crypto/bcrypt"
)

// Local accounts of that env. alice and bob are bound to zhangsan and lisi,
// dora is nobody's, every one has a password of their own.
var localNames = []string{"alice", "bob", "carol", "dora", "erin", "frank", "grace", "heidi", "ivan", "管理员"}

func password(name string) string { return canary + "-" + name + "-Passw0rd" }

// openLocal starts the env with local accounts, which every DingTalk person has
// to be bound to, the login callback, API clients' credentials and proofs.
func openLocal(t *testing.T) *env {
	dir := t.TempDir()
	var accounts strings.Builder
	for _, name := range localNames {
		hash, err := bcrypt.GenerateFromPassword([]byte(password(name)), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&accounts, "%s:%s\n", name, hash)
	}
	file := filepath.Join(dir, "accounts")
	write(t, file, accounts.String())
	s := openWith(t, func(text string) string {
		return strings.Replace(text, "{users: [lisi]}", "{users: [bob]}", 1) +
			fmt.Sprintf(
				"accounts: {htpasswd_file: %q, binding: required}\napi_tokens: true\napi_token_clients: "+
					"[app-one]\nlogin_api: true\nassertion: {enabled: true}\nstate_dir: %q\n", file, dir,
			)
	})
	// dear hashes would make the suite slow
	s.t, s.excused = t, []string{"which is soon guessed", "The configuration has no mistakes, but"}
	csv := "unionid,username\n"
	for person, account := range map[string]string{"zhangsan": "alice", "lisi": "bob"} {
		csv += s.unionID(person) + "," + account + "\n"
	}
	write(t, filepath.Join(dir, "bindings.csv"), csv)
	if out, err := s.bindings("import", filepath.Join(dir, "bindings.csv")); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return s
}

func (s *env) unionID(person string) string {
	r, err := http.Get(s.simURL + "/_simulator/people")
	if err != nil {
		panic(err)
	}
	defer r.Body.Close()
	var people []simulator.Person
	json.NewDecoder(r.Body).Decode(&people)
	for _, p := range people {
		if p.ID == person {
			return p.UnionID
		}
	}
	panic("nobody is called " + person)
}

// bindings runs `dinggate bindings` beside the process that serves.
func (s *env) bindings(args ...string) (string, error) {
	return s.bindingsOf(s.process, args...)
}

// bindingsOf does so beside another process.
func (s *env) bindingsOf(p *process, args ...string) (string, error) {
	cmd := exec.Command(program, append(append([]string{"bindings"}, args...), "--config", p.file)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// local is T27–T29, the form, and what replaces a cookie.
func local(s *env) []try {
	return slices.Concat(loginCallback(s), bindPurposes(s), bindings33(s), links29(s), forms29(), forms13(), basics(),
		bearers(), strangersTokens(), unjudged(), proofs())
}

type envelope struct {
	Success *bool   `json:"success"`
	Code    *int    `json:"code"`
	Message *string `json:"message"`
	Data    any     `json:"data"`
}

// loginAPI calls the login callback; the answer is always the envelope.
func (v *visitor) loginAPI(query string, lines ...string) (e envelope, a *answer) {
	a = v.ask(request{failing: true, session: true, cleared: true}, "GET", "/dingtalk/login/callback?"+query, lines...)
	v.h.enveloped(a, &e)
	return e, a
}

func (h *client) enveloped(a *answer, e *envelope) {
	if a.bare || a.status == 0 {
		return
	}
	var keys map[string]any
	if json.Unmarshal([]byte(a.body), &keys) != nil || json.Unmarshal([]byte(a.body), e) != nil || len(keys) != 4 ||
		e.Success == nil || e.Code == nil || e.Message == nil {
		h.failf("no envelope: %v", a)
		*e = envelope{Success: new(bool), Code: new(int), Message: new(string)}
		return
	}
	fits := a.status == 200 && slices.Contains([]int{200, 201, 221, 500}, *e.Code) || a.status == 500 && *e.Code == 500
	if !fits || *e.Success != (*e.Code == 200) || *e.Message == "" ||
		a.header.Get("Content-Type") != "application/json" {
		h.failf("the envelope does not agree with itself: %v", a)
	}
	for _, inside := range []string{"login:", "goroutine", "127.0.0.1", "dial", "json:", "http", "sql", "bolt"} {
		if strings.Contains(*e.Message, inside) {
			h.failf("the message tells of the inside: %q", *e.Message)
		}
	}
}

// begun is a fresh attempt for the login callback.
func (v *visitor) begun(query string) (state string) {
	a := v.ask(request{}, "GET", "/oauth2/start?"+query, "Accept: application/json", "Sec-Fetch-Mode: cors")
	var e struct{ State string }
	if json.Unmarshal([]byte(a.body), &e); e.State == "" {
		v.h.failf("no attempt began: %v", a)
	}
	return e.State
}

// account signs in with a name and its password.
func (v *visitor) account(name string) *visitor {
	if a := v.form("", name, password(name)); a.status != 303 || v.value(sessionCookie) == "" {
		v.h.failf("%s did not get in: %v", name, a)
	}
	return v
}

// form posts the sign-in form; query is what stands behind its address.
func (v *visitor) form(query, name, secret string, lines ...string) *answer {
	body := url.Values{"username": {name}, "password": {secret}}.Encode()
	return v.post(query, body,
		append([]string{"Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin"}, lines...)...)
}

func (v *visitor) post(query, body string, lines ...string) *answer {
	return v.postTo("/oauth2/sign_in"+query, body, lines...)
}

func (v *visitor) postTo(target, body string, lines ...string) *answer {
	if c := v.cookie(); c != "" {
		lines = append(lines, c)
	}
	a := v.h.send(request{from: v.from, method: "POST", session: true, cleared: true, slow: true,
		raw: requestText("POST", target, v.h.id,
			append(lines, fmt.Sprintf("Content-Length: %d", len(body)), "Accept: text/html")...) + body})
	v.keep(a)
	return a
}

// loginCallback is T27.
func loginCallback(s *env) (list []try) {
	for _, query := range []string{"", "code=CODE", "state=STATE", "code=&state=STATE", "code=CODE&state=",
		"code=CODE&code=CODE&state=STATE", "code=CODE&state=STATE&state=STATE", "code=a&authCode=b&state=STATE",
		"code[]=CODE&state=STATE", "code=CODE;state=STATE", "CODE=CODE&STATE=STATE", "code=%zz&state=STATE",
		"code=a%20b&state=STATE", "code=a%00b&state=STATE", "code=%0d%0aSet-Cookie:x&state=STATE",
		"code=CODE&state=STATE%00", "code=CODE&state=STATE%20", "code=CODE&state=STATE=", "code=CODE&state=x",
		"code=CODE&state=null", "code=CODE&state=" + strings.Repeat("s", 5000),
		"code=" + strings.Repeat("c", 1025) + "&state=STATE", "code=CODE&state=<script>alert(1)</script>",
		"error=access_denied", "error=<script>&code=CODE&state=x", "{\"code\":\"CODE\"}",
		"code=CODE&state=\",\"success\":true,\"x\":\""} {
		for _, begun := range []bool{false, true} {
			list = append(list, try{fmt.Sprintf("T27 %.60q begun %v", query, begun), func(h *client) {
				v := h.visitor()
				state := strings.Repeat("A", 43)
				if begun {
					state = v.begun("rd=%2F")
				}
				if e, _ := v.loginAPI(strings.NewReplacer("CODE", v.code("zhangsan"), "STATE",
					state).Replace(query)); *e.Success && (!begun || query != "code=CODE&state=STATE") ||
					v.value(sessionCookie) != "" {
					h.failf("it worked")
				}
			}})
		}
	}
	for kind, code := range map[string]int{ // what type asks for; 200 signs in
		"": 200, "2": 200, "-1": 200, "00": 200, "-0": 200, "99999999999999999999": 200, "+1": 201, "01": 201,
		"1 ": 221, "0x1": 221, "1.0": 221, "１": 221, "true": 221, "null": 221, "1,0": 221, "0&type=0": 221,
		"0&type=1": 221, "1&type=0": 221, "1\x00": 221, "0'": 221, "a": 221, "%zz": 221, "0 ": 221, "\t0": 221,
		"+": 221, "-": 221, "--1": 221, "−1": 221, "1\n": 221, "1e0": 221, "1;0": 221, "[1]": 221,
	} {
		list = append(list, try{fmt.Sprintf("T27 type %q", kind), func(h *client) {
			v := h.visitor()
			state := v.begun("rd=%2F")
			if code == 200 {
				h.env.budget.Add(callsPerSignIn)
			}
			target := "code=" + v.code("zhangsan") + "&state=" + state + "&type=" +
				strings.NewReplacer(" ", "%20", "\t", "%09", "\n", "%0a", "\x00", "%00", "+", "%2B").Replace(kind)
			if e, a := v.loginAPI(target); *e.Code != code || (v.value(sessionCookie) != "") != (code == 200) {
				h.failf("got %v, want the code %d", a, code)
			}
		}})
	}
	for name, lines := range map[string][]string{
		"cross-site": {"Sec-Fetch-Site: cross-site"}, "same-site": {"Sec-Fetch-Site: same-site"},
		"a foreign Origin": {"Origin: https://evil.test"}, "Origin null": {"Origin: null"},
		"two sites":   {"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"},
		"an odd site": {"Sec-Fetch-Site: SAME-ORIGIN"}, "prefetch": {"Sec-Purpose: prefetch"},
		"our Origin in part": {"Origin: https://app.test.evil.test"},
	} {
		list = append(list, try{"T27 CSRF " + name, func(h *client) {
			v := h.visitor()
			state := v.begun("rd=%2F")
			code := v.code("zhangsan")
			if e, a := v.loginAPI("code="+code+"&state="+state, lines...); *e.Success ||
				a.header["Access-Control-Allow-Origin"] != nil {
				h.failf("it worked: %v", a)
			}
			h.env.budget.Add(callsPerSignIn)
			// nothing was used up
			if e, a := v.loginAPI("code=" + code + "&state=" + state); !*e.Success || v.value(sessionCookie) == "" {
				h.failf("afterwards = %v", a)
			}
		}})
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"} {
		list = append(list, try{"T27 " + method, func(h *client) {
			v := h.visitor()
			state := v.begun("rd=%2F")
			a := v.ask(request{failing: true}, method,
				"/dingtalk/login/callback?code="+v.code("zhangsan")+"&state="+state, "Content-Length: 0")
			if a.status == 200 || v.value(sessionCookie) != "" {
				h.failf("got %v", a)
			}
		}})
	}
	list = append(list, try{"T27 each refusal has its message", func(h *client) {
		// One more gate, whose DingTalk is away: a fault would meet the tries beside this one.
		away := h.env.another(func(text string) string {
			for _, key := range []string{"api_url: ", "oapi_url: "} {
				text = strings.Replace(text, "\n  "+key+h.env.simURL, "\n  "+key+"http://127.0.0.1:1", 1)
			}
			return strings.Replace(text, "state_dir: ", "#state_dir: ", 1)
		})
		defer away.kill()
		h.env.budget.Add(10 * callsPerSignIn)
		said := map[string]string{}
		for name, do := range map[string]func(v *visitor, state string) envelope{
			"begun to sign in": func(v *visitor, state string) envelope {
				e, _ := v.account("frank").loginAPI("type=1&code=x&state=" + state)
				v.jar = nil
				return e
			},
			"missing": func(v *visitor, state string) envelope { e, _ := v.loginAPI("state=" + state); return e },
			"unknown": func(v *visitor, state string) envelope {
				e, _ := v.loginAPI("code=x&state=" + strings.Repeat("A", 43))
				return e
			},
			"refused": func(v *visitor, state string) envelope {
				e, _ := v.loginAPI("code=" + v.code("zhouba") + "&state=" + state)
				return e
			},
			"unbound": func(v *visitor, state string) envelope {
				e, _ := v.loginAPI("code=" + v.code("ouyang") + "&state=" + state)
				return e
			},
			"used": func(v *visitor, state string) envelope {
				jar := v.jar
				v.loginAPI("code=" + v.code("zhangsan") + "&state=" + state)
				v.jar = jar
				e, _ := v.loginAPI("code=" + v.code("zhangsan") + "&state=" + state)
				return e
			},
			"DingTalk down": func(v *visitor, state string) envelope {
				v.h.env.foreign.Store(h.id, true)
				var e envelope
				a := v.ask(request{to: away.gate, failing: true, cleared: true, slow: true}, "GET",
					"/dingtalk/login/callback?code="+v.code("zhangsan")+"&state="+state)
				v.h.enveloped(a, &e)
				return e
			},
		} {
			v := h.visitor()
			e := do(v, v.begun("rd=%2F"))
			if *e.Success != (name == "unbound") || v.value(sessionCookie) != "" && name != "used" {
				h.failf("%s: it worked", name)
			}
			if want := map[string]int{"missing": 221, "unbound": 200}[name]; *e.Code != cmp.Or(want, 500) {
				h.failf("%s: the code is %d", name, *e.Code)
			}
			if (e.Data != nil) != (name == "unbound") {
				h.failf("%s: data is %v", name, e.Data)
			}
			for other, text := range said {
				if text == *e.Message {
					h.failf("%s and %s read the same: %q", name, other, text)
				}
			}
			said[name] = *e.Message
		}
	}})
	return list
}

// bindPurposes is T28: an attempt is worth something for what it was begun for, in
// the session it was begun in.
func bindPurposes(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{"T28 " + name, do}) }
	add("an attempt to sign in, used to bind", func(h *client) {
		v := h.visitor().account("dora")
		state := v.begun("rd=%2F")
		if e, _ := v.loginAPI("type=1&code=" + v.code("wangwu") + "&state=" + state); *e.Success {
			h.failf("it worked")
		}
	})
	for _, way := range []string{"/dingtalk/login/callback?", "/dingtalk/login/callback?type=0&", "/oauth2/callback?",
		"/dingtalk/callback?forward_url=" + url.QueryEscape(oneCallback) + "&"} {
		add("an attempt to bind, used at "+way, func(h *client) {
			v := h.visitor().account("dora")
			before := v.value(sessionCookie)
			state := v.begun("type=1")
			a := v.ask(request{failing: true, cleared: true}, "GET", way+"code="+v.code("wangwu")+"&state="+state)
			if a.status < 400 && !strings.Contains(a.body, `"success":false`) || v.value(sessionCookie) != before {
				h.failf("got %v", a)
			}
		})
	}
	add("in another browser", func(h *client) {
		state := h.visitor().account("dora").begun("type=1")
		v := h.visitor().account("dora")
		if e, _ := v.loginAPI("type=1&code=" + v.code("wangwu") + "&state=" + state); *e.Success {
			h.failf("it worked")
		}
	})
	for _, c := range []struct{ name, later string }{{"under another account's session", "erin"},
		{"under a later session of the same account", "dora"}} {
		add(c.name, func(h *client) {
			v := h.visitor().account("dora")
			state := v.begun("type=1")
			v.account(c.later)
			if e, _ := v.loginAPI("type=1&code=" + v.code("wangwu") + "&state=" + state); *e.Success {
				h.failf("it worked")
			}
		})
	}
	add("the attacker's attempt planted beside the victim's session", func(h *client) {
		attacker := h.visitor().account("erin")
		state := attacker.begun("type=1")
		victim := h.visitor().account("dora")
		victim.jar = append(victim.jar, attacker.attempt())
		if e, _ := victim.loginAPI("type=1&code=" + victim.code("wangwu") + "&state=" + state); *e.Success {
			h.failf("it worked")
		}
	})
	add("after the session's end", func(h *client) {
		v := h.visitor().account("dora")
		state := v.begun("type=1")
		v.ask(request{cleared: true}, "POST", "/oauth2/sign_out", "Sec-Fetch-Site: same-origin", "Content-Length: 0")
		if e, _ := v.loginAPI("type=1&code=" + v.code("wangwu") + "&state=" + state); *e.Success {
			h.failf("it worked")
		}
	})
	for name, lines := range map[string][]string{"nobody": nil, "a DingTalk session": {"member"}} {
		add("begun by "+name, func(h *client) {
			if lines != nil {
				lines = []string{h.member("zhangsan")}
			}
			v := h.visitor()
			a := v.ask(request{}, "GET", "/oauth2/start?type=1",
				append(lines, "Accept: application/json", "Sec-Fetch-Mode: cors")...)
			if a.status != 403 || strings.Contains(a.body, "authorize_url") {
				h.failf("got %v", a)
			}
			if e, _ := v.loginAPI("type=1&code="+v.code("wangwu")+"&state="+strings.Repeat("A", 43),
				lines...); *e.Success {
				h.failf("it worked")
			}
		})
	}
	add("a person who is bound already", func(h *client) {
		v := h.visitor().account("dora")
		h.env.budget.Add(callsPerSignIn)
		if e, _ := v.loginAPI("type=1&code=" + v.code("lisi") + "&state=" + v.begun("type=1")); *e.Success {
			h.failf("it worked")
		}
		h.bound("lisi", "bob")
	})
	add("an account that is bound already", func(h *client) {
		v := h.visitor().account("alice")
		h.env.budget.Add(callsPerSignIn)
		if e, _ := v.loginAPI("type=1&code=" + v.code("ouyang") + "&state=" + v.begun("type=1")); *e.Success {
			h.failf("it worked")
		}
		h.bound("zhangsan", "alice")
	})
	add("once, and then it holds", func(h *client) {
		h.env.sim.Join(simulator.Person{ID: "t28", UserID: "t28", Name: "T28", Departments: []int64{42}})
		v := h.visitor().account("carol")
		state, code := v.begun("type=1"), v.code("t28")
		jar := slices.Clone(v.jar)
		h.env.budget.Add(2 * callsPerSignIn)
		if e, a := v.loginAPI("type=1&code=" + code + "&state=" + state); !*e.Success {
			h.failf("a good binding = %v", a)
		}
		v.jar = jar
		if e, _ := v.loginAPI("type=1&code=" + code + "&state=" + state); *e.Success {
			h.failf("it worked twice")
		}
		h.bound("t28", "carol")
		w := h.visitor()
		w.loginAPI("code=" + w.code("t28") + "&state=" + w.begun("rd=%2F"))
		if a := w.ask(request{}, "GET", "/oauth2/userinfo", "Accept: application/json"); !strings.Contains(a.body,
			`"carol"`) {
			h.failf("the person is %v", a)
		}
	})
	return list
}

// bound looks into the store: this person is this account, and nobody else's.
func (h *client) bound(person, account string) {
	out, err := h.env.bindings("list")
	if want := h.env.unionID(person) + "," + account; err != nil ||
		strings.Count(out, h.env.unionID(person)+",") != 1 || strings.Count(out, ","+account+"\n") != 1 ||
		!strings.Contains(out, want+"\n") {
		h.failf("bindings are %q (%v), want %s once", out, err, want)
	}
}

// offered is a person who has to bind an account: their browser and its link.
func (h *client) offered(person string) (v *visitor, token string) {
	v = h.visitor()
	h.env.budget.Add(callsPerSignIn)
	e, a := v.loginAPI("code=" + v.code(person) + "&state=" + v.begun("rd=%2F"))
	token, _ = e.Data.(string)
	if token == "" || v.value(linkCookie) == "" || v.value(sessionCookie) != "" {
		h.failf("no link is offered: %v", a)
	}
	return v, token
}

// links29 is T29: the link opens once, soon, in its browser, for whom it is.
func links29(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{"T29 " + name, do}) }
	// refused: neither the page nor the form takes it.
	refused := func(h *client, v *visitor, token, account string) {
		if a := v.ask(request{}, "GET", "/oauth2/sign_in?link="+url.QueryEscape(token)); a.status == 200 {
			h.failf("the page takes it: %v", a)
		}
		if a := v.form("?link="+url.QueryEscape(token), account, password(account)); a.status == 303 {
			h.failf("the form takes it: %v", a)
		}
	}
	add("in another browser", func(h *client) {
		_, token := h.offered("ouyang")
		refused(h, h.visitor(), token, "dora")
	})
	add("with another link's cookie", func(h *client) {
		_, token := h.offered("ouyang")
		v, _ := h.offered("ouyang")
		refused(h, v, token, "dora")
	})
	add("by a page of somebody else", func(h *client) {
		v, token := h.offered("ouyang")
		for _, line := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"} {
			body := url.Values{"username": {"dora"}, "password": {password("dora")}}.Encode()
			if a := v.post("?link="+url.QueryEscape(token), body, "Content-Type: application/x-www-form-urlencoded",
				line); a.status != 403 {
				h.failf("%s = %v", line, a)
			}
		}
	})
	add("an account that is bound already", func(h *client) {
		v, token := h.offered("ouyang")
		refusedForm(h, v, token, "alice")
		h.bound("zhangsan", "alice")
	})
	add("wrong passwords use nothing up, the right one does", func(h *client) {
		h.env.sim.Join(simulator.Person{ID: "t29", UserID: "t29", Name: "T29", Departments: []int64{42}})
		v, token := h.offered("t29")
		jar := slices.Clone(v.jar)
		for range 3 {
			if a := v.form("?link="+url.QueryEscape(token), "frank", "wrong"); a.status != 401 {
				h.failf("a wrong password = %v", a)
			}
		}
		if a := v.form("?link="+url.QueryEscape(token), "frank", password("frank")); a.status != 303 ||
			v.value(sessionCookie) == "" {
			h.failf("the right one = %v", a)
		}
		h.bound("t29", "frank")
		v.jar = jar
		refusedForm(h, v, token, "grace")
		h.bound("t29", "frank")
	})
	add("50 at once", func(h *client) {
		h.env.sim.Join(simulator.Person{ID: "t29b", UserID: "t29b", Name: "T29b", Departments: []int64{42}})
		v, token := h.offered("t29b")
		done := make(chan int, 10)
		for i := range 10 {
			go func() {
				w := &rawConns{kept: map[string]*rawConn{}}
				defer w.close()
				name := []string{"grace", "heidi"}[i%2]
				body := url.Values{"username": {name}, "password": {password(name)}}.Encode()
				a, err := w.send(request{
					from:   v.from,
					to:     h.env.gate,
					method: "POST",
					fresh:  true,
					raw: requestText("POST", "/oauth2/sign_in?link="+url.QueryEscape(token), h.id, v.cookie(),
						"Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin",
						fmt.Sprintf("Content-Length: %d", len(body))) + body,
				})
				if err != nil {
					h.failf("%v", err)
					done <- 0
					return
				}
				done <- a.status
			}()
		}
		in := 0
		for range 10 {
			if <-done == 303 {
				in++
			}
		}
		out, _ := h.env.bindings("list")
		if in != 1 || strings.Count(out, h.env.unionID("t29b")) != 1 {
			h.failf("%d got in; bindings are %q", in, out)
		}
	})
	for i := range 60 {
		add(fmt.Sprintf("changed at %d of 60", i), func(h *client) {
			v, token := h.sharedLink()
			at := i * len(token) / 60
			b := []byte(token)
			if b[at] = 'A'; token[at] == 'A' {
				b[at] = 'B'
			}
			refused(h, v, string(b), "dora")
		})
	}
	for name, change := range map[string]func(string) string{"cut": func(s string) string { return s[:len(s)-1] },
		"half": func(s string) string { return s[:len(s)/2] }, "doubled": func(s string) string { return s + s },
		"padded":       func(s string) string { return s + "=" },
		"a line break": func(s string) string { return s[:9] + "\n" + s[9:] },
		"a NUL":        func(s string) string { return s + "\x00" }, "upper": strings.ToUpper,
		"none": func(string) string { return "x" }, "long": func(string) string { return strings.Repeat("x", 9000) }} {
		add(name, func(h *client) {
			v, token := h.sharedLink()
			refused(h, v, change(token), "dora")
		})
	}
	const purpose = "account link"
	for name, change := range map[string]func([]byte) []byte{
		"eleven minutes old": func(b []byte) []byte { return stamped(b, 65, -11*time.Minute) },
		"an hour old":        func(b []byte) []byte { return stamped(b, 65, -time.Hour) },
		"from the future":    func(b []byte) []byte { return stamped(b, 65, 10*time.Minute) },
		"another app's": func(b []byte) []byte {
			return []byte(strings.Replace(string(b), clientID, "dingother"+clientID[9:], 1))
		},
		"another version":   func(b []byte) []byte { b[0]++; return b },
		"longer":            func(b []byte) []byte { return append(b, 0) },
		"shorter":           func(b []byte) []byte { return b[:len(b)-1] },
		"another browser's": func(b []byte) []byte { b[40] ^= 1; return b },
	} {
		add("sealed by us, "+name, func(h *client) {
			v, token := h.sharedLink()
			plain, _, err := productKeyring().Open(purpose, purpose, token)
			if err != nil {
				h.failf("opening our own link: %v", err)
				return
			}
			text, err := productKeyring().Seal(purpose, purpose, change(plain))
			if err != nil {
				h.failf("%v", err)
				return
			}
			refused(h, v, text, "dora")
		})
	}
	add("sealed by us, for another purpose", func(h *client) {
		v, token := h.sharedLink()
		plain, _, _ := productKeyring().Open(purpose, purpose, token)
		text, _ := productKeyring().Seal("login attempt", purpose, plain)
		refused(h, v, text, "dora")
	})
	return list
}

func refusedForm(h *client, v *visitor, token, account string) {
	if a := v.form("?link="+url.QueryEscape(token), account, password(account)); a.status == 303 ||
		v.value(sessionCookie) != "" {
		h.failf("the form takes it: %v", a)
	}
}

// sharedLink is one link for all tries that must not open it.
func (h *client) sharedLink() (*visitor, string) {
	h.env.partnerMu.Lock()
	defer h.env.partnerMu.Unlock()
	if h.env.link == "" {
		v, token := h.offered("ouyang")
		h.env.link, h.env.people[linkCookie] = token, v.value(linkCookie)
	}
	v := h.visitor()
	v.keep(&answer{header: map[string][]string{"Set-Cookie": {linkCookie + "=" + h.env.people[linkCookie] +
		"; Path=/; Secure"}}})
	return v, h.env.link
}
