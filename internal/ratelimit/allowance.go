package ratelimit

import (
	"context"
	"errors"
	"time"
)

// Class says who waits for a call. Where several do, the lower one goes first.
type Class int

// The classes of callers.
const (
	SignIn  Class = iota // a person waits in front of a page
	Overdue              // a session's person was confirmed too long ago: a request waits, or soon will
	Event                // something is said to have changed
	Due                  // in the background, since the time has come
	classes
)

// Mode says what a Draw takes.
type Mode int

const (
	Both    Mode = iota // a call of the budget, to be made now
	Reserve             // calls of the budget that are made later, each with Paid
	Paid                // a call that was reserved, to be made now
)

// Draw asks an Allowance for one call of each of these names; it gets all or none.
type Draw struct {
	Replica string // the process that asks: what it said of its waiters lapses soon after it falls silent
	Names   []string
	Class   Class
	Mode    Mode
	Rate    int // calls a second of each name

	// Ticket is the caller's place among those of class SignIn, as Place gave it: a lower one
	// goes first, on whichever replica. 0: no place. ID leaves the queue when the
	// draw succeeds.
	Ticket int64
	ID     string
}

// Drawn is the answer to a Draw.
type Drawn struct {
	OK       bool
	Wait     time.Duration // else: when to ask again
	Replicas int           // processes that asked lately, this one among them
}

// Place is a position in the queue of sign-ins.
type Place struct {
	Ticket int64 // lower ones were there before
	Ahead  int   // how many of them still wait
	Queue  int   // how many wait in all
}

// Allowance is what a Budget draws on. Its implementations keep to the same law:
//
//   - a name yields Rate calls a second, and up to three that nobody took in time;
//     calls leave one by one, at most Rate+1 a second;
//   - a class waits while a lower one does. While sign-ins wait, the others
//     have one call a second and name among them, events first, then those overdue;
//   - after Throttled nobody gets a call of the name for a while, and then fewer
//     a second, growing back within a minute.
//
// Safe for concurrent use. An error means that nothing is known.
type Allowance interface {
	Draw(ctx context.Context, d Draw) (Drawn, error)

	// Place gives the place of id in the queue of sign-ins: where it has none, that of the
	// ticket which it once had, else a new one behind all others. Places that nobody
	// asks for are empty after PlaceLife. ErrFull when MaxPlaces wait.
	Place(ctx context.Context, id string, ticket int64) (Place, error)

	// Throttled notes that a call of this name was refused as one too many.
	Throttled(ctx context.Context, name string) error
}

// Bounds of the queue of sign-ins.
const (
	PlaceLife = 30 * time.Second
	MaxPlaces = 50_000
)

// How a refusal slows a name down, and how long a waiter counts after its last word.
const (
	firstHold   = 500 * time.Millisecond
	longestHold = 8 * time.Second
	sameRow     = 5 * time.Second // refusals that follow a hold this closely are of one row
	regain      = time.Minute     // until the whole rate is back
	markLife    = 200 * time.Millisecond
	classPause  = 100 * time.Millisecond // while another class goes first
	lowestShare = 0.25
	slower      = 0.8
	late        = 3 // calls that a budget catches up with; they leave one by one all the same
)

// reserveOrder is who gets the call a second that sign-ins leave.
var reserveOrder = [classes]int{SignIn: 0, Event: 1, Overdue: 2, Due: 3}

var errNoNames = errors.New("ratelimit: a draw of nothing")
