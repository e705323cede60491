package admin

import (
	"fmt"
	"strings"
	"time"

	"dinggate/internal/i18n"
)

// Fact is one line of the state, as text.
type Fact struct {
	Name, Value string
	Bad         bool // an operator should look at it
}

// Facts returns the status page as lines, for the console.
func (s *Status) Facts(in i18n.Language) (list []Fact) {
	r := s.report(in)
	v := statusView{r, in}
	add := func(name, value string, bad bool) { list = append(list, Fact{name, value, bad}) }
	add(v.T("version"), strings.TrimSpace(r.Host+" · "+r.Version), false)
	add(v.T("started"), v.Time(r.Started), false)
	store := v.T("up")
	switch {
	case r.Store.Up:
	case r.Store.Slots > 0:
		store = v.T("partly") + " " + v.Percent(r.Store.Slots)
	default:
		store = v.T("down")
	}
	add(v.T("store"), r.Store.Kind+" · "+store, !r.Store.Up)
	if journal := r.Store.Journal; journal != nil {
		text := v.T("heard")
		if !*journal {
			text = v.T("deaf")
		}
		add(v.T("store"), text, !*journal)
	}
	if r.Store.Unsent > 0 {
		add(v.T("unsent"), fmt.Sprint(r.Store.Unsent), true)
	}
	if r.Stream != nil {
		if r.Stream.Connected == nil {
			add(v.T("stream"), v.T("unconnected"), true)
		} else {
			add(v.T("stream"), v.T("connected")+" "+v.Time(r.Stream.Connected), false)
		}
		add(v.T("event"), v.Time(r.Stream.LastEvent), false)
	}
	if len(r.DingTalk) == 0 {
		add(v.T("dingtalk"), v.T("nothing"), false)
	}
	for _, c := range r.DingTalk {
		text := v.T("well") + " " + v.Time(c.LastOK)
		if c.LastError != nil && c.Failing {
			text = strings.TrimSpace(v.T("ill") + " " + v.Time(c.LastError) + " " + c.Result + " " + c.Code)
		}
		add(v.T("dingtalk")+" "+c.Call, text, c.Failing)
	}
	if audit := r.Audit; audit != nil && !audit.Up {
		text := v.T("auditLost")
		if audit.Denies {
			text = v.T("auditDenies")
		}
		add(v.T("audit"), text, true)
	}
	if r.Sessions.OnGrace > 0 {
		add(v.T("grace"), fmt.Sprint(r.Sessions.OnGrace), true)
	}
	if !r.Reload.Successful {
		add(v.T("reload"), v.T("refusedReload"), true)
	} else {
		add(v.T("reload"), v.T("servingSince")+" "+r.Reload.Serving.Local().Format(time.DateTime), false)
	}
	return list
}
