package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// controlAPI is the control path: the methods of Platform over HTTP, for shells.
// doc.go has the documents.
type controlAPI struct{ p *Platform }

// handler refuses requests from pages of other origins: a demo runs beside a browser.
func (c controlAPI) handler() http.Handler {
	m := http.NewServeMux()
	on := func(pattern string, do func(body []byte) (any, error)) {
		m.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			body, ok := readBody(w, r)
			if !ok {
				return
			}
			answer, err := do(body)
			if err != nil {
				writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
				return
			}
			writeJSON(w, http.StatusOK, answer)
		})
	}
	on("GET /_simulator/faults", func([]byte) (any, error) { return c.p.Faults(), nil })
	on("POST /_simulator/faults", c.faults)
	on("DELETE /_simulator/faults", func([]byte) (any, error) { c.p.ClearFaults(); return c.p.Faults(), nil })
	on("GET /_simulator/people", func([]byte) (any, error) { return c.listPeople(), nil })
	on("POST /_simulator/people", c.people)
	on("POST /_simulator/departments", c.departments)
	on("POST /_simulator/apps", c.apps)
	on("GET /_simulator/clock", c.clock)
	on("POST /_simulator/clock", c.clock)
	on("GET /_simulator/calls", func([]byte) (any, error) { return c.p.AllCalls(), nil })
	on("DELETE /_simulator/calls", func([]byte) (any, error) { c.p.ResetCalls(); return c.p.AllCalls(), nil })
	on("POST /_simulator/codes", c.codes)
	on("POST /_simulator/tokens", c.tokens)
	on("POST /_simulator/callback", c.callback)
	on("POST /_simulator/events", c.events)
	on("GET /_simulator/events", func([]byte) (any, error) {
		return map[string]any{"deliveries": c.p.Deliveries(), "complaints": c.p.Complaints()}, nil
	})
	on("GET /_simulator/streams", func([]byte) (any, error) { return map[string]int{"open": c.p.Streams()}, nil })
	on("POST /_simulator/streams", c.streams)
	on("GET /_simulator/messages", func([]byte) (any, error) { return c.p.Messages(), nil })
	m.HandleFunc("GET /_simulator/inbox", c.inbox)
	return http.NewCrossOriginProtection().Handler(m)
}

// decodeDocument reads one document; an unknown key is an error.
func decodeDocument[T any](body []byte) (T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, fmt.Errorf("simulator: reading the document: %w", err)
	}
	return v, nil
}

var okDocument = map[string]bool{"ok": true}

func (c controlAPI) faults(body []byte) (any, error) {
	list, err := decodeDocument[[]Fault](body)
	if one := bytes.TrimSpace(body); len(one) > 0 && one[0] == '{' {
		var f Fault
		f, err = decodeDocument[Fault](body)
		list = []Fault{f}
	}
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(list, func(f Fault) bool { return f.Do.name == "" }) {
		return nil, fmt.Errorf("simulator: a fault without \"do\"")
	}
	for _, f := range list {
		c.p.Fault(f)
	}
	return c.p.Faults(), nil
}

func (c controlAPI) listPeople() []Person {
	defer c.p.lock()()
	list := []Person{}
	for _, who := range c.p.org.people {
		list = append(list, *who.clone())
	}
	return list
}

func (c controlAPI) people(body []byte) (any, error) {
	o, err := decodeDocument[struct {
		Do, ID, Name string
		UserID       string `json:"user_id"`
		Departments  []int64
		Roles        []int64
		Person       json.RawMessage
	}](body)
	if err != nil {
		return nil, err
	}
	var who Person
	if o.Person != nil {
		if who, err = decodeDocument[Person](o.Person); err != nil {
			return nil, err
		}
	}
	switch o.Do {
	case "join":
		err = c.p.Join(who)
	case "outsider":
		err = c.p.AddOutsider(who)
	case "external":
		err = c.p.AddExternal(who)
	case "leave":
		err = c.p.Leave(o.ID)
	case "disable":
		err = c.p.Disable(o.ID)
	case "migrate":
		err = c.p.Migrate(o.ID, who.UnionID)
	case "withhold":
		err = c.p.Withhold(o.ID)
	case "enable":
		err = c.p.Enable(o.ID)
	case "activate":
		err = c.p.Activate(o.ID)
	case "move":
		err = c.p.Move(o.ID, o.Departments...)
	case "rename":
		err = c.p.Rename(o.ID, o.Name)
	case "roles":
		err = c.p.SetRoles(o.ID, o.Roles...)
	case "reassign":
		err = c.p.Reassign(o.UserID, who)
	case "change":
		if o.Person == nil {
			return nil, fmt.Errorf("simulator: people: nothing to change")
		}
		err = c.p.Change(o.ID, func(now *Person) {
			next := now.clone() // decoding into a slice would write into its array
			if json.Unmarshal(o.Person, next) == nil {
				*now = *next
			}
		})
	default:
		err = fmt.Errorf("simulator: people: %q is nothing to do", o.Do)
	}
	return okDocument, err
}

