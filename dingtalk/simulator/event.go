package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// How often an event is sent before it is given up, and how many attempts and
// complaints are remembered.
const (
	maxAttempts = 5
	logMax      = 1_000
)

// Event is what the organisation tells its apps.
type Event struct {
	Type string `json:"type"` // "user_leave_org" …
	Data any    `json:"data"` // becomes JSON text; a string is sent as it stands, JSON or not
	ID   string `json:"id"`   // "" = a new one; a known one is delivered once more
	Corp string `json:"corp"` // "" = the platform's
}

// Delivery is one attempt to tell one app.
type Delivery struct {
	Event   string `json:"event"` // its ID
	Type    string `json:"type"`
	App     string `json:"app"`
	Stream  int    `json:"stream"` // which connection; 0 = none was there, or HTTP push
	Attempt int    `json:"attempt"`
	Answer  string `json:"answer"` // SUCCESS, LATER, "" for silence, else what was wrong
}

// emittedEvent is an event with its deliveries.
type emittedEvent struct {
	event   Event
	data    string
	created time.Time
	open    int // apps still to be told
	lost    bool
	done    chan struct{} // closed when open is 0
}

// Emit sends an event to every app that has, or had, a stream or an HTTP push
// address, and returns its id. It does not wait: see Delivered.
func (p *Platform) Emit(eventType string, data any) string {
	return p.EmitEvent(Event{Type: eventType, Data: data})
}

// EmitEvent is Emit with every freedom: foreign organisations, repeated ids, data that is no JSON.
func (p *Platform) EmitEvent(e Event) string {
	defer p.lock()()
	e.ID, e.Corp = or(e.ID, strings.ToLower(random("event-"))), or(e.Corp, p.corp)
	s := &emittedEvent{event: e, created: p.now(), done: make(chan struct{})}
	switch data := e.Data.(type) {
	case string:
		s.data = data
	default:
		text, err := json.Marshal(data)
		if err != nil {
			text = []byte("{}")
		}
		s.data = string(text)
	}
	p.events.put(e.ID, s)
	for _, a := range p.apps {
		if p.closed || p.inFlight >= eventsMax {
			break // nobody can be told now: lost
		}
		if p.subscribed[a.ClientID] {
			s.open++
			p.work.Go(func() { p.finishDelivery(s, p.deliver(s, a.ClientID)) })
		}
		if a.Push.URL != "" {
			s.open++
			push := a.Push
			p.work.Go(func() { p.finishDelivery(s, p.push(s, a.ClientID, push)) })
		}
	}
	p.inFlight += s.open
	if s.open == 0 {
		s.lost = true
		close(s.done)
	}
	return e.ID
}

// Repeat delivers an event a second time under the same id, as DingTalk may.
func (p *Platform) Repeat(id string) error {
	unlock := p.lock()
	s, ok := p.events.get(id)
	unlock()
	if !ok {
		return fmt.Errorf("simulator: repeating event %q: there was none", id)
	}
	p.EmitEvent(s.event)
	return nil
}

// Delivered waits until every app has acknowledged the event with SUCCESS. It
// fails when nobody was there to be told, or an app was given up.
func (p *Platform) Delivered(ctx context.Context, id string) error {
	unlock := p.lock()
	s, ok := p.events.get(id)
	unlock()
	if !ok {
		return fmt.Errorf("simulator: waiting for event %q: there was none", id)
	}
	select {
	case <-s.done:
	case <-ctx.Done():
		return fmt.Errorf("simulator: waiting for event %q: %w", id, context.Cause(ctx))
	}
	if s.lost {
		return fmt.Errorf("simulator: event %q was not delivered", id)
	}
	return nil
}

// Deliveries are the last thousand attempts.
func (p *Platform) Deliveries() []Delivery {
	defer p.lock()()
	return append([]Delivery{}, p.deliveries...)
}

// Complaints are what clients did wrong on their streams: unreadable frames,
// acknowledgements of nothing, wrong answers to a ping.
func (p *Platform) Complaints() []string {
	defer p.lock()()
	return append([]string{}, p.protocolErrors...)
}

func (p *Platform) finishDelivery(s *emittedEvent, told bool) {
	defer p.lock()()
	s.lost = s.lost || !told
	p.inFlight--
	if s.open--; s.open == 0 {
		close(s.done)
	}
}

func (p *Platform) recordDelivery(d Delivery) {
	defer p.lock()()
	p.deliveries = append(p.deliveries, d)
	p.deliveries = p.deliveries[max(0, len(p.deliveries)-logMax):]
}

func (p *Platform) reportProtocolError(format string, args ...any) {
	defer p.lock()()
	p.protocolErrors = append(p.protocolErrors, fmt.Sprintf(format, args...))
	p.protocolErrors = p.protocolErrors[max(0, len(p.protocolErrors)-logMax):]
}

func (p *Platform) ackTimeout() time.Duration {
	if p.AckWithin > 0 {
		return p.AckWithin
	}
	return 3 * time.Second
}

// deliver tells one app over one of its streams, again and again until it
// says SUCCESS. Each attempt takes the full patience unless it succeeds.
func (p *Platform) deliver(s *emittedEvent, app string) bool {
	for attempt := range maxAttempts {
		ctx, cancel := context.WithTimeout(p.ctx, p.ackTimeout())
		d := Delivery{Event: s.event.ID, Type: s.event.Type, App: app, Attempt: attempt + 1}
		if l := p.pickLink(app); l != nil {
			d.Stream = l.id
			d.Answer = p.sendEvent(ctx, l, s)
		}
		p.recordDelivery(d)
		if d.Answer != "SUCCESS" {
			<-ctx.Done()
		}
		cancel()
		if d.Answer == "SUCCESS" || p.ctx.Err() != nil {
			return d.Answer == "SUCCESS"
		}
	}
	return false
}

// sendEvent is one attempt on one stream.
func (p *Platform) sendEvent(ctx context.Context, l *link, s *emittedEvent) string {
	reply, err := p.sendAndWait(ctx, l, frame{SpecVersion: "1.0", Type: "EVENT", Data: s.data, Headers: map[string]string{
		"topic": "*", "eventType": s.event.Type, "eventId": s.event.ID, "eventCorpId": s.event.Corp,
		"eventBornTime": millis(s.created), "eventUnifiedAppId": digest("app", l.app), "time": millis(p.Time()),
	}})
	if err != nil {
		return ""
	}
	status, err := acknowledgement(reply)
	if err != nil {
		p.reportProtocolError("event %s: %v", s.event.ID, err)
		return err.Error()
	}
	return status
}

// acknowledgement reads SUCCESS or LATER; LATER may come with 200 or 500.
func acknowledgement(f frame) (string, error) {
	var data struct{ Status string }
	if err := json.Unmarshal([]byte(f.Data), &data); err != nil {
		return "", errors.New("data of the acknowledgement is no JSON text")
	}
	switch {
	case !slices.Contains([]string{"SUCCESS", "LATER"}, data.Status):
		return "", fmt.Errorf("status %q", data.Status)
	case f.Code != 200 && (f.Code != 500 || data.Status != "LATER"):
		return "", fmt.Errorf("code %d with %s", f.Code, data.Status)
	}
	return data.Status, nil
}
