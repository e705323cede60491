package dingtalk_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"dinggate/dingtalk"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/ratelimit"
)

func notification(text string) dingtalk.Notification {
	return dingtalk.Notification{Title: "申请访问", Markdown: text, Button: "查看", URL: "https://app.example.com/oauth2/requests/1"}
}

// A work notification reaches members in the app's range, and the result of the task lists
// the other receivers.
func TestClient_Notify(t *testing.T) {
	g := newEnv(t)
	ctx := context.Background()
	task, err := g.client.Notify(ctx, simulator.DemoAgentID, []string{"lisi", "zhouba", "unknown"}, notification("张三申请访问 /admin/"))
	if err != nil {
		t.Fatal(err)
	}
	if in := g.Inbox("lisi"); len(in) != 1 || in[0].Markdown != "张三申请访问 /admin/" || in[0].Button != "查看" {
		t.Errorf("李四's inbox = %+v", in)
	}
	left, err := g.client.NotifyResult(ctx, simulator.DemoAgentID, task)
	if got := fmt.Sprint(left.Unknown, left.Forbidden, err); got != "[zhouba unknown] map[] <nil>" {
		t.Errorf("result = %s", got)
	}
	// The same text is accepted a second time and not delivered.
	task, err = g.client.Notify(ctx, simulator.DemoAgentID, []string{"lisi"}, notification("张三申请访问 /admin/"))
	if err != nil {
		t.Fatal(err)
	}
	left, err = g.client.NotifyResult(ctx, simulator.DemoAgentID, task)
	if got := fmt.Sprint(left.Unknown, left.Forbidden, err); got != "[] map[lisi:143106] <nil>" || len(g.Inbox("lisi")) != 1 {
		t.Errorf("repeated: result = %s, inbox of %d", got, len(g.Inbox("lisi")))
	}
	if left.Everybody() || !(dingtalk.Undelivered{}).Everybody() {
		t.Error("Everybody is wrong")
	}
}

// A notification that DingTalk would refuse is not sent.
func TestClient_NotifyChecks(t *testing.T) {
	g := newEnv(t)
	long := make([]string, 101)
	for i := range long {
		long[i] = "lisi"
	}
	for name, c := range map[string]struct {
		to []string
		n  dingtalk.Notification
	}{
		"no recipients":      {nil, notification("x")},
		"101 people":         {long, notification("x")},
		"two ids in one":     {[]string{"lisi,zhangsan"}, notification("x")},
		"no text":            {[]string{"lisi"}, notification("")},
		"1001 characters":    {[]string{"lisi"}, notification(strings.Repeat("x", 1001))},
		"more than 2 KiB":    {[]string{"lisi"}, notification(strings.Repeat("访", 700))},
		"a long button":      {[]string{"lisi"}, dingtalk.Notification{Title: "t", Markdown: "m", Button: strings.Repeat("b", 21), URL: "u"}},
		"a long address":     {[]string{"lisi"}, dingtalk.Notification{Title: "t", Markdown: "m", Button: "b", URL: strings.Repeat("u", 501)}},
		"no title":           {[]string{"lisi"}, dingtalk.Notification{Markdown: "m", Button: "b", URL: "u"}},
		"a title of a novel": {[]string{"lisi"}, dingtalk.Notification{Title: strings.Repeat("t", 101), Markdown: "m", Button: "b", URL: "u"}},
	} {
		if _, err := g.client.Notify(context.Background(), simulator.DemoAgentID, c.to, c.n); verdict(err) != "internal bad_request" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := g.Calls("/topapi/message/corpconversation/asyncsend_v2"); n != 0 {
		t.Errorf("%d calls were made", n)
	}
}

// Each failure has its code; a slow or endless response ends at the client's own limits.
func TestClient_NotifyFailures(t *testing.T) {
	const on = "/topapi/message/corpconversation/asyncsend_v2"
	for do, want := range map[simulator.Verb]string{
		simulator.Code(90020):      "operator quota_exhausted",
		simulator.Code(60011):      "operator permission_missing",
		simulator.Code(90018):      "later throttled",
		simulator.Status(503):      "later unavailable",
		simulator.Hang():           "later unavailable",
		simulator.Flood(2_000_000): "later bad_answer",
		simulator.Body("{}"):       "later bad_answer",
	} {
		g := newEnv(t)
		if do == simulator.Hang() {
			g.client.Timeout = time.Second
		}
		g.Fault(simulator.Fault{On: on, Do: do})
		began := time.Now()
		_, err := g.client.Notify(context.Background(), simulator.DemoAgentID, []string{"lisi"}, notification("x"))
		if verdict(err) != want || time.Since(began) > 5*time.Second {
			t.Errorf("%s: %v after %v, want %s", do, err, time.Since(began), want)
		}
	}
	g := newEnv(t)
	if _, err := g.client.Notify(context.Background(), 7, []string{"lisi"}, notification("x")); err == nil {
		t.Error("another app's agent_id is taken")
	}
}

// direct calls a platform without a network, so that time can be virtual.
type direct struct{ platform http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.platform.ServeHTTP(w, r)
	return w.Result(), nil
}

// Notifications use the shared budget of calls.
func TestClient_NotifyBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := envAt(t, simulator.Demo(), "https://dingtalk.test")
		t.Cleanup(g.Close)
		g.client.Transport = direct{g.Platform}
		g.client.Budget = &ratelimit.Budget{Rate: 2}
		g.client.Timeout = 300 * time.Millisecond
		held := 0
		for i := range 12 {
			_, err := g.client.Notify(context.Background(), simulator.DemoAgentID, []string{"lisi"}, notification(fmt.Sprint(i)))
			if verdict(err) == "later throttled" {
				held++
			}
		}
		if n := len(g.Inbox("lisi")); held == 0 || n+held != 12 {
			t.Errorf("%d held, %d delivered, of 12 at two a second", held, n)
		}
	})
}

