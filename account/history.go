package account

import (
	"net/netip"
	"time"

	"dinggate/internal/ratelimit"
)

// history remembers successful and failed attempts. It determines the order in
// which passwords are verified. bcrypt is slow on purpose: a few dozen addresses
// with wrong passwords exceed the capacity. They wait behind all other clients
// and take turns among themselves.
type history struct {
	good    ratelimit.Recent[pair] // signed in from this address; its Life is provenFor
	pairs   ratelimit.Recent[pair] // failed
	clients ratelimit.Recent[netip.Prefix]
	names   ratelimit.Recent[string] // of accounts or not: the order must not reveal which accounts exist (threats T6)
}

// Classes of ratelimit.Queue.
const (
	proven     = iota // signed in from this address before
	clean             // no failure lately, neither from the address nor for the name
	named             // others fail for that name, but its owner may sign in too
	mistyped          // a few failures from the address
	suspicious        // many failures from the address
)

const (
	fewFailures = 3
	provenFor   = 30 * 24 * time.Hour

	queueWithin = 3 * time.Second // how long an attempt waits for its turn
	cleanWithin = 8 * time.Second // for clean clients, which wait beside the first attempts of many attackers
)

func (h *history) class(who pair, now time.Time) int {
	failed := h.clients.Count(who.client, now)
	switch {
	case h.good.Count(who, now) > 0 && h.pairs.Count(who, now) < fewFailures:
		return proven
	case failed >= fewFailures:
		return suspicious
	case failed > 0:
		return mistyped
	case h.names.Count(who.name, now) > 0:
		return named
	}
	return clean
}

func within(class int) time.Duration {
	if class <= clean {
		return cleanWithin
	}
	return queueWithin
}

func (h *history) failed(who pair, now time.Time) {
	h.pairs.Add(who, now)
	h.clients.Add(who.client, now)
	h.names.Add(who.name, now)
}

func (h *history) succeeded(who pair, now time.Time) {
	h.good.Add(who, now)
	h.pairs.Forget(who)
}
