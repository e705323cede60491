package simulator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
)

const send = "/topapi/message/corpconversation/asyncsend_v2"

func cardFor(to, text string) string {
	return fmt.Sprintf(`{"agent_id":%d,"userid_list":%q,"msg":{"msgtype":"action_card","action_card":{"title":"t",`+
		`"markdown":%q,"single_title":"查看","single_url":"https://app.example.com/"}}}`, simulator.DemoAgentID, to, text)
}

// Beyond DingTalk's limits the call succeeds and nothing is delivered.
func TestMessageLimits(t *testing.T) {
	w := demo(t)
	deliver := func(to, text string) {
		t.Helper()
		if got := w.old(send, cardFor(to, text)); fmt.Sprint(got["errcode"]) != "0" || got["task_id"] == nil {
			t.Fatalf("sending: %v", got)
		}
	}
	for i := range 502 {
		deliver("lisi", fmt.Sprint(i))
	}
	if n := len(w.Inbox("lisi")); n != 500 {
		t.Errorf("%d delivered on one day, want 500", n)
	}
	deliver("wangwu", "hello")
	deliver("wangwu", "hello")
	deliver("zhouba,unknown", "hello")
	if n, all := len(w.Inbox("wangwu")), len(w.Messages()); n != 1 || all != 506 {
		t.Errorf("王五 has %d of %d", n, all)
	}
	w.Advance(24 * time.Hour)
	deliver("wangwu", "hello")
	deliver("lisi", "0")
	if n, m := len(w.Inbox("wangwu")), len(w.Inbox("lisi")); n != 2 || m != 501 {
		t.Errorf("the next day 王五 has %d, 李四 %d", n, m)
	}
}

func TestMessageRefusals(t *testing.T) {
	w := demo(t)
	for body, want := range map[string]string{
		strings.Replace(cardFor("lisi", "x"), "1000000001", "7", 1):     "40056",
		strings.Replace(cardFor("lisi", "x"), "action_card", "link", 1): "40035",
		cardFor("", "x"): "40035",
		cardFor("lisi", strings.Repeat("x", 2049)):                              "40035",
		cardFor(strings.Repeat("lisi,", 100)+"lisi", "x"):                       "40035",
		strings.Replace(cardFor("lisi", "x"), "查看", strings.Repeat("x", 21), 1): "40035",
	} {
		if got := w.old(send, body); fmt.Sprint(got["errcode"]) != want {
			t.Errorf("%.80s: %v, want %s", body, got, want)
		}
	}
	if len(w.Messages()) != 0 {
		t.Error("a refused message is there")
	}
}

// The inbox is a page that shows text as it was sent.
func TestInboxPage(t *testing.T) {
	w := demo(t)
	w.old(send, cardFor("lisi", "<b>bold</b>"))
	r, page := w.send("GET", "/_simulator/inbox?person=lisi", "", "")
	if r.StatusCode != http.StatusOK || !strings.Contains(page, "&lt;b&gt;bold") || !strings.Contains(page, "李四") {
		t.Errorf("%d %s", r.StatusCode, page)
	}
	if _, page := w.send("GET", "/_simulator/inbox?person=wangwu", "", ""); strings.Contains(page, "bold") {
		t.Error("王五 sees what 李四 got")
	}
	if r, _ := w.send("GET", "/_simulator/inbox?person=unknown", "", ""); r.StatusCode != http.StatusNotFound {
		t.Errorf("the inbox of an unknown person: %d", r.StatusCode)
	}
}
