package hostile

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
)

// Endpoints that a sign-in calls.
const (
	userToken   = "/v1.0/oauth2/userAccessToken"
	me          = "/v1.0/contact/users/me"
	appToken    = "/v1.0/oauth2/{corpId}/token"
	byUnionID   = "/topapi/user/getbyunionid"
	userGet     = "/topapi/v2/user/get"
	anyEndpoint = ""
)

// openChanging starts a separate env for tries that change its DingTalk. People join and leave,
// responses are wrong, and memberships are rechecked every second. Its tries run one at a time.
func openChanging(t *testing.T) *env {
	s := openWith(t, func(text string) string {
		return strings.NewReplacer("events: false", "events: true", "recheck: 1h", "recheck: 1s, grace: 3s",
			"  - {path: /, host",
			"  - {path: /dept/, access: {departments: [42]}, upstream: \"UP\"}\n  - {path: /, host").Replace(text)
	})
	s.budget.Store(1 << 40) // background lookups are expected here
	return s
}

// oneAtATime runs the tries one at a time. Each try may change the platform, which is restored
// afterwards.
func (s *env) oneAtATime(list []try) []try {
	for i, one := range list {
		list[i].do = func(h *client) {
			s.turn.Lock()
			defer s.turn.Unlock()
			one.do(h)
			s.sim.ClearFaults()
			s.sim.SetCallback(simulator.AuthCode)
		}
	}
	return list
}

// signInRefused runs a sign-in that must not create a session.
func (h *client) signInRefused(person string, want ...int) *answer {
	v := h.visitor()
	state, _ := v.begin("/oauth2/start")
	a := v.do(request{failing: true, slow: true}, "GET", "/oauth2/callback?authCode="+v.code(person)+"&state="+state)
	if v.value(sessionCookie) != "" || a.status < 400 || len(want) > 0 && !slices.Contains(want, a.status) {
		h.failf("%s: got %v, want %d and no session", person, a, want)
	}
	if strings.Contains(a.body, "goroutine") || strings.Contains(a.body, h.env.simURL) ||
		strings.Contains(a.body, "unmarshal") {
		h.failf("the page shows internals: %v", a)
	}
	return a
}

// inParallel lets a try run in parallel with other tries that do not change the platform.
func (s *env) inParallel(one try) try {
	do := one.do
	one.do = func(h *client) {
		s.turn.RLock()
		defer s.turn.RUnlock()
		do(h)
	}
	return one
}

// dingtalkBehaviour covers class K: the behaviour of the real DingTalk, and worse behaviour.
func dingtalkBehaviour(s *env) []try {
	return s.oneAtATime(slices.Concat(outsiders(s), wrongAnswers(s), changes(s), events(s), leavers(s)))
}

func outsiders(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for _, person := range []string{"sunqi", "zhouba", "wujiu", "zhengshi"} {
		for _, form := range []simulator.CallbackForm{simulator.AuthCode, simulator.CodeOnly, simulator.BothCodes} {
			add(fmt.Sprintf("K1 K2 K8 %s %v", person, form), func(h *client) {
				s.sim.SetCallback(form)
				h.signInRefused(person, 403)
			})
		}
	}
	add("K3 in another organisation", func(h *client) {
		v := h.visitor()
		_, a := v.begin("/oauth2/start")
		// The person chooses the other organisation on DingTalk's page.
		login := h.send(request{
			to:         strings.TrimPrefix(s.simURL, "http://"),
			fresh:      true,
			authorized: true,
			elsewhere:  true,
			raw: "GET " + strings.TrimPrefix(a.header.Get("Location"), s.simURL) +
				"&person=zhaoliu@dingqinghe5d1e HTTP/1.1\r\nHost: x\r\n\r\n",
		})
		back, err := url.Parse(login.header.Get("Location"))
		if err != nil || back.Query().Get("authCode") == "" {
			h.failf("DingTalk's page = %v", login)
			return
		}
		if a := v.do(request{}, "GET", back.RequestURI()); a.status != 403 || v.value(sessionCookie) != "" {
			h.failf("got %v, want 403", a)
		}
	})
	s.sim.AddApp(simulator.App{ClientID: "dingotherapp", ClientSecret: "x"})
	add("K6 another app's code", func(h *client) {
		v := h.visitor()
		state, _ := v.begin("/oauth2/start")
		code, _ := s.sim.Code(simulator.Browser, "dingotherapp", "zhangsan")
		if a := v.do(request{failing: true}, "GET",
			"/oauth2/callback?authCode="+code+"&state="+state); a.status != 403 || v.value(sessionCookie) != "" {
			h.failf("got %v, want 403", a)
		}
	})
	for _, kind := range []simulator.Kind{simulator.Silent, simulator.SNS} {
		add("K6 a code of kind "+string(kind), func(h *client) {
			v := h.visitor()
			state, _ := v.begin("/oauth2/start")
			code, _ := s.sim.Code(kind, "", "zhangsan")
			if a := v.do(request{failing: true}, "GET",
				"/oauth2/callback?authCode="+code+"&state="+state); a.status < 400 || v.value(sessionCookie) != "" {
				h.failf("got %v", a)
			}
		})
	}
	add("K6 a code older than five minutes", func(h *client) {
		v := h.visitor()
		state, _ := v.begin("/oauth2/start")
		code := v.code("zhangsan")
		s.sim.Advance(6 * time.Minute)
		if a := v.do(request{failing: true}, "GET",
			"/oauth2/callback?authCode="+code+"&state="+state); a.status != 403 {
			h.failf("got %v, want 403", a)
		}
	})
	add("K14 the app's token expires early", func(h *client) {
		for range 3 {
			s.sim.KillAppToken("")
			h.visitor().signIn("zhangsan")
		}
	})
	add("K16 no mobile number, no avatar", func(h *client) {
		v := h.visitor().signIn("zhangsan")
		a := v.do(request{}, "GET", "/oauth2/userinfo")
		if output := s.output() + a.body; strings.Contains(output, "13800000001") ||
			strings.Contains(output, "avatar.example") || strings.Contains(output, "san@home.example") {
			h.failf("unneeded data is printed: %v", a)
		}
	})
	return list
}

