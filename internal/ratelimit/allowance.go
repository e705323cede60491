package ratelimit

import (
	"context"
	"errors"
	"time"
)

// Class is the kind of a waiting caller. The lowest class goes first.
type Class int

// The classes of callers.
const (
	SignIn  Class = iota // a person waits for a page
	Overdue              // the last confirmation of a session's person is too old: a request waits, or soon will
	Event                // an event reported a change
	Due                  // in the background, at its scheduled time
	classes
)

// Mode is what a Draw takes.
type Mode int

const (
	Both    Mode = iota // a call of the budget, to be made now
	Reserve             // calls of the budget that are made later, each with Paid
	Paid                // a call that was reserved, to be made now
)

// Draw requests from an Allowance one call of each of these names; it gets all or none.
type Draw struct {
	Replica string // the requesting process: its waiters expire soon after its last draw
	Names   []string
	Class   Class
	Mode    Mode
	Rate    int // calls a second of each name

	// Ticket is the caller's place among those of class SignIn, as Place returned it: a lower one
	// goes first, on any replica. 0 is no place; below 0 is before those, in this process, and of
	// class Overdue also a caller because of an event. If the draw succeeds, ID leaves the queue.
	Ticket int64
	ID     string
}

// Drawn is the answer to a Draw.
type Drawn struct {
	OK       bool
	Wait     time.Duration // otherwise: when to try again
	Replicas int           // processes with recent draws, including this one
}

// Place is a position in the queue of sign-ins.
type Place struct {
	Ticket int64 // lower ones are earlier
	Ahead  int   // how many earlier ones still wait
	Queue  int   // how many wait in total
}

// Allowance is what a Budget draws on. All implementations follow the same rules:
//
//   - a name has Rate calls a second, and up to three that were not used in time;
//     calls leave one by one, at most Rate+1 a second;
//   - a class waits while a lower one does, except that events have one call a second
//     and name while overdue people wait. While sign-ins wait, the others have one call
//     a second and name together, events first, then overdue ones. An overdue person
//     whom an event named has the calls of both classes;
//   - after Throttled there are no calls of the name for a while, and then fewer a
//     second, increasing again within a minute.
//
// Safe for concurrent use. An error means that the state is unknown.
type Allowance interface {
	Draw(ctx context.Context, d Draw) (Drawn, error)

	// Place returns the place of id in the queue of sign-ins. If it has none, it gets the place of
	// its previous ticket, otherwise a new one behind all others. Unused places expire after
	// PlaceLife. The error is ErrFull if MaxPlaces wait.
	Place(ctx context.Context, id string, ticket int64) (Place, error)

	// Throttled records that DingTalk throttled a call of this name.
	Throttled(ctx context.Context, name string) error
}

// Bounds of the queue of sign-ins.
const (
	PlaceLife = 30 * time.Second
	MaxPlaces = 50_000
)

// How throttling slows a name down, and how long a waiter is valid after its last draw.
const (
	firstHold   = 500 * time.Millisecond
	longestHold = 8 * time.Second
	sameRow     = 5 * time.Second // throttling within this time after a pause belongs to the same series
	regain      = time.Minute     // until the whole rate is available again
	markLife    = 200 * time.Millisecond
	classPause  = 100 * time.Millisecond // while another class goes first
	lowestShare = 0.25
	slower      = 0.8
	late        = 3 // unused calls that can be made later; they leave one by one all the same
)

// usualOrder is the order of the classes. reserveOrder is that of the one call a second
// that remains while sign-ins wait, or that events have while overdue people wait: if
// DingTalk's limit is too low for everyone, some people are overdue all the time, and a
// leaver whom an event names would stay as long.
var (
	usualOrder   = [classes]int{SignIn: 0, Overdue: 1, Event: 2, Due: 3}
	reserveOrder = [classes]int{SignIn: 0, Event: 1, Overdue: 2, Due: 3}
)

var errNoNames = errors.New("ratelimit: a draw of nothing")
