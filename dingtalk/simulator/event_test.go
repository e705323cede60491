package simulator_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"dinggate/dingtalk/simulator"
)

func TestEvent(t *testing.T) {
	w := demo(t)
	l := w.listen()
	w.open(1)
	if err := w.Leave("zhangsan"); err != nil {
		t.Fatal(err)
	}
	f := l.next()
	var data struct {
		TimeStamp string
		UserID    []string
	}
	if err := json.Unmarshal([]byte(f.Data), &data); err != nil || len(data.UserID) != 1 ||
		data.UserID[0] != "zhangsan" || data.TimeStamp == "" {
		t.Errorf("data = %s", f.Data)
	}
	if f.Type != "EVENT" || f.Headers["eventType"] != "user_leave_org" ||
		f.Headers["eventCorpId"] != simulator.DemoCorpID || f.Headers["topic"] != "*" {
		t.Errorf("frame = %+v", f)
	}
	l.reply(f, 200, "SUCCESS")
	if err := w.delivered(f.Headers["eventId"]); err != nil {
		t.Error(err)
	}
	if got, want := fmt.Sprint(w.Deliveries()[0]),
		fmt.Sprintf("{%s user_leave_org %s 1 1 SUCCESS}", f.Headers["eventId"], simulator.DemoClientID); got != want {
		t.Errorf("delivery = %s, want %s", got, want)
	}
}

func TestPeopleEmitTheRightEvent(t *testing.T) {
	w := demo(t)
	l := w.listen()
	w.open(1)
	for _, c := range []struct {
		do         func() error
		event, has string
	}{
		{func() error { return w.Move("lisi", 42) }, "user_modify_org", `"userId":["lisi"]`},
		{func() error { return w.Rename("lisi", "李思") }, "user_modify_org",
			`"curr":{"email":"lisi@yunfan.example","jobNumber":"0007","managerUserid":"zhangsan","name":"李思"`},
		{func() error { return w.SetRoles("lisi", 200) }, "label_user_change",
			`"labelIdList":[200],"userIdList":["lisi"]`},
		{func() error { return w.Activate("wujiu") }, "user_active_org", `{"userId":["wujiu"]}`},
		{func() error { return w.Join(simulator.Person{ID: "new", Record: simulator.Record{Name: "新人"}}) }, "user_add_org",
			`"userId":["new"]`},
		{func() error { return w.AddDepartment(simulator.Department{ID: 50, Name: "新部门"}) }, "org_dept_create",
			`{"deptId":[50]}`},
		{func() error { return w.ChangeDepartment(50, func(d *simulator.Department) { d.Name = "老部门" }) },
			"org_dept_modify", `{"deptId":[50]}`},
		{func() error { return w.RemoveDepartment(50) }, "org_dept_remove", `{"deptId":[50]}`},
		{func() error { w.Emit("org_remove", map[string]any{}); return nil }, "org_remove", `{}`},
		{func() error {
			w.EmitEvent(simulator.Event{Type: "odd", Data: "no JSON", Corp: "dingother"})
			return nil
		}, "odd", `no JSON`},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		f := l.next()
		if f.Headers["eventType"] != c.event || !strings.Contains(f.Data, c.has) {
			t.Errorf("event = %s %s, want %s with %s", f.Headers["eventType"], f.Data, c.event, c.has)
		}
		l.reply(f, 200, "SUCCESS")
	}
	if err := w.Disable("lisi"); err != nil {
		t.Fatal(err)
	}
	if err := w.delivered("ghost"); err == nil {
		t.Error("an event that never was is delivered")
	}
}