// Every input is returned as text of one line: no markup, no mention, no link.
func TestPlainMarkdown(t *testing.T) {
	for in, want := range map[string]string{
		"线上故障，需要查日志":                        "线上故障，需要查日志",
		"[点我](https://evil.example/)":       "［点我］（https：//evil．example/）",
		"**粗** _斜_ `code` # h":              "＊＊粗＊＊ ＿斜＿ ｀code｀ ＃ h",
		"<a href=x>&lt;</a> @all":           "＜a href＝x＞＆lt；＜/a＞ ＠all",
		"www.evil.example a.b":              "www．evil．example a．b",
		"evil\u200b.\u200bexample":          "evil．example",
		"line\n\n# two\u2028three":          "line ＃ two three",
		"\u202egnp.exe":                     "gnp．exe",
		"End of a sentence. Another one...": "End of a sentence. Another one．．.",
	} {
		if got := dingtalk.PlainMarkdown(in); got != want {
			t.Errorf("PlainMarkdown(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPlainMarkdown(f *testing.F) {
	f.Add("[a](http://b.c) <i>@x</i>\n- 1. `x`")
	f.Fuzz(func(t *testing.T, s string) {
		got := dingtalk.PlainMarkdown(s)
		if strings.ContainsAny(got, "[](){}<>*_`#!@&;\\|~\":\n\r\t$") || !utf8.ValidString(got) {
			t.Fatalf("PlainMarkdown(%q) = %q has markup", s, got)
		}
		runes := []rune(got)
		for i, c := range runes {
			if unicode.IsControl(c) || unicode.Is(unicode.Cf, c) {
				t.Fatalf("PlainMarkdown(%q) = %q has an invisible character", s, got)
			}
			if c == '.' && i > 0 && i+1 < len(runes) && unicode.IsLetter(runes[i-1]) && unicode.IsLetter(runes[i+1]) {
				t.Fatalf("PlainMarkdown(%q) = %q has a host name", s, got)
			}
		}
		if again := dingtalk.PlainMarkdown(got); again != got {
			t.Fatalf("PlainMarkdown twice: %q, %q", got, again)
		}
	})
}
