package simulator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
)

// Each row is a call of a shell, and the expected state of the platform afterwards.
func TestControl(t *testing.T) {
	record := func(field string) func(*env) string {
		return func(w *env) string {
			m := w.old("/topapi/v2/user/get", `{"userid":"zhangsan"}`)
			r, _ := m["result"].(map[string]any)
			return fmt.Sprint(m["errcode"], " ", r[field])
		}
	}
	for _, c := range []struct {
		path, body string
		look       func(*env) string
		want       string
	}{
		{"people", `{"do":"leave","id":"zhangsan"}`, record("name"), "60121 <nil>"},
		{"people", `{"do":"disable","id":"zhangsan"}`, record("disable_status"), "0 true"},
		{"people", `{"do":"move","id":"zhangsan","departments":[43,1]}`, record("dept_id_list"), "0 [43 1]"},
		{"people", `{"do":"rename","id":"zhangsan","name":"张三丰"}`, record("name"), "0 张三丰"},
		{"people", `{"do":"roles","id":"zhangsan","roles":[]}`, record("role_list"), "0 <nil>"},
		{"people", `{"do":"change","id":"zhangsan","person":{"org_email":"new@yunfan.example","id":"other"}}`,
			record("org_email"), "0 new@yunfan.example"},
		{"people", `{"do":"reassign","user_id":"zhangsan","person":{"id":"z2","name":"新人"}}`, record("name"), "0 新人"},
		{"people", `{"do":"join","person":{"id":"n1","name":"N"}}`,
			func(w *env) string { p, _ := w.Who("n1"); return p.UserID }, "n1"},
		{"people", `{"do":"outsider","person":{"id":"n1","nick":"N"}}`,
			func(w *env) string { p, ok := w.Who("n1"); return fmt.Sprint(ok, p.UserID) }, "true"},
		{"people", `{"do":"external","person":{"id":"n1","user_id":"n1"}}`,
			func(w *env) string { p, _ := w.Who("n1"); return fmt.Sprint(p.External) }, "true"},
		{"people", `{"do":"activate","id":"wujiu"}`,
			func(w *env) string { p, _ := w.Who("wujiu"); return fmt.Sprint(p.Inactive) }, "false"},
		{"people", `{"do":"enable","id":"zhengshi"}`,
			func(w *env) string { p, _ := w.Who("zhengshi"); return fmt.Sprint(p.Disabled) }, "false"},
		{"departments", `{"do":"add","department":{"id":45,"name":"新部门"}}`, func(w *env) string {
			return fmt.Sprint(w.old("/topapi/v2/department/get", `{"dept_id":45}`)["errcode"])
		}, "0"},
		{"departments", `{"do":"change","department":{"id":42,"name":"研发中心"}}`, func(w *env) string {
			return fmt.Sprint(w.old("/topapi/v2/department/get", `{"dept_id":42}`)["result"].(map[string]any)["name"])
		}, "研发中心"},
		{"departments", `{"do":"remove","department":{"id":44}}`, func(w *env) string {
			return fmt.Sprint(w.old("/topapi/v2/department/get", `{"dept_id":44}`)["errcode"])
		}, "60003"},
		{"apps", `{"client_id":"","missing":["fieldEmail"]}`, record("email"), "0 <nil>"},
		{"apps", `{"client_id":"dingnew","client_secret":"s"}`,
			func(w *env) string { _, err := w.Code(simulator.Browser, "dingnew", "lisi"); return fmt.Sprint(err) },
			"<nil>"},
		{"callback", `{"form":"both"}`, func(w *env) string {
			resp, _ := w.send("GET", authorize("person", "lisi"), "", "")
			return fmt.Sprint(strings.Count(resp.Header.Get("Location"), "ode="))
		}, "2"},
		{"faults", `{"on":"/topapi/v2/user/get","do":"code 60121"}`, record("name"), "60121 <nil>"},
		{"faults", `[{"on":"/x","do":"hang"},{"on":"/y","do":"delay 5s","times":3,"from":2}]`,
			func(w *env) string { return fmt.Sprint(w.Faults()) }, "[{/x hang 0 0} {/y delay 5s 3 2}]"},
		{"tokens", `{"do":"kill"}`, func(w *env) string { return "" }, ""},
		{"events", `{"type":"org_change","data":{},"id":"e1"}`,
			func(w *env) string { return fmt.Sprint(w.Repeat("e1")) }, "<nil>"},
		{"streams", `{"do":"ping"}`, func(w *env) string { return "" }, ""},
		{"streams", `{"do":"disconnect","id":true}`, func(w *env) string { return "" }, ""},
		{"streams", `{"do":"drop"}`, func(w *env) string { return "" }, ""},
		{"streams", `{"do":"mute"}`, func(w *env) string { return "" }, ""},
		{"streams", `{"do":"unmute"}`, func(w *env) string { return "" }, ""},
		{"streams", `{"do":"raw","text":"x"}`, func(w *env) string { return "" }, ""},
	} {
		t.Run(c.path+c.body, func(t *testing.T) {
			w := demo(t)
			if status, text := w.control("POST", c.path, c.body); status != 200 {
				t.Fatalf("POST %s = %d %s", c.path, status, text)
			}
			if got := c.look(w); got != c.want {
				t.Errorf("POST %s %s, then %s, want %s", c.path, c.body, got, c.want)
			}
		})
	}
}

func (w *env) control(method, path, body string, header ...string) (int, string) {
	w.Helper()
	resp, text := w.send(method, "/_simulator/"+path, "", body, header...)
	return resp.StatusCode, strings.TrimSpace(text)
}

