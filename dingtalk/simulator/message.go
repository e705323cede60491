package simulator

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// DingTalk's limits of work notifications. Beyond them a call succeeds and DingTalk
// delivers nothing.
const (
	messageBytes     = 2048
	receiversMax     = 100
	messagesPerDay   = 500  // to one person
	messagesAMinute  = 5000 // receivers of one app
	withheldDaily    = "143105"
	withheldRepeated = "143106"
	withheldMinute   = "143104"
	withheldUnknown  = "invalid" // not a member, or outside the scope of the app
)

// Message is a work notification to one person.
type Message struct {
	Task     int64     `json:"task"`
	App      string    `json:"app"`
	UserID   string    `json:"user_id"`
	Title    string    `json:"title"`
	Markdown string    `json:"markdown"`
	Button   string    `json:"button"`
	URL      string    `json:"url"`
	At       time.Time `json:"at"`

	// Withheld is why the person did not receive it: "invalid", or DingTalk's code of
	// the limit. "" = delivered.
	Withheld string `json:"withheld"`
}

// messageBox holds the newest messages and the counts for the limits.
type messageBox struct {
	list   []Message
	task   int64
	day    string
	counts map[string]int  // app and userid → delivered today
	seen   map[string]bool // app, userid and content of today
	minute []time.Time     // when messages were delivered during the last minute
}

// Messages are the work notifications, the oldest first, at most 10,000.
func (p *Platform) Messages() []Message {
	defer p.lock()()
	return append([]Message{}, p.messages.list...)
}

// Inbox returns the messages delivered to a person, the newest first.
func (p *Platform) Inbox(userID string) []Message {
	list := slices.DeleteFunc(p.Messages(), func(m Message) bool { return m.UserID != userID || m.Withheld != "" })
	slices.Reverse(list)
	return list
}

// card is the only kind of message that the simulator supports.
type card struct {
	Type string `json:"msgtype"`
	Card struct {
		Title    string `json:"title"`
		Markdown string `json:"markdown"`
		Button   string `json:"single_title"`
		URL      string `json:"single_url"`
	} `json:"action_card"`
}

// readCard reads the argument msg: an object, or its text in a form.
func readCard(arg any) (m card, text string, ok bool) {
	data, isText := arg.(string)
	if !isText {
		raw, err := json.Marshal(arg)
		if err != nil {
			return m, "", false
		}
		data = string(raw)
	}
	err := json.Unmarshal([]byte(data), &m)
	return m, data, err == nil && len(data) <= messageBytes && m.Type == "action_card" && m.Card.Title != "" &&
		m.Card.Markdown != "" && m.Card.Button != "" && len([]rune(m.Card.Button)) <= 20 &&
		m.Card.URL != "" && len(m.Card.URL) <= 500
}

func sendMessage(p *Platform, c *call) (any, *apiError) {
	agent, ok := c.number("agent_id")
	if !ok || agent != c.app.agentID() {
		return nil, apiErrorFor("40056")
	}
	receivers := strings.Split(c.text("userid_list"), ",")
	m, text, ok := readCard(c.args["msg"])
	if !ok || c.text("userid_list") == "" || len(receivers) > receiversMax {
		return nil, apiErrorFor("40035").withText("不合法的参数")
	}
	b := &p.messages
	b.task++
	for _, id := range receivers {
		sent := Message{
			Task:     b.task,
			App:      c.app.ClientID,
			UserID:   id,
			Title:    m.Card.Title,
			Markdown: m.Card.Markdown,
			Button:   m.Card.Button,
			URL:      m.Card.URL,
			At:       p.now(),
		}
		if who := p.org.personByUserID(id); who == nil || !who.member() || !p.org.uses(c.app, who) {
			sent.Withheld = withheldUnknown
		} else {
			sent.Withheld = b.limit(c.app.ClientID+" "+id, text, p.now())
		}
		b.list = append(b.list, sent)
	}
	if over := len(b.list) - messagesMax; over > 0 {
		b.list = slices.Delete(b.list, 0, over)
	}
	return flat{"task_id": b.task}, nil
}

func (a *App) agentID() int64 {
	if a.AgentID != 0 {
		return a.AgentID
	}
	return DemoAgentID
}

// limit counts a message to one person and returns the limit that withholds it.
func (b *messageBox) limit(to, text string, now time.Time) string {
	if day := now.In(time.FixedZone("CST", 8*3600)).Format(time.DateOnly); day != b.day {
		b.day, b.counts, b.seen = day, map[string]int{}, map[string]bool{}
	}
	b.minute = slices.DeleteFunc(b.minute, func(t time.Time) bool { return now.Sub(t) >= time.Minute || t.After(now) })
	key := digest(to, text)
	switch {
	case b.seen[key]:
		return withheldRepeated
	case b.counts[to] >= messagesPerDay:
		return withheldDaily
	case len(b.minute) >= messagesAMinute:
		return withheldMinute
	}
	if len(b.seen) < codesMax {
		b.seen[key] = true
	}
	b.counts[to]++ // only members are counted: no more than there are people
	b.minute = append(b.minute, now)
	return ""
}

func sendResult(p *Platform, c *call) (any, *apiError) {
	agent, ok := c.number("agent_id")
	task, known := c.number("task_id")
	if !ok || !known || agent != c.app.agentID() {
		return nil, apiErrorFor("40056")
	}
	invalid, forbidden, unread, list := []string{}, []string{}, []string{}, []map[string]any{}
	for _, m := range p.messages.list {
		switch {
		case m.Task != task || m.App != c.app.ClientID:
		case m.Withheld == withheldUnknown:
			invalid = append(invalid, m.UserID)
		case m.Withheld != "":
			forbidden = append(forbidden, m.UserID)
			list = append(list, map[string]any{"userid": m.UserID, "code": m.Withheld, "count": 1})
		default:
			unread = append(unread, m.UserID)
		}
	}
	return flat{"send_result": map[string]any{
		"invalid_user_id_list":   invalid,
		"forbidden_user_id_list": forbidden,
		"failed_user_id_list":    []string{},
		"read_user_id_list":      []string{},
		"unread_user_id_list":    unread,
		"invalid_dept_id_list":   []int64{},
		"forbidden_list":         list,
	}}, nil
}
