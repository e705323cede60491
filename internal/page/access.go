package page

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Kinds of the page about a request for access.
const (
	AccessForm    = "form"
	AccessWaiting = "waiting" // to the requester
	AccessDecide  = "asked"   // to an approver
	AccessGranted = "granted"
	AccessDenied  = "denied"
	AccessExpired = "expired"
	AccessEnded   = "ended"
)

// Mistakes in a form, and reasons for which no request is made.
const (
	WrongReason   = "reason"
	WrongDuration = "duration"
	WrongTooMany  = "too_many"
	WrongNone     = "nobody" // there is no approver
	WrongOver     = "over"   // answered or ended already
)

// AccessData is a request for access, or the form for one. Its texts come from people and the
// directory: the page shows them as text.
type AccessData struct {
	Kind        string
	Who         string // the requester
	Departments string
	Wanted      string // the page that was refused
	Route       string // what a grant allows: the route's host and path
	Reason      string
	For         time.Duration
	Until       time.Time
	Requested   time.Time
	Over        time.Time // when it ended
	End         string    // the reason, by accessrequest
	Approvers   []string
	By, Word    string // the approver, and their comment
	Unnotified  bool   // an approver may not have been notified

	Action     string // where the forms post to: one of our paths
	Target     string // a hidden field of the form
	Choices    []time.Duration
	NeedReason bool
	Wrong      string
	Answers    bool          // the reader may answer
	Takes      bool          // the reader may revoke the grant
	Next       string        // the page first requested, as a link; "" shows none
	Renew      string        // the form for another request, as a link; "" shows none
	Refresh    time.Duration // the interval at which the page reloads; 0: it does not
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
	Renew      string
	Again      string
	Icon       string // lock, clock or done
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
	v.Icon = accessIcons[data.Kind]
	ended := ""
	if data.Kind == AccessGranted && data.Takes {
		v.Text = l.given
	} else if why := l.ends[data.End]; data.Kind == AccessEnded && why != "" {
		v.Text = why
	} else if data.Kind == AccessEnded {
		ended = data.End // what an administrator typed
	}
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
	row(l.Route, l.scope(data.Route), 300)
	if v.Form = data.Kind == AccessForm; !v.Form {
		row(l.Reason, data.Reason, 400)
		row(l.For, l.duration(data.For), 40)
		if !data.Requested.IsZero() {
			row(l.Requested, shownTime(data.Requested.Local()), 40)
		}
		for _, name := range data.Approvers[:min(len(data.Approvers), 20)] {
			row(l.Approver, name, 100)
		}
		row(l.By, data.By, 100)
		row(l.Word, data.Word, 400)
		if data.Kind == AccessGranted && !data.Until.IsZero() {
			row(l.Until, shownTime(data.Until.Local()), 40)
		}
		if data.Kind == AccessEnded && !data.Over.IsZero() {
			row(l.Over, shownTime(data.Over.Local()), 40)
		}
		row(l.Why, ended, 400)
	} else {
		v.Target, v.Reason = data.Target, data.Reason
		for i, d := range data.Choices {
			v.Choices = append(v.Choices, choice{d.String(), l.duration(d), d == data.For || data.For == 0 && i == 0})
		}
	}
	v.Wrong = l.wrongs[data.Wrong]
	if data.Unnotified && v.Wrong == "" && data.Kind == AccessWaiting {
		v.Text, v.Wrong = l.looks, l.unnotified
	}
	csp := p.csp
	if ownPath(data.Action) && (v.Form || data.Answers || data.Takes) {
		v.Action, v.Answers, v.Takes, v.Posts = data.Action, data.Answers, data.Takes, true
		csp = p.formCSP
	}
	v.Next, v.Renew = link(data.Next), link(data.Renew)
	if data.Refresh > 0 {
		v.Refresh = max(1, int(data.Refresh/time.Second))
		v.Again = link(data.Action)
		w.Header()["Refresh"] = []string{strconv.Itoa(v.Refresh)}
	}
	p.render(w, r, "access", csp, status, v)
}

var accessIcons = map[string]string{AccessForm: "lock", AccessWaiting: "clock", AccessDecide: "lock",
	AccessGranted: "done", AccessDenied: "lock", AccessExpired: "clock", AccessEnded: "clock"}

// accessRows are the labels of the facts about a request.
type accessRows struct {
	Who, Departments, Wanted, Route, Reason, For, Requested, Approver, By, Word, Until, Over, Why string
}

type accessLabels struct {
	accessRows

	ReasonField, WordField, Send, Approve, Deny, Take, Continue, Again, Renew string

	headings, texts, wrongs, ends map[string]string

	unnotified, looks string
	given             string // to an approver
	hours, minutes    string
	below             string // follows the path of a route that includes everything below it
}