func TestControlRefuses(t *testing.T) {
	for _, c := range []struct {
		path, body string
		header     []string
		want       int
	}{
		{"people", `{"do":"leave","id":"ghost"}`, nil, 400},
		{"people", `{"do":"dance","id":"zhangsan"}`, nil, 400},
		{"people", `{"do":"change","id":"zhangsan"}`, nil, 400},
		{"people", `{"do":"join","person":{"nickname":"x"}}`, nil, 400},
		{"people", `{"typo":1}`, nil, 400},
		{"people", ``, nil, 400},
		{"departments", `{"do":"dance"}`, nil, 400},
		{"faults", `{"do":"dance"}`, nil, 400},
		{"faults", `{"on":"/x"}`, nil, 400},
		{"faults", `[{"on":"/x"}]`, nil, 400},
		{"faults", `{"do":"hang","verb":1}`, nil, 400},
		{"clock", `{"advance":"5"}`, nil, 400},
		{"codes", `{"kind":"silent","person":"ghost"}`, nil, 400},
		{"codes", `{"kind":"other","person":"lisi"}`, nil, 400},
		{"tokens", `{"do":"kill","client_id":"dingx"}`, nil, 400},
		{"tokens", `{"do":"mint"}`, nil, 400},
		{"callback", `{"form":"x"}`, nil, 400},
		{"callback", `{"form":1}`, nil, 400},
		{"events", `{}`, nil, 400},
		{"streams", `{"do":"dance"}`, nil, 400},
		{"nothing", `{}`, nil, 404},
		{"people", `{"do":"leave","id":"zhangsan"}`, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"people", `{"do":"leave","id":"zhangsan"}`, []string{"Origin", "https://evil.example"}, 403},
		{"people", strings.Repeat(" ", 1<<20+1), nil, 413},
	} {
		if got, text := demo(t).control("POST", c.path, c.body, c.header...); got != c.want {
			t.Errorf("POST %s %.60s %v = %d %s, want %d", c.path, c.body, c.header, got, text, c.want)
		}
	}
}

func TestControlReads(t *testing.T) {
	start := time.Date(2026, 8, 1, 9, 0, 0, 0, time.UTC)
	p := simulator.Demo()
	p.Now = func() time.Time { return start }
	w := serve(t, p)
	w.control("POST", "faults", `{"do":"delay 1ms","times":1}`)
	if _, got := w.control("GET", "faults", ""); got != `[{"on":"","do":"delay 1ms","times":1,"from":0}]` {
		t.Errorf("faults = %s", got)
	}
	if _, got := w.control("DELETE", "faults", ""); got != `[]` {
		t.Errorf("faults after DELETE = %s", got)
	}
	if _, got := w.control("POST", "clock", `{"advance":"5m"}`); got != `{"now":"2026-08-01T09:05:00Z"}` {
		t.Errorf("clock = %s", got)
	}
	resp, _ := w.send("GET", "/oauth2/auth", "", "")
	if got := resp.Header.Get("Date"); got != "Sat, 01 Aug 2026 09:05:00 GMT" {
		t.Errorf("Date = %s, want the platform's clock", got)
	}
	if _, got := w.control("GET", "calls", ""); got != `{"/oauth2/auth":1}` {
		t.Errorf("calls = %s", got)
	}
	if _, got := w.control("DELETE", "calls", ""); got != `{}` {
		t.Errorf("calls after DELETE = %s", got)
	}
	if _, got := w.control("GET", "people", ""); !strings.Contains(got, `"id":"zhangsan"`) ||
		strings.Contains(got, simulator.DemoClientSecret) {
		t.Errorf("people = %s", got)
	}
	if _, got := w.control("GET", "streams", ""); got != `{"open":0}` {
		t.Errorf("streams = %s", got)
	}
	if _, got := w.control("GET", "events", ""); got != `{"complaints":[],"deliveries":[]}` {
		t.Errorf("events = %s", got)
	}
	_, got := w.control("POST", "codes", `{"kind":"silent","person":"zhangsan"}`)
	code := decode(t, got)["code"].(string)
	if info := w.old("/topapi/v2/user/getuserinfo", `{"code":"`+code+`"}`); fmt.Sprint(info["errcode"]) != "0" {
		t.Errorf("a code from the control path = %v", info)
	}
}

// TestControlPerson: each key of a person is accepted, and shown in this order.
func TestControlPerson(t *testing.T) {
	const person = `{"id":"p1","union_id":"u-p1","nick":"昵称","avatar":"https://avatar.example/p1.png",` +
		`"mobile":"13800000009","own_email":"own@home.example","login_email":"login@home.example","visitor":true,` +
		`"corps":["dingother"],"user_id":"p1","external":true,"inactive":true,"enterprise":true,"disabled":true,"blocked":true,` +
		`"name":"姓名","job_number":"0009","title":"工程师","work_place":"杭州","remark":"备注","telephone":"0571-1",` +
		`"org_email":"p1@yunfan.example","email":"p.one@yunfan.example","departments":[42,43],"leads":[42],` +
		`"roles":[100],"manager":"lisi","extension":"{}","hired":"2026-08-01T09:00:00Z","admin":true,"boss":true,` +
		`"senior":true}`
	w := demo(t)
	if status, text := w.control("POST", "people", `{"do":"external","person":`+person+`}`); status != 200 {
		t.Fatalf("adding a person with every key = %d %s", status, text)
	}
	if _, got := w.control("GET", "people", ""); !strings.HasSuffix(got, ","+person+"]") {
		t.Errorf("people = %s, want %s at the end", got, person)
	}
}
