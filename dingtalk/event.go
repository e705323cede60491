package dingtalk

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Effect is what an event of the organisation means for sessions.
type Effect int

const (
	NoEffect         Effect = iota // nothing to do; also every unknown type
	Recheck                        // look these people, and the members of these departments and roles, up again
	Left                           // these people are no longer members
	OrganisationGone               // the organisation has no members any more
	AppChanged                     // the app was disabled or enabled, or its visibility changed: look everyone up again
)

// effects is the table of event types. A new department or role has no members
// yet.
var effects = map[string]Effect{
	"user_leave_org":    Left,
	"user_modify_org":   Recheck,
	"user_add_org":      Recheck,
	"user_active_org":   Recheck,
	"org_admin_add":     Recheck,
	"org_admin_remove":  Recheck,
	"label_user_change": Recheck,
	"org_dept_modify":   Recheck,
	"org_dept_remove":   Recheck,
	"label_conf_modify": Recheck,
	"label_conf_del":    Recheck,
	"org_remove":        OrganisationGone,

	"inner_app_status_change": AppChanged,
	"inner_app_scopes_change": AppChanged,
}

// EventTypes lists the types that have an effect, sorted: those to subscribe to.
func EventTypes() []string { return slices.Sorted(maps.Keys(effects)) }

// Event is a change in the organisation. It names people by userid, not by
// unionid: sessions store both.
type Event struct {
	ID      string // the same on redelivery
	Type    string // `user_leave_org` …
	Effect  Effect
	UserIDs []string

	// Departments and Roles that changed: their members are affected, those of a
	// department also through departments below it.
	Departments []int64
	Roles       []int64

	Status string // AppChanged: the app's new state in DingTalk's words (disable …); "" if not given

	Born time.Time // when it happened, by DingTalk's clock; zero if unknown
}

// frame is one text frame of the stream.
type frame struct {
	Type    string          `json:"type"`
	Headers frameHeaders    `json:"headers"`
	Header  frameHeaders    `json:"header"` // some samples use this spelling
	Data    json.RawMessage `json:"data"`   // a string that contains JSON
	ErrCode *flexInt        `json:"errCode"`
	ErrMsg  string          `json:"errMsg"`
}

type frameHeaders struct {
	Topic       string   `json:"topic"`
	MessageID   flexText `json:"messageId"`
	EventType   string   `json:"eventType"`
	EventID     flexText `json:"eventId"`
	EventCorpID string   `json:"eventCorpId"`
	BornTime    flexText `json:"eventBornTime"` // milliseconds
}

// flexText is a JSON string or number, as text.
type flexText string

func (s *flexText) UnmarshalJSON(data []byte) error {
	if data[0] != '"' {
		*s = flexText(strings.TrimSpace(string(data)))
		if n := json.Number(*s); n == "null" {
			*s = ""
		} else if _, err := n.Float64(); err != nil {
			return formatError("no text where it is due")
		}
		return nil
	}
	var text string
	if json.Unmarshal(data, &text) != nil {
		return formatError("no text where it is due")
	}
	*s = flexText(text)
	return nil
}

func readFrame(data []byte) (frame, error) {
	var f frame
	err := decode(data, &f)
	if f.Headers == (frameHeaders{}) {
		f.Headers = f.Header
	}
	return f, err
}

// payload is the text of data.
func (f frame) payload() string {
	var text string
	if json.Unmarshal(f.Data, &text) == nil {
		return text
	}
	return string(f.Data)
}

// changes are the types whose data names a department or a role, not people.
var changes = map[string]bool{"org_dept_modify": true, "org_dept_remove": true, "label_conf_modify": true,
	"label_conf_del": true}

// event parses f. An error means that data is unreadable: such an event names no
// people and is not requested again, because it would be the same.
func (f frame) event() (Event, error) {
	h := f.Headers
	e := Event{ID: string(h.EventID), Type: h.EventType, Effect: effects[h.EventType]}
	if ms, err := strconv.ParseInt(string(h.BornTime), 10, 64); err == nil && ms > 0 {
		e.Born = time.UnixMilli(ms)
	}
	if _, known := effects[h.EventType]; !known && strings.HasPrefix(h.EventType, aboutPeople) {
		return f.unknown(e), nil
	}
	if e.Effect == AppChanged {
		var data struct {
			Status flexText `json:"status"`
		}
		if decode([]byte(f.payload()), &data) == nil { // only for the log
			e.Status = redactor(nil).label(string(data.Status))
		}
		return e, nil
	}
	if e.Effect != Left && e.Effect != Recheck {
		return e, nil
	}
	var data struct {
		UserID     oneOrMany        `json:"userId"`
		UserIDList flexList[string] `json:"userIdList"` // label_user_change

		DeptID flexList[flexInt] `json:"deptId"` // org_dept_…
		// label_conf_…; in label_user_change, what these people gained or lost
		LabelIDList flexList[flexInt] `json:"labelIdList"`
	}
	if err := decode([]byte(f.payload()), &data); err != nil {
		return e, err
	}
	if changes[e.Type] {
		e.Departments, e.Roles = ids(data.DeptID), ids(data.LabelIDList)
		if len(e.Departments)+len(e.Roles) == 0 {
			return e, formatError("an event without department or role")
		}
		return e, nil
	}
	for _, id := range append(data.UserID, data.UserIDList...) {
		if validID(id) {
			e.UserIDs = append(e.UserIDs, id)
		}
	}
	if len(e.UserIDs) == 0 {
		return e, formatError("an event without userid")
	}
	return e, nil
}

// aboutPeople is the prefix of the types of events about members.
const aboutPeople = "user_"

// unknown decodes an event about members that is not documented for this kind of app:
// DingTalk may report with it that an account was disabled or migrated. It proves nothing,
// so the people that it names are looked up.
func (f frame) unknown(e Event) Event {
	var data struct {
		UserID     oneOrMany        `json:"userId"`
		UserIDList flexList[string] `json:"userIdList"`
	}
	if decode([]byte(f.payload()), &data) != nil {
		return e
	}
	for _, id := range append(data.UserID, data.UserIDList...) {
		if validID(id) {
			e.UserIDs, e.Effect = append(e.UserIDs, id), Recheck
		}
	}
	return e
}

func ids(list flexList[flexInt]) (all []int64) {
	for _, id := range list {
		all = append(all, int64(id))
	}
	return all
}

// oneOrMany is a list of ids, or one id.
type oneOrMany []string

func (l *oneOrMany) UnmarshalJSON(data []byte) error {
	var many flexList[string]
	if err := many.UnmarshalJSON(data); err == nil {
		*l = oneOrMany(many)
		return nil
	}
	var one string
	if json.Unmarshal(data, &one) != nil {
		return formatError("no list of ids where one is due")
	}
	*l = oneOrMany{one}
	return nil
}

// rememberedEvents bounds the ids that are remembered to recognize a repeated
// event: DingTalk delivers at least once.
const rememberedEvents = 4096

// seen remembers the last ids. The zero value is empty. Not safe for concurrent use.
type seen struct {
	ids  map[string]bool
	ring []string
	next int
}

// add remembers id in place of the oldest. The empty id is ignored.
func (s *seen) add(id string) {
	if id == "" || s.ids[id] {
		return
	}
	if s.ids == nil {
		s.ids, s.ring = map[string]bool{}, make([]string, rememberedEvents)
	}
	delete(s.ids, s.ring[s.next])
	s.ring[s.next], s.ids[id] = id, true
	s.next = (s.next + 1) % len(s.ring)
}
