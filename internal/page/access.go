package page

import (
	"html/template"
	"net/http"
	"strconv"
	"time"
)

// What the page about a request for access shows.
const (
	AccessForm    = "form"
	AccessWaiting = "waiting" // to the requester
	AccessAsked   = "asked"   // to an approver
	AccessGranted = "granted"
	AccessDenied  = "denied"
	AccessExpired = "expired"
	AccessEnded   = "ended"
)

// Mistakes in a form, and why a request is not made.
const (
	WrongReason   = "reason"
	WrongDuration = "duration"
	WrongTooMany  = "too_many"
	WrongNobody   = "nobody" // there is nobody to ask
	WrongOver     = "over"   // answered or over already
)

// AccessData is a request for access, or the form for one. Texts are what people
// typed and what the directory says: the page shows them as text.
type AccessData struct {
	Kind        string
	Who         string // the requester
	Departments string
	Wanted      string // the page that was refused
	Reason      string
	For         time.Duration
	Until       time.Time
	Asked       time.Time
	Approvers   []string
	By, Word    string // who answered, and what they said
	Untold      bool   // an approver may not have been told

	Action     string // where the forms post to: one of our paths
	Target     string // a hidden field of the form
	Choices    []time.Duration
	NeedReason bool
	Wrong      string
	Answers    bool          // the reader may answer
	Takes      bool          // the reader may take the grant back
	Next       string        // the page first asked for, to go on to; "" has no such button
	Refresh    time.Duration // when the page looks again; 0: it does not
}

type accessView struct {
	view
	Labels     accessLabels
	Text       string
	Rows       []whoRow
	Wrong      string
	Action     string
	Target     string
	Reason     string
	Choices    []choice
	NeedReason bool
	Form       bool
	Answers    bool
	Takes      bool
	Next       string
	Again      template.URL
}

type choice struct {
	Value, Label string
	Chosen       bool
}

// Access shows the page.
func (p *Pages) Access(w http.ResponseWriter, r *http.Request, status int, data AccessData) {
	v := accessView{view: p.view(w, r), Labels: zhAccess, NeedReason: data.NeedReason}
	if v.Lang == "en" {
		v.Labels = enAccess
	}
	l := v.Labels
	v.Heading, v.Text = l.headings[data.Kind], l.texts[data.Kind]
	row := func(label, value string, most int) {
		if value = clean(value, most); value != "" {
			v.Rows = append(v.Rows, whoRow{label, value})
		}
	}
	if data.Kind != AccessForm {
		row(l.Who, data.Who, 100)
		row(l.Departments, data.Departments, 300)
	}
	row(l.Wanted, data.Wanted, 300)
	if v.Form = data.Kind == AccessForm; !v.Form {
		row(l.Reason, data.Reason, 400)
		row(l.For, l.duration(data.For), 40)
		if !data.Asked.IsZero() {
			row(l.Asked, data.Asked.Local().Format("2006-01-02 15:04"), 40)
		}
		for _, name := range data.Approvers[:min(len(data.Approvers), 20)] {
			row(l.Approver, name, 100)
		}
		row(l.By, data.By, 100)
		row(l.Word, data.Word, 400)
		if data.Kind == AccessGranted && !data.Until.IsZero() {
			row(l.Until, data.Until.Local().Format("2006-01-02 15:04"), 40)
		}
	} else {
		v.Target, v.Reason = data.Target, data.Reason
		for i, d := range data.Choices {
			v.Choices = append(v.Choices, choice{d.String(), l.duration(d), d == data.For || data.For == 0 && i == 0})
		}
	}
	v.Wrong = l.wrongs[data.Wrong]
	if data.Untold && v.Wrong == "" && data.Kind == AccessWaiting {
		v.Wrong = l.untold
	}
	csp := p.csp
	if ownPath(data.Action) && (v.Form || data.Answers || data.Takes) {
		v.Action, v.Answers, v.Takes, v.Posts = data.Action, data.Answers, data.Takes, true
		csp = p.formCSP
	}
	v.Next = link(data.Next)
	if data.Refresh > 0 {
		v.Refresh = max(1, int(data.Refresh/time.Second))
		v.Again = template.URL("?" + r.URL.RawQuery) // begins with ?: it leads nowhere else
		w.Header()["Refresh"] = []string{strconv.Itoa(v.Refresh)}
	}
	p.render(w, r, "access", csp, status, v)
}

