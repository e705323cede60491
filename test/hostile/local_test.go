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

	"dinggate/dingtalk/simulator"

	"golang.org/x/crypto/bcrypt"
)

// localNames are the local accounts of the env. alice and bob are bound to zhangsan and lisi. dora
// is not bound. Each account has its own password.
var localNames = []string{"alice", "bob", "carol", "dora", "erin", "frank", "grace", "heidi", "ivan", "管理员"}

func password(name string) string { return canary + "-" + name + "-Passw0rd" }

// openLocal starts the env with local accounts, the login callback, credentials for API clients
// and signed assertions. Every DingTalk person has to be bound to a local account.
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
	// expensive password hashes would make the suite slow
	s.t, s.excused = t, []string{"which is weak", "The configuration has no mistakes, but"}
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
	panic("there is no person " + person)
}

// bindings runs `dinggate bindings` with the configuration of the running process.
func (s *env) bindings(args ...string) (string, error) {
	return s.bindingsOf(s.process, args...)
}

// bindingsOf runs `dinggate bindings` with the configuration of another process.
func (s *env) bindingsOf(p *process, args ...string) (string, error) {
	cmd := exec.Command(program, append(append([]string{"bindings"}, args...), "--config", p.file)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// localAccountTries covers T27–T29, the sign-in form, and the credentials that replace a cookie.
func localAccountTries(s *env) []try {
	return slices.Concat(loginCallback(s), bindPurposes(s), recentSignIns(s), accountLinks(s), formPosts(), formOrigins(), basicCredentials(),
		bearerTokens(), otherClientsTokens(), uncheckedPasswords(), assertions())
}

type envelope struct {
	Success *bool   `json:"success"`
	Code    *int    `json:"code"`
	Message *string `json:"message"`
	Data    any     `json:"data"`
}

// loginAPI calls the login callback. The response is always the JSON envelope.
func (v *visitor) loginAPI(query string, lines ...string) (e envelope, a *answer) {
	a = v.do(request{failing: true, session: true, cleared: true}, "GET", "/dingtalk/login/callback?"+query, lines...)
	v.h.checkEnvelope(a, &e)
	return e, a
}

func (h *client) checkEnvelope(a *answer, e *envelope) {
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
		h.failf("the envelope contradicts itself: %v", a)
	}
	for _, inside := range []string{"login:", "goroutine", "127.0.0.1", "dial", "json:", "http", "sql", "bolt"} {
		if strings.Contains(*e.Message, inside) {
			h.failf("the message shows internals: %q", *e.Message)
		}
	}
}

// beginLoginAPI returns the state of a fresh attempt for the login callback.
func (v *visitor) beginLoginAPI(query string) (state string) {
	a := v.do(request{}, "GET", "/oauth2/start?"+query, "Accept: application/json", "Sec-Fetch-Mode: cors")
	var e struct{ State string }
	if json.Unmarshal([]byte(a.body), &e); e.State == "" {
		v.h.failf("no attempt began: %v", a)
	}
	return e.State
}

// account signs in with an account name and its password.
func (v *visitor) account(name string) *visitor {
	if a := v.form("", name, password(name)); a.status != 303 || v.value(sessionCookie) == "" {
		v.h.failf("%s did not sign in: %v", name, a)
	}
	return v
}

// form posts the sign-in form. query is appended to its address.
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
	v.storeCookies(a)
	return a
}

// loginCallback covers T27.
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
					state = v.beginLoginAPI("rd=%2F")
				}
				if e, _ := v.loginAPI(strings.NewReplacer("CODE", v.code("zhangsan"), "STATE",
					state).Replace(query)); *e.Success && (!begun || query != "code=CODE&state=STATE") ||
					v.value(sessionCookie) != "" {
					h.failf("it succeeded")
				}
			}})
		}
	}
	for kind, code := range map[string]int{ // the purpose that type selects; 200 signs in
		"": 200, "2": 200, "-1": 200, "00": 200, "-0": 200, "99999999999999999999": 200, "+1": 201, "01": 201,
		"1 ": 221, "0x1": 221, "1.0": 221, "１": 221, "true": 221, "null": 221, "1,0": 221, "0&type=0": 221,
		"0&type=1": 221, "1&type=0": 221, "1\x00": 221, "0'": 221, "a": 221, "%zz": 221, "0 ": 221, "\t0": 221,
		"+": 221, "-": 221, "--1": 221, "−1": 221, "1\n": 221, "1e0": 221, "1;0": 221, "[1]": 221,
	} {
		list = append(list, try{fmt.Sprintf("T27 type %q", kind), func(h *client) {
			v := h.visitor()
			state := v.beginLoginAPI("rd=%2F")
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
			state := v.beginLoginAPI("rd=%2F")
			code := v.code("zhangsan")
			if e, a := v.loginAPI("code="+code+"&state="+state, lines...); *e.Success ||
				a.header["Access-Control-Allow-Origin"] != nil {
				h.failf("it succeeded: %v", a)
			}
			h.env.budget.Add(callsPerSignIn)
			// Nothing was used up.
			if e, a := v.loginAPI("code=" + code + "&state=" + state); !*e.Success || v.value(sessionCookie) == "" {
				h.failf("afterwards = %v", a)
			}
		}})
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"} {
		list = append(list, try{"T27 " + method, func(h *client) {
			v := h.visitor()
			state := v.beginLoginAPI("rd=%2F")
			a := v.do(request{failing: true}, method,
				"/dingtalk/login/callback?code="+v.code("zhangsan")+"&state="+state, "Content-Length: 0")
			if a.status == 200 || v.value(sessionCookie) != "" {
				h.failf("got %v", a)
			}
		}})
	}
	list = append(list, try{"T27 each refusal has its message", func(h *client) {
		// Another dinggate whose DingTalk is unreachable, because a fault would affect the tries
		// that run in parallel.
		unreachable := h.env.another(func(text string) string {
			for _, key := range []string{"api_url: ", "oapi_url: "} {
				text = strings.Replace(text, "\n  "+key+h.env.simURL, "\n  "+key+"http://127.0.0.1:1", 1)
			}
			return strings.Replace(text, "state_dir: ", "#state_dir: ", 1)
		})
		defer unreachable.kill()
		h.env.budget.Add(10 * callsPerSignIn)
		messages := map[string]string{}
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
				a := v.do(request{to: unreachable.addr, failing: true, cleared: true, slow: true}, "GET",
					"/dingtalk/login/callback?code="+v.code("zhangsan")+"&state="+state)
				v.h.checkEnvelope(a, &e)
				return e
			},
		} {
			v := h.visitor()
			e := do(v, v.beginLoginAPI("rd=%2F"))
			if *e.Success != (name == "unbound") || v.value(sessionCookie) != "" && name != "used" {
				h.failf("%s: it succeeded", name)
			}
			if want := map[string]int{"missing": 221, "unbound": 200}[name]; *e.Code != cmp.Or(want, 500) {
				h.failf("%s: the code is %d", name, *e.Code)
			}
			if (e.Data != nil) != (name == "unbound") {
				h.failf("%s: data is %v", name, e.Data)
			}
			for other, text := range messages {
				if text == *e.Message {
					h.failf("%s and %s have the same message: %q", name, other, text)
				}
			}
			messages[name] = *e.Message
		}
	}})
	return list
}
