package simulator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// How often an event is sent before it is dropped, and how many attempts and
// protocol errors are stored.
const (
	maxAttempts = 5
	logMax      = 1_000
)

// Event is an event that the organisation sends to its apps.
type Event struct {
	Type string `json:"type"` // "user_leave_org" …
	Data any    `json:"data"` // becomes JSON text; a string is sent unchanged, JSON or not
	ID   string `json:"id"`   // "" = a new one; a known one is delivered once more
	Corp string `json:"corp"` // "" = the platform's
}

// Delivery is one attempt to deliver an event to one app.
type Delivery struct {
	Event   string `json:"event"` // its ID
	Type    string `json:"type"`
	App     string `json:"app"`
	Stream  int    `json:"stream"` // which connection; 0 = none was there
	Attempt int    `json:"attempt"`
	Answer  string `json:"answer"` // SUCCESS, LATER, "" if none came, otherwise what is wrong with it
}

// emittedEvent is an event and the state of its deliveries, which
// eventLog.mu guards.
type emittedEvent struct {
	event   Event
	data    string
	created time.Time
	open    int           // apps that have not received it yet
	lost    bool          // an app did not get it
	done    chan struct{} // closed when open is 0
}

// eventLog records the events and their deliveries.
type eventLog struct {
	mu         sync.Mutex
	emitted    boundedMap[*emittedEvent]
	inFlight   int // deliveries that have not ended
	deliveries []Delivery
}

// Emit sends an event to every app that has, or had, a stream, and returns its id.
// It does not wait: see Delivered.
func (p *Platform) Emit(eventType string, data any) string {
	return p.EmitEvent(Event{Type: eventType, Data: data})
}

// EmitEvent is Emit without its limits: other organisations, repeated ids, data that is not JSON.
func (p *Platform) EmitEvent(event Event) string {
	defer p.lock()()
	event.ID, event.Corp = cmp.Or(event.ID, strings.ToLower(random("event-"))), cmp.Or(event.Corp, p.org.corpID)
	e := &emittedEvent{event: event, created: p.now(), done: make(chan struct{})}
	switch data := event.Data.(type) {
	case string:
		e.data = data
	default:
		text, err := json.Marshal(data)
		if err != nil {
			text = []byte("{}")
		}
		e.data = string(text)
	}
	var deliveries []func() bool
	for _, a := range p.apps.list {
		if p.hasSubscribed(a.ClientID) {
			deliveries = append(deliveries, eventSender{p, e, a.ClientID}.overStream)
		}
	}
	p.deliver(e, deliveries, p.life.run)
	return event.ID
}

// Repeat delivers an event a second time under the same id, as DingTalk may.
func (p *Platform) Repeat(id string) error {
	e, ok := p.eventLog.get(id)
	if !ok {
		return fmt.Errorf("simulator: repeating event %q: there was none", id)
	}
	p.EmitEvent(e.event)
	return nil
}

func (l *eventLog) get(id string) (*emittedEvent, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.emitted.get(id)
}

// deliver records the event and starts its deliveries by run. The event is
// lost if none starts.
func (l *eventLog) deliver(e *emittedEvent, deliveries []func() bool, run func(func()) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.emitted.put(e.event.ID, e)
	if l.inFlight >= eventsMax {
		deliveries = nil
	}
	for _, deliver := range deliveries {
		if run(func() { l.finishDelivery(e, deliver()) }) {
			e.open++
		}
	}
	l.inFlight += e.open
	if e.open == 0 {
		e.lost = true
		close(e.done)
	}
}

func (l *eventLog) finishDelivery(e *emittedEvent, delivered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.lost = e.lost || !delivered
	l.inFlight--
	if e.open--; e.open == 0 {
		close(e.done)
	}
}

func (l *eventLog) recordDelivery(d Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliveries = append(l.deliveries, d)
	l.deliveries = l.deliveries[max(0, len(l.deliveries)-logMax):]
}

// Delivered waits until every app has acknowledged the event with SUCCESS. It
// fails if there was no app to send it to, or one never acknowledged it.
func (l *eventLog) Delivered(ctx context.Context, id string) error {
	e, ok := l.get(id)
	if !ok {
		return fmt.Errorf("simulator: waiting for event %q: there was none", id)
	}
	select {
	case <-e.done:
	case <-ctx.Done():
		return fmt.Errorf("simulator: waiting for event %q: %w", id, context.Cause(ctx))
	}
	if e.lost {
		return fmt.Errorf("simulator: event %q was not delivered", id)
	}
	return nil
}

// Deliveries returns the last thousand attempts.
func (l *eventLog) Deliveries() []Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Delivery{}, l.deliveries...)
}

// eventSender sends one event to one app.
type eventSender struct {
	p     *Platform
	event *emittedEvent
	app   string // client id
}

// record records one attempt.
func (s eventSender) record(attempt, stream int, answer string) {
	e := s.event.event
	s.p.recordDelivery(Delivery{
		Event:   e.ID,
		Type:    e.Type,
		App:     s.app,
		Stream:  stream,
		Attempt: attempt,
		Answer:  answer,
	})
}

// overStream sends the event over one of the app's streams until the app
// acknowledges it with SUCCESS. Each other attempt takes the whole ackTimeout.
func (s eventSender) overStream() bool {
	for attempt := range maxAttempts {
		ctx, cancel := context.WithTimeout(s.p.life.ctx, s.p.ackTimeout())
		stream, answer := 0, ""
		if l := s.p.pickLink(s.app); l != nil {
			stream, answer = l.id, s.sendEvent(ctx, l)
		}
		s.record(attempt+1, stream, answer)
		if answer != "SUCCESS" {
			<-ctx.Done()
		}
		cancel()
		if answer == "SUCCESS" || s.p.life.ctx.Err() != nil {
			return answer == "SUCCESS"
		}
	}
	return false
}

// sendEvent is one attempt on one stream.
func (s eventSender) sendEvent(ctx context.Context, l *link) string {
	e := s.event
	reply, err := s.p.sendAndWait(ctx,
		l, frame{SpecVersion: "1.0", Type: "EVENT", Data: e.data, Headers: map[string]string{
			"topic": "*", "eventType": e.event.Type, "eventId": e.event.ID, "eventCorpId": e.event.Corp,
			"eventBornTime": millis(e.created), "eventUnifiedAppId": digest("app", l.app), "time": millis(s.p.Time()),
		}})
	if err != nil {
		return ""
	}
	status, err := acknowledgement(reply)
	if err != nil {
		s.p.reportProtocolError("event %s: %v", e.event.ID, err)
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