type accessLabels struct {
	Who, Departments, Wanted, Reason, For, Asked, Approver, By, Word, Until     string
	ReasonField, WordField, Send, Approve, Deny, Take, Continue, Again, Another string

	headings, texts, wrongs map[string]string
	untold                  string
	hours, minutes          string
}

func (l accessLabels) duration(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + l.hours
	}
	return strconv.Itoa(int(d/time.Minute)) + l.minutes
}

var zhAccess = accessLabels{
	Who: "申请人", Departments: "部门", Wanted: "页面", Reason: "理由", For: "时长", Asked: "申请时间",
	Approver: "审批人", By: "答复人", Word: "留言", Until: "有效至",
	ReasonField: "申请理由", WordField: "给申请人留言（选填）", Send: "提交申请", Approve: "同意", Deny: "拒绝",
	Take: "收回授权", Continue: "继续访问", Again: "立即查看", Another: "换个账号",
	headings: map[string]string{
		AccessForm: "申请访问", AccessWaiting: "等待审批", AccessAsked: "访问申请", AccessGranted: "已同意",
		AccessDenied: "已拒绝", AccessExpired: "申请已过期", AccessEnded: "授权已结束",
	},
	texts: map[string]string{
		AccessForm:    "你目前不能访问这个页面。提交后，审批人会在钉钉收到通知。",
		AccessWaiting: "审批人已在钉钉收到通知。本页会自动查看结果，同意后直接进入刚才的页面。",
		AccessAsked:   "同意后，申请人可在所选时长内访问。以第一个答复为准。",
		AccessGranted: "申请已同意，可以继续访问。",
		AccessDenied:  "申请未获同意。",
		AccessExpired: "24 小时内没有人答复，申请已结束，可以重新申请。",
		AccessEnded:   "申请或授权已经结束。",
	},
	wrongs: map[string]string{
		WrongReason:   "请填写理由，不超过 200 字。",
		WrongDuration: "请选择列出的时长。",
		WrongTooMany:  "待审批的申请过多，或今天申请的次数已满，请稍后再试。",
		WrongNobody:   "找不到可以审批的人，请联系管理员。",
		WrongOver:     "这个申请已有人答复，或已经结束。",
	},
	untold: "审批人可能没有收到通知，可以把本页地址直接发给对方。",
	hours:  " 小时", minutes: " 分钟",
}

var enAccess = accessLabels{
	Who: "Requested by", Departments: "Department", Wanted: "Page", Reason: "Reason", For: "For", Asked: "Asked",
	Approver: "Approver", By: "Answered by", Word: "Message", Until: "Valid until",
	ReasonField: "Reason", WordField: "A message to the requester (optional)", Send: "Send request", Approve: "Approve",
	Deny: "Deny", Take: "Take back", Continue: "Continue", Again: "Look now", Another: "Use another account",
	headings: map[string]string{
		AccessForm: "Request access", AccessWaiting: "Waiting for an answer", AccessAsked: "Request for access",
		AccessGranted: "Approved", AccessDenied: "Denied", AccessExpired: "The request has expired",
		AccessEnded: "Access has ended",
	},
	texts: map[string]string{
		AccessForm:    "You cannot open this page now. The approvers get a work notification in DingTalk.",
		AccessWaiting: "The approvers have a work notification in DingTalk. This page looks for the answer by itself and then goes on to the page you asked for.",
		AccessAsked:   "If you approve, the person has access for the time given. The first answer counts.",
		AccessGranted: "The request was approved.",
		AccessDenied:  "The request was denied.",
		AccessExpired: "Nobody answered within 24 hours, so the request has ended. You can ask again.",
		AccessEnded:   "The request or the access has ended.",
	},
	wrongs: map[string]string{
		WrongReason:   "Give a reason of at most 200 characters.",
		WrongDuration: "Choose one of the times listed.",
		WrongTooMany:  "Too many of your requests are waiting, or were made today. Try again later.",
		WrongNobody:   "There is nobody who could answer. Ask your administrator.",
		WrongOver:     "Somebody has answered this request, or it has ended.",
	},
	untold: "The approver may not have been told. You can send them the address of this page.",
	hours:  " h", minutes: " min",
}