func (c controlAPI) departments(body []byte) (any, error) {
	o, err := decodeDocument[struct {
		Do         string
		Department Department
	}](body)
	if err != nil {
		return nil, err
	}
	switch o.Do {
	case "add":
		err = c.p.AddDepartment(o.Department)
	case "change":
		err = c.p.ChangeDepartment(o.Department.ID, func(d *Department) { *d = o.Department })
	case "remove":
		err = c.p.RemoveDepartment(o.Department.ID)
	default:
		err = fmt.Errorf("simulator: departments: %q is nothing to do", o.Do)
	}
	return okDocument, err
}

// apps sets the switches that the document names, or adds an app that is new.
func (c controlAPI) apps(body []byte) (any, error) {
	a, err := decodeDocument[App](body)
	if err != nil {
		return nil, err
	}
	unlock := c.p.lock()
	known := c.p.apps.get(a.ClientID) != nil
	unlock()
	if !known {
		return okDocument, c.p.AddApp(a)
	}
	return okDocument, c.p.ChangeApp(a.ClientID, func(now *App) {
		next := now.clone()
		if json.Unmarshal(body, next) == nil {
			*now = *next
		}
	})
}

func (c controlAPI) clock(body []byte) (any, error) {
	if len(body) > 0 {
		o, err := decodeDocument[struct{ Advance string }](body)
		if err != nil {
			return nil, err
		}
		d, err := time.ParseDuration(o.Advance)
		if err != nil {
			return nil, fmt.Errorf("simulator: clock: %w", err)
		}
		c.p.Advance(d)
	}
	return map[string]time.Time{"now": c.p.Time()}, nil
}

func (c controlAPI) codes(body []byte) (any, error) {
	o, err := decodeDocument[struct {
		Kind     Kind
		Person   string
		ClientID string `json:"client_id"`
	}](body)
	if err != nil {
		return nil, err
	}
	text, err := c.p.Code(o.Kind, o.ClientID, o.Person)
	return map[string]string{"code": text}, err
}

func (c controlAPI) tokens(body []byte) (any, error) {
	o, err := decodeDocument[struct {
		Do       string
		ClientID string `json:"client_id"`
	}](body)
	if err == nil && o.Do != "kill" {
		err = fmt.Errorf("simulator: tokens: %q is nothing to do", o.Do)
	}
	if err != nil {
		return nil, err
	}
	return okDocument, c.p.KillAppToken(o.ClientID)
}

func (c controlAPI) callback(body []byte) (any, error) {
	o, err := decodeDocument[struct{ Form CallbackForm }](body)
	if err != nil {
		return nil, err
	}
	c.p.SetCallback(o.Form)
	return okDocument, nil
}

func (c controlAPI) events(body []byte) (any, error) {
	e, err := decodeDocument[Event](body)
	if err == nil && e.Type == "" {
		err = fmt.Errorf("simulator: an event without \"type\"")
	}
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": c.p.EmitEvent(e)}, nil
}

func (c controlAPI) streams(body []byte) (any, error) {
	o, err := decodeDocument[struct {
		Do   string
		ID   bool   // disconnect with a message id
		Text string // for raw
	}](body)
	if err != nil {
		return nil, err
	}
	switch o.Do {
	case "ping":
		err = c.p.Ping(c.p.life.ctx)
	case "disconnect":
		c.p.Disconnect(o.ID)
	case "drop":
		c.p.DropStreams()
	case "mute", "unmute":
		c.p.Mute(o.Do == "mute")
	case "raw":
		c.p.SendRaw(o.Text)
	default:
		err = fmt.Errorf("simulator: streams: %q is nothing to do", o.Do)
	}
	return okDocument, err
}