// wrongAnswers covers K4, K5, K11, V2–V5 and D7: each endpoint returns each wrong response once.
func wrongAnswers(s *env) (list []try) {
	verbs := []simulator.Verb{
		simulator.Status(500), simulator.Status(503), simulator.Status(404), simulator.Status(401),
		simulator.Status(302), simulator.Status(204), simulator.Reset(), simulator.Refuse(), simulator.TLS(),
		simulator.Cut(0), simulator.Cut(10), simulator.Flood(8 << 20),
		simulator.Redirect("http://127.0.0.1:1/evil"), simulator.Redirect("https://evil.test/"),
		simulator.Code(60121), simulator.Code(88), simulator.Code(-1), simulator.Code("InvalidAuthentication"),
		simulator.Gzip("{}"),
	}
	for _, body := range []string{"", "{", "null", "[]", "{}", "true", "0", `"x"`, "\xff\xfe", `{"errcode":0}`,
		`{"errcode":"0","result":null}`, `{"errcode":0,"result":{}}`, `{"errcode":0,"result":[]}`,
		`{"errcode":0,"result":"x"}`, `{"errcode":0,"result":{"userid":""}}`,
		`{"errcode":0,"result":{"userid":"zhangsan","unionid":""}}`,
		`{"errcode":0,"result":{"userid":"zhangsan","unionid":"other","active":true}}`,
		`{"errcode":0,"result":{"contact_type":"0","userid":"lisi"}}`,
		`{"errcode":0,"result":{"userid":["zhangsan"]}}`, `{"errcode":88,"sub_code":"60121"}`, `{"errcode":1e999}`,
		`{"errcode":0,"errcode":60121,"result":{"userid":"zhangsan"}}`, `{"accessToken":"","expireIn":7200}`,
		`{"accessToken":"a b","expireIn":7200}`, `{"accessToken":{"x":1}}`,
		`{"accessToken":"x","expireIn":"never","corpId":"other"}`, `{"accessToken":"x","corpId":"dingother"}`,
		`{"unionId":""}`, `{"unionId":null}`, `{"unionId":["x"]}`, `{"unionId":"x","unionId":"y"}`,
		`{"unionId":"unknown"}`, strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 10_000),
		`{"errcode":0,"result":{"userid":"` + strings.Repeat("u", 100_000) + `"}}`, `<html>` + canary + `</html>`} {
		verbs = append(verbs, simulator.Body(body))
	}
	for _, endpoint := range []string{userToken, me, byUnionID, userGet} {
		for _, verb := range verbs {
			list = append(list, try{fmt.Sprintf("K4 K5 K11 %s %.60s", endpoint, verb), func(h *client) {
				s.sim.ClearFaults()
				s.sim.Fault(simulator.Fault{On: endpoint, Do: verb, Times: 50})
				before := s.sim.Calls(endpoint)
				h.signInRefused("ouyang")
				if s.sim.Calls(endpoint) == before {
					h.failf("%s was not called: the try proves nothing", endpoint)
				}
			}})
		}
	}
	return list
}

