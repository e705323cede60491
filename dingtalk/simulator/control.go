package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// controlPath is what a shell uses where a test calls methods; doc.go has the
// documents. Pages of other origins may not: a demo runs beside a browser.
func (p *Platform) controlPath() http.Handler {
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
	on("GET /_simulator/faults", func([]byte) (any, error) { return p.Faults(), nil })
	on("POST /_simulator/faults", p.controlFaults)
	on("DELETE /_simulator/faults", func([]byte) (any, error) { p.ClearFaults(); return p.Faults(), nil })
	on("GET /_simulator/people", func([]byte) (any, error) { return p.listPeople(), nil })
	on("POST /_simulator/people", p.controlPeople)
	on("POST /_simulator/departments", p.controlDepartments)
	on("POST /_simulator/apps", p.controlApps)
	on("GET /_simulator/clock", p.controlClock)
	on("POST /_simulator/clock", p.controlClock)
	on("GET /_simulator/calls", func([]byte) (any, error) { return p.AllCalls(), nil })
	on("DELETE /_simulator/calls", func([]byte) (any, error) { p.ResetCalls(); return p.AllCalls(), nil })
	on("POST /_simulator/codes", p.controlCodes)
	on("POST /_simulator/tokens", p.controlTokens)
	on("POST /_simulator/callback", p.controlCallback)
	on("POST /_simulator/events", p.controlEvents)
	on("GET /_simulator/events", func([]byte) (any, error) {
		return map[string]any{"deliveries": p.Deliveries(), "complaints": p.Complaints()}, nil
	})
	on("GET /_simulator/streams", func([]byte) (any, error) { return map[string]int{"open": p.Streams()}, nil })
	on("POST /_simulator/streams", p.controlStreams)
	return http.NewCrossOriginProtection().Handler(m)
}

// decodeDocument reads one document; an unknown key is a mistake, not a wish.
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

func (p *Platform) controlFaults(body []byte) (any, error) {
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
		p.Fault(f)
	}
	return p.Faults(), nil
}

func (p *Platform) listPeople() []Person {
	defer p.lock()()
	list := []Person{}
	for _, who := range p.people {
		list = append(list, *who.clone())
	}
	return list
}

func (p *Platform) controlPeople(body []byte) (any, error) {
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
		err = p.Join(who)
	case "outsider":
		err = p.AddOutsider(who)
	case "external":
		err = p.AddExternal(who)
	case "leave":
		err = p.Leave(o.ID)
	case "disable":
		err = p.Disable(o.ID)
	case "enable":
		err = p.Enable(o.ID)
	case "activate":
		err = p.Activate(o.ID)
	case "move":
		err = p.Move(o.ID, o.Departments...)
	case "rename":
		err = p.Rename(o.ID, o.Name)
	case "roles":
		err = p.SetRoles(o.ID, o.Roles...)
	case "reassign":
		err = p.Reassign(o.UserID, who)
	case "change":
		if o.Person == nil {
			return nil, fmt.Errorf("simulator: people: nothing to change")
		}
		err = p.Change(o.ID, func(now *Person) {
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

func (p *Platform) controlDepartments(body []byte) (any, error) {
	o, err := decodeDocument[struct {
		Do         string
		Department Department
	}](body)
	if err != nil {
		return nil, err
	}
	switch o.Do {
	case "add":
		err = p.AddDepartment(o.Department)
	case "change":
		err = p.ChangeDepartment(o.Department.ID, func(d *Department) { *d = o.Department })
	case "remove":
		err = p.RemoveDepartment(o.Department.ID)
	default:
		err = fmt.Errorf("simulator: departments: %q is nothing to do", o.Do)
	}
	return okDocument, err
}

// controlApps throws the switches that the document names, or adds an app that is new.
func (p *Platform) controlApps(body []byte) (any, error) {
	a, err := decodeDocument[App](body)
	if err != nil {
		return nil, err
	}
	unlock := p.lock()
	known := p.app(a.ClientID) != nil
	unlock()
	if !known {
		return okDocument, p.AddApp(a)
	}
	return okDocument, p.ChangeApp(a.ClientID, func(now *App) {
		next := now.clone()
		if json.Unmarshal(body, next) == nil {
			*now = *next
		}
	})
}

func (p *Platform) controlClock(body []byte) (any, error) {
	if len(body) > 0 {
		o, err := decodeDocument[struct{ Advance string }](body)
		if err != nil {
			return nil, err
		}
		d, err := time.ParseDuration(o.Advance)
		if err != nil {
			return nil, fmt.Errorf("simulator: clock: %w", err)
		}
		p.Advance(d)
	}
	return map[string]time.Time{"now": p.Time()}, nil
}

func (p *Platform) controlCodes(body []byte) (any, error) {
	o, err := decodeDocument[struct {
		Kind     Kind
		Person   string
		ClientID string `json:"client_id"`
	}](body)
	if err != nil {
		return nil, err
	}
	text, err := p.Code(o.Kind, o.ClientID, o.Person)
	return map[string]string{"code": text}, err
}

func (p *Platform) controlTokens(body []byte) (any, error) {
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
	return okDocument, p.KillAppToken(o.ClientID)
}

func (p *Platform) controlCallback(body []byte) (any, error) {
	o, err := decodeDocument[struct{ Form CallbackForm }](body)
	if err != nil {
		return nil, err
	}
	p.SetCallback(o.Form)
	return okDocument, nil
}

func (p *Platform) controlEvents(body []byte) (any, error) {
	e, err := decodeDocument[Event](body)
	if err == nil && e.Type == "" {
		err = fmt.Errorf("simulator: an event without \"type\"")
	}
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": p.EmitEvent(e)}, nil
}

func (p *Platform) controlStreams(body []byte) (any, error) {
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
		err = p.Ping(p.ctx)
	case "disconnect":
		p.Disconnect(o.ID)
	case "drop":
		p.DropStreams()
	case "mute", "unmute":
		p.Mute(o.Do == "mute")
	case "raw":
		p.SendRaw(o.Text)
	default:
		err = fmt.Errorf("simulator: streams: %q is nothing to do", o.Do)
	}
	return okDocument, err
}