// scope is what a grant allows. The approver decides about the route: the page that was refused is
// the requester's choice, and often the most harmless one.
func (l accessLabels) scope(route string) string {
	if strings.HasSuffix(route, "/") {
		return route + l.below
	}
	return route
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
	accessRows: accessRows{Who: "申请人", Departments: "部门", Wanted: "页面", Route: "授权范围",
		Reason: "理由", For: "时长", Requested: "申请时间",
		Approver: "审批人", By: "答复人", Word: "留言", Until: "有效至", Over: "结束时间", Why: "结束原因"},
	ReasonField: "申请理由", WordField: "给申请人留言（选填）", Send: "提交申请", Approve: "同意", Deny: "拒绝",
	Take: "收回授权", Continue: "继续访问", Again: "立即查看", Renew: "重新申请",
	headings: map[string]string{
		AccessForm: "申请访问", AccessWaiting: "等待审批", AccessDecide: "访问申请", AccessGranted: "已同意",
		AccessDenied: "已拒绝", AccessExpired: "申请已过期", AccessEnded: "授权已结束",
	},
	texts: map[string]string{
		AccessForm:    "你目前不能访问这个页面。提交后，审批人会在钉钉收到通知。",
		AccessWaiting: "审批人已在钉钉收到通知。本页会自动查看结果，同意后直接进入刚才的页面。",
		AccessDecide:  "同意后，申请人可在所选时长内访问“授权范围”内的全部页面，不只是所申请的这一页。以第一个答复为准。",
		AccessGranted: "申请已同意，可以继续访问。",
		AccessDenied:  "申请未获同意。",
		AccessExpired: "24 小时内没有人答复，申请已结束，可以重新申请。",
		AccessEnded:   "申请或授权已经结束。",
	},
	wrongs: map[string]string{
		WrongReason:   "请填写理由，不超过 200 字。",
		WrongDuration: "请选择列出的时长。",
		WrongTooMany:  "待审批的申请过多，或今天申请的次数已满，请稍后再试。",
		WrongNone:     "找不到可以审批的人，请联系管理员。",
		WrongOver:     "这个申请已有人答复，或已经结束。",
	},
	ends: map[string]string{
		"time":          "授权时间已到，可以重新申请。",
		"taken_back":    "审批人或管理员已收回授权，或取消了申请。",
		"left":          "申请人已不是本企业成员，申请和授权随之结束。",
		"route_changed": "这个页面的访问规则已修改，申请和授权随之结束，可以重新申请。",
	},
	unnotified: "审批人可能没有收到通知，可以把本页地址直接发给对方。",
	looks:      "申请已提交。本页会自动查看结果，同意后直接进入刚才的页面。",
	given:      "申请人在有效期内可以访问，到期自动结束。需要时可以提前收回。",
	hours:      " 小时", minutes: " 分钟", below: " 及其下的全部页面",
}

var enAccess = accessLabels{
	accessRows: accessRows{Who: "Requested by", Departments: "Department", Wanted: "Page", Route: "Access to",
		Reason: "Reason", For: "For", Requested: "Requested", Approver: "Approver", By: "Answered by", Word: "Message",
		Until: "Valid until", Over: "Ended", Why: "Why it ended"},
	ReasonField: "Reason", WordField: "A message to the requester (optional)", Send: "Send request", Approve: "Approve",
	Deny: "Deny", Take: "Take back", Continue: "Continue", Again: "Look now", Renew: "Request again",
	headings: map[string]string{
		AccessForm: "Request access", AccessWaiting: "Waiting for an answer", AccessDecide: "Request for access",
		AccessGranted: "Approved", AccessDenied: "Denied", AccessExpired: "The request has expired",
		AccessEnded: "Access has ended",
	},
	texts: map[string]string{
		AccessForm: "You cannot open this page now. The approvers get a work notification in DingTalk.",
		AccessWaiting: "The approvers have a work notification in DingTalk. This page looks for the answer by itself " +
			"and then goes on to the page you asked for.",
		AccessDecide: "If you approve, the person has access to everything named under “Access to”, not only to this page, " +
			"for the time given. The first answer counts.",
		AccessGranted: "The request was approved.",
		AccessDenied:  "The request was denied.",
		AccessExpired: "Nobody answered within 24 hours, so the request has ended. You can ask again.",
		AccessEnded:   "The request or the access has ended.",
	},
	wrongs: map[string]string{
		WrongReason:   "Give a reason of at most 200 characters.",
		WrongDuration: "Choose one of the times listed.",
		WrongTooMany:  "Too many of your requests are waiting, or were made today. Try again later.",
		WrongNone:     "There is nobody who could answer. Ask your administrator.",
		WrongOver:     "Somebody has answered this request, or it has ended.",
	},
	ends: map[string]string{
		"time":          "The time of the access is over. You can ask again.",
		"taken_back":    "An approver or an administrator has ended the access or the request.",
		"left":          "The requester is no longer a member, which ended the request or access.",
		"route_changed": "The rule of this page has changed, which ended the request or access. You can ask again.",
	},
	unnotified: "The approver may not have been told. You can send them the address of this page.",
	looks:      "The request is made. This page looks for the answer by itself and then goes on to the page you asked for.",
	given:      "The requester has access until the time below. You can take it back before then.",
	hours:      " h", minutes: " min", below: " and everything below it",
}