// changes covers K7, K9, K10, K12 and V8: changes of people who are signed in.
func changes(s *env) (list []try) {
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	join := func(h *client, id string, departments ...int64) *visitor {
		if err := s.sim.Join(simulator.Person{
			ID:      id,
			Account: simulator.Account{Nick: "admin"},
			Record: simulator.Record{
				UserID:      id,
				Name:        "新人",
				OrgEmail:    id + "@yunfan.example",
				Departments: departments,
			},
		}); err != nil {
			h.failf("%v", err)
		}
		v := h.visitor().signIn(id)
		if a := v.do(request{authorized: true}, "GET", "/page"); a.status != 200 {
			h.failf("signed in, got %v", a)
		}
		return v
	}
	// awaitStatus waits until a lookup has removed the person's access.
	awaitStatus := func(h *client, v *visitor, target string, want int) {
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			if a := v.h.send(request{
				from:       v.from,
				authorized: true,
				slow:       true,
				failing:    true,
				raw:        requestText("GET", target, h.id, v.cookie()),
				cleared:    true,
			}); a.status == want {
				return
			}
		}
		h.failf("still not %d at %s after 10 s", want, target)
	}
	add("K7 left", func(h *client) {
		v := join(h, "k7a", 42)
		s.sim.Leave("k7a")
		awaitStatus(h, v, "/page", 401)
	})
	add("K7 disabled", func(h *client) {
		v := join(h, "k7b", 42)
		s.sim.Disable("k7b")
		awaitStatus(h, v, "/page", 401)
	})
	add("K7 K12 moved", func(h *client) {
		v := join(h, "k7c", 4201)
		if a := v.do(request{authorized: true}, "GET", "/dept/x"); a.status != 200 {
			h.failf("a department below counts: %v", a)
		}
		s.sim.Move("k7c", 43)
		awaitStatus(h, v, "/dept/x", 403)
	})
	add("K10 the userid is assigned to a new person", func(h *client) {
		v := join(h, "k10", 42)
		if err := s.sim.Reassign("k10", simulator.Person{ID: "k10-new", Record: simulator.Record{Name: "另一个人"}}); err != nil {
			h.failf("%v", err)
		}
		awaitStatus(h, v, "/page", 401)
	})
	for _, nick := range []string{"admin", "张三", "zhangsan", "root\r\nX-Forwarded-User: lisi"} {
		add(fmt.Sprintf("K9 nick %.10q", nick), func(h *client) {
			s.sim.Change("wangwu", func(p *simulator.Person) { p.Nick, p.OwnEmail = nick, "zhangsan@yunfan.example" })
			v := h.visitor().signIn("wangwu")
			v.do(request{authorized: true}, "GET", "/page")
			seen := s.up.received(h.id)
			if len(seen) != 1 || seen[0].value("X-Forwarded-User") != "wangwu" ||
				seen[0].value("X-Forwarded-Email") != "" || strings.Contains(seen[0].head, "admin") {
				h.failf("the application received %+v", seen)
			}
		})
	}
	add("V7 V9 DingTalk is unreachable, then for longer than the grace", func(h *client) {
		v := join(h, "v9", 42)
		s.sim.Fault(simulator.Fault{On: anyEndpoint, Do: simulator.Refuse()})
		began := time.Now()
		for time.Since(began) < 1500*time.Millisecond {
			if a := v.do(request{authorized: true, slow: true, failing: true}, "GET", "/page"); a.status != 200 {
				h.failf("within the grace got %v", a)
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		awaitStatus(h, v, "/page", 503)
		s.sim.ClearFaults()
		awaitStatus(h, v, "/page", 200) // not a sign-out
	})
	return list
}

// events covers K15: every kind of message on the event stream.
func events(s *env) (list []try) {
	for i, raw := range []string{"", "{", "null", "[]", `{"specVersion":"1.0"}`, `{"type":"EVENT"}`,
		`{"type":"EVENT","headers":null,"data":"x"}`,
		`{"type":"EVENT","headers":{"eventId":"1","eventType":"user_leave_org","eventCorpId":"dingother"},` +
			`"data":"{\"userId\":[\"zhangsan\"]}"}`,
		`{"type":"EVENT","headers":{"eventType":"user_leave_org"},"data":"not json"}`,
		`{"type":"EVENT","headers":{"eventType":"user_leave_org"},"data":"{\"userId\":\"zhangsan\"}"}`,
		`{"type":"EVENT","headers":{"eventType":"` + strings.Repeat("x", 100_000) + `"},"data":"{}"}`,
		`{"type":"SYSTEM","headers":{"topic":"disconnect"}}`, `{"type":"CALLBACK","headers":{}}`,
		strings.Repeat("[", 50_000), "\xff", `{"type":1}`,
		`{"type":"EVENT","headers":{"eventType":"org_remove","eventCorpId":"dingother"},"data":"{}"}`,
		`{"type":"EVENT","headers":{"eventType":"user_leave_org","eventCorpId":"dingyunfan8f3c"},` +
			`"data":"{\"userId\":[1,null,{}]}"}`} {
		list = append(list, try{fmt.Sprintf("K15 %d %.60q", i, raw), func(h *client) {
			v := h.visitor().signIn("lisi")
			s.sim.SendRaw(raw)
			time.Sleep(50 * time.Millisecond)
			if a := v.do(request{authorized: true, slow: true}, "GET", "/admin/x"); a.status != 200 {
				h.failf("after it lisi got %v", a)
			}
		}})
	}
	return list
}