func TestRedelivery(t *testing.T) {
	for _, c := range []struct {
		name  string
		reply func(l listener, f received)
		want  string // acknowledgements of the deliveries
	}{
		{"later", func(l listener, f received) { l.reply(f, 200, "LATER") }, "LATER SUCCESS"},
		{"later with 500", func(l listener, f received) { l.reply(f, 500, "LATER") }, "LATER SUCCESS"},
		{"silence", func(listener, received) {}, " SUCCESS"},
		{"another code", func(l listener, f received) { l.reply(f, 404, "SUCCESS") }, "code 404 with SUCCESS SUCCESS"},
		{"another word", func(l listener, f received) { l.reply(f, 200, "DONE") }, `status "DONE" SUCCESS`},
		{"no message id", func(l listener, f received) { l.reply(received{}, 200, "SUCCESS") }, " SUCCESS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := quick(t)
			l := w.listen()
			w.open(1)
			id := w.Emit("user_add_org", map[string]any{"userId": []string{"x"}})
			first := l.next()
			c.reply(l, first)
			second := l.next()
			if second.Headers["eventId"] != id || second.Headers["messageId"] == first.Headers["messageId"] {
				t.Errorf("redelivered = %v, want event %s under another message id", second.Headers, id)
			}
			l.reply(second, 200, "SUCCESS")
			if err := w.delivered(id); err != nil {
				t.Error(err)
			}
			var answers []string
			for _, d := range w.Deliveries() {
				answers = append(answers, d.Answer)
			}
			if got := strings.Join(answers, " "); got != c.want {
				t.Errorf("answers = %q, want %q", got, c.want)
			}
		})
	}
}

func TestGivenUp(t *testing.T) {
	w := quick(t)
	if err := w.delivered(w.Emit("org_change", map[string]any{})); err == nil {
		t.Error("an event without a listener is delivered")
	}
	l := w.listen()
	w.open(1)
	id := w.Emit("org_change", map[string]any{})
	for range 5 {
		l.next()
	}
	if err := w.delivered(id); err == nil {
		t.Error("an event that was never acknowledged is delivered")
	}
	l.write("no JSON")
	l.write(`{"code":200,"headers":{"messageId":"m"},"data":"{}"}`)
	w.Ping(t.Context())
	if got := strings.Join(w.Complaints(), "\n"); !strings.Contains(got, "no JSON object") ||
		!strings.Contains(got, `message "m"`) {
		t.Errorf("complaints = %s", got)
	}
}

func TestDuplicate(t *testing.T) {
	w := demo(t)
	l := w.listen()
	w.open(1)
	id := w.Emit("org_change", map[string]any{})
	l.reply(l.next(), 200, "SUCCESS")
	if err := w.delivered(id); err != nil {
		t.Fatal(err)
	}
	if err := w.Repeat(id); err != nil {
		t.Fatal(err)
	}
	f := l.next()
	if f.Headers["eventId"] != id {
		t.Errorf("repeated event = %s, want %s", f.Headers["eventId"], id)
	}
	l.reply(f, 200, "SUCCESS")
	if w.Repeat("ghost") == nil {
		t.Error("an event that never was is repeated")
	}
}

// Each event reaches one of several streams; of many events, both streams receive some.
func TestOneStreamOfSeveral(t *testing.T) {
	w := demo(t)
	for range 2 {
		l := w.listen()
		go func() {
			for {
				_, text, err := l.conn.Read(t.Context())
				if err != nil {
					return
				}
				var f received
				json.Unmarshal(text, &f)
				l.conn.Write(t.Context(), websocket.MessageText,
					fmt.Appendf(nil,
						`{"code":200,"headers":{"messageId":%q},"message":"OK","data":"{\"status\":\"SUCCESS\"}"}`,
						f.Headers["messageId"]))
			}
		}()
	}
	w.open(2)
	const events = 64 // all events reach one stream with a probability of 2^-63
	for range events {
		if err := w.delivered(w.Emit("org_change", map[string]any{})); err != nil {
			t.Fatal(err)
		}
	}
	used := map[int]bool{}
	for _, d := range w.Deliveries() {
		used[d.Stream] = true
	}
	if len(used) != 2 || len(w.Deliveries()) != events {
		t.Errorf("%d deliveries over streams %v, want %d over two", len(w.Deliveries()), used, events)
	}
}
