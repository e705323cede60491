package account

import (
	"net/netip"
	"time"

	"dinggate/internal/ratelimit"
)

// history is who signed in and who failed lately: it says who waits for whom
// where passwords are verified. bcrypt is slow on purpose, so that a few dozen
// addresses with wrong passwords are more work than there is; they wait behind
// everybody else, and among themselves take turns.
type history struct {
	good    ratelimit.Recent[pair] // signed in from there; its Life is provenFor
	pairs   ratelimit.Recent[pair] // failed
	clients ratelimit.Recent[netip.Prefix]
	names   ratelimit.Recent[string] // of accounts or not: who waits must not tell which there are (threats T6)
}

// Classes of ratelimit.Queue.
const (
	proven     = iota // signed in from this address before
	clean             // nobody failed there lately, nor for that name
	named             // others fail for that name: the person may be there too
	mistyped          // a few failed there
	suspicious        // many did
)

const (
	fewFailures = 3
	provenFor   = 30 * 24 * time.Hour

	queueWithin = 3 * time.Second // a place is waited for
	cleanWithin = 8 * time.Second // by those who have done nothing: beside the first tries of a crowd
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
