package server

import (
	"context"
	"errors"
	"strconv"
	"time"

	"dinggate/dingtalk"
	"dinggate/proxy/accessrequest"
)

// endNotices notifies requesters that a request ended without an answer, or that access
// was revoked. The replica that records the end sends the notification. If the process
// ends before that, the notification is not sent; the page of the request has the same
// information.
type endNotices chan accessrequest.Request

// endNoticesMax bounds the queue of unsent notifications: a changed rule may end many
// grants at once.
const endNoticesMax = 1_000

var errNoticesFull = errors.New("too many notifications wait to be sent")

// worthNotice reports whether the end of a request or grant needs a notification. The
// notification of an approval already contains the time at which access ends, and a person
// who left cannot be reached.
func worthNotice(q *accessrequest.Request) bool {
	switch q.State {
	case accessrequest.Expired:
		return true
	case accessrequest.Ended:
		return q.End != accessrequest.EndTime && q.End != accessrequest.EndLeft && q.End != accessrequest.EndVoid
	}
	return false
}

// auditAccess records a step, and queues a notification of an end. It does not block.
func (s *State) auditAccess(e accessrequest.Event) error {
	err := s.Observability.auditAccess(e)
	if !worthNotice(&e.Request) {
		return err
	}
	select {
	case s.endNotices <- e.Request:
	default:
		s.noticeFailed(errNoticesFull)
	}
	return err
}

func (s *State) noticeFailed(err error) {
	s.Metrics.AccessNotice(false)
	s.Log.Warn("access request: a notification may not have arrived", "err", err.Error())
}

// runEndNotices sends until ctx ends; h may be nil.
func (s *State) runEndNotices(ctx context.Context, h *accessrequest.Handler) {
	if h == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-s.endNotices:
			sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			if err := h.Notify(sending, q); err != nil {
				h.Report(err)
			}
			cancel()
		}
	}
}

// notifier sends work notifications about requests.
type notifier struct {
	client *dingtalk.Client
	book   *accessrequest.Book
	agent  int64
	below  string // the address of a request, without its id
}

var errNoticeLimit = errors.New("accessrequests: a person has received as many notifications as DingTalk delivers per day")

// send notifies the approvers of a waiting request, otherwise the requester.
func (n notifier) send(ctx context.Context, q accessrequest.Request) error {
	to, failed := []string(nil), error(nil)
	people := q.Approvers
	if q.State != accessrequest.Waiting {
		people = []accessrequest.Person{q.Person}
	}
	for _, p := range people {
		if p.UserID == "" || p.Local {
			continue
		}
		within, err := n.book.CountNotice(ctx, p.UserID)
		switch {
		case err != nil:
			failed = err
		case !within:
			failed = errNoticeLimit
		default:
			to = append(to, p.UserID)
		}
	}
	if len(to) == 0 {
		return failed
	}
	if _, err := n.client.Notify(ctx, n.agent, to, n.text(q)); err != nil {
		return err
	}
	return failed
}

// text is the text of a notification. It contains the request's id and time: DingTalk
// delivers the same text to a person only once per day.
func (n notifier) text(q accessrequest.Request) dingtalk.Notification {
	plain := func(s string, most int) string {
		runes := []rune(dingtalk.PlainMarkdown(s))
		if len(runes) > most {
			runes = append(runes[:most-1], '…')
		}
		return string(runes)
	}
	line := func(label, text string) string {
		if text == "" {
			return ""
		}
		return label + "：" + text + "\n\n"
	}
	who, page := plain(q.Person.Full(), 60), plain(q.Route.Host+q.Route.Name, 80)
	code := plain(q.ID[len(q.ID)-8:], 8) // an underscore would be markup
	at := inChina(q.Requested, "01-02 15:04:05") + " · " + code
	note := dingtalk.Notification{Button: "查看 View", URL: n.below + q.ID}
	switch q.State {
	case accessrequest.Waiting:
		note.Title = "申请访问 Access request"
		note.Markdown = "#### " + who + " 申请访问\n\n" + line("页面", page) + line("部门", plain(q.Departments, 80)) +
			line("理由", plain(q.Why, 200)) + line("时长", lifeText(q.For)) + at
		return note
	case accessrequest.Granted:
		note.Title, note.Button = "访问申请已同意 Access approved", "继续访问 Continue"
		at = inChina(q.Answered, "01-02 15:04:05") + " · " + code
	case accessrequest.Expired:
		note.Title = "访问申请已过期 Access request expired"
		note.Markdown = "#### " + note.Title + "\n\n" + line("页面", page) + line("说明", "24 小时内没有人答复，可以重新申请") + at
		return note
	case accessrequest.Ended:
		note.Title = "访问已结束 Access ended"
		note.Markdown = "#### " + note.Title + "\n\n" + line("页面", page) + line("原因", plain(endText(q.End), 200)) +
			inChina(q.Over, "01-02 15:04:05") + " · " + code
		return note
	default:
		note.Title = "访问申请未获同意 Access denied"
	}
	until := ""
	if q.State == accessrequest.Granted {
		until = inChina(q.Until, "01-02 15:04")
	}
	note.Markdown = "#### " + note.Title + "\n\n" + line("页面", page) + line("时长", lifeText(q.For)) + line("有效至", until) +
		line("答复人", plain(q.By.Full(), 60)) + line("留言", plain(q.Word, 200)) + at
	return note
}

// inChina is a moment in the time of DingTalk's days.
func inChina(t time.Time, layout string) string {
	return t.In(time.FixedZone("CST", 8*3600)).Format(layout)
}

// endText is the reason for the end of a request or grant: the administrator's text, or
// the text for a code of dinggate's.
func endText(end string) string {
	switch end {
	case accessrequest.EndTaken:
		return "审批人或管理员已收回授权，或取消了申请"
	case accessrequest.EndChanged:
		return "这个页面的访问规则已修改，可以重新申请"
	}
	return end
}

func lifeText(d time.Duration) string {
	if d%time.Hour == 0 {
		return strconv.Itoa(int(d/time.Hour)) + " 小时"
	}
	return strconv.Itoa(int(d/time.Minute)) + " 分钟"
}
