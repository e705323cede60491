package server

import (
	"strings"
	"testing"
	"time"

	"dinggate/proxy/accessrequest"
)

// TestWorthNotice checks that the requester is notified of an end that no other
// notification covers.
func TestWorthNotice(t *testing.T) {
	for _, row := range []struct {
		state accessrequest.State
		end   string
		want  bool
	}{
		{accessrequest.Waiting, "", false},
		{accessrequest.Granted, "", false},
		{accessrequest.Denied, "", false}, // the response to the request is a notification itself
		{accessrequest.Expired, accessrequest.EndSilence, true},
		{accessrequest.Ended, accessrequest.EndTime, false},
		{accessrequest.Ended, accessrequest.EndLeft, false},
		{accessrequest.Ended, accessrequest.EndVoid, false},
		{accessrequest.Ended, accessrequest.EndTaken, true},
		{accessrequest.Ended, accessrequest.EndChanged, true},
		{accessrequest.Ended, "left the project", true}, // an administrator's text
	} {
		if got := worthNotice(&accessrequest.Request{State: row.state, End: row.end}); got != row.want {
			t.Errorf("worthNotice(%s, %q) = %v, want %v", row.state, row.end, got, row.want)
		}
	}
}

// TestNoticeText checks that the notification contains the object, the time and the reason
// of the end, and that an administrator's text contains no markup (threats G3).
func TestNoticeText(t *testing.T) {
	at := time.Date(2026, 12, 1, 9, 30, 0, 0, time.UTC)
	q := accessrequest.Request{ID: strings.Repeat("x", 40), Person: accessrequest.Person{UserID: "zhaoliu", Name: "赵六"},
		Route: accessrequest.Route{Name: "/admin/"}, For: time.Hour, Requested: at, Answered: at, Until: at.Add(time.Hour), Over: at}
	for _, row := range []struct {
		state     accessrequest.State
		end, want string
	}{
		{accessrequest.Granted, "", "有效至：12-01 18:30"},
		{accessrequest.Expired, accessrequest.EndSilence, "24 小时内没有人答复"},
		{accessrequest.Ended, accessrequest.EndTaken, "已收回授权"},
		{accessrequest.Ended, accessrequest.EndChanged, "访问规则已修改"},
		{accessrequest.Ended, "[x](http://evil.example)", "原因："},
	} {
		q.State, q.End = row.state, row.end
		note := notifier{below: "https://app.example.com/oauth2/requests/"}.text(q)
		if !strings.Contains(note.Markdown, row.want) || !strings.Contains(note.Markdown, "/admin/") ||
			strings.Contains(note.Markdown, "](http") || note.URL != "https://app.example.com/oauth2/requests/"+q.ID {
			t.Errorf("%s %q = %+v, want %q", row.state, row.end, note, row.want)
		}
	}
}
