package server

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"dinggate/internal/keyring"
	"dinggate/internal/web"
	"dinggate/proxy/login"
	"dinggate/store"
)

// refusal is one refusal: of a sign-in, or by the rule of a route.
type refusal struct {
	At     int64      `json:"t"` // Unix nanoseconds
	Name   string     `json:"n,omitempty"`
	User   string     `json:"u,omitempty"`
	UserID string     `json:"i,omitempty"`
	Code   string     `json:"c,omitempty"`
	Host   string     `json:"h,omitempty"` // of a refusal by a rule
	Route  string     `json:"r,omitempty"` // of a refusal by a rule, as configured
	Client netip.Addr `json:"a,omitzero"`
	Device string     `json:"d,omitempty"`
}

// refusals holds the latest refusals of all replicas that share a Store, for the console.
//
//	add ─► pending ─► run, every refusalFlush ─► refusalLog in the Store ─► list
//
// A refusal never waits for the Store. Refusals that cannot be written stay pending.
type refusals struct {
	mu      sync.Mutex
	pending []refusal // not written yet, the oldest first
	dropped int       // removed from pending because it was full

	wake    chan struct{}
	writing sync.Mutex // the previous configuration may still be writing
	log     refusalLog
}

const (
	refusalsMax  = 2_000 // pending, and listed
	refusalsFor  = 24 * time.Hour
	refusalFlush = time.Second
	refusalRetry = 5 * time.Second
)

// newRefusals returns the refusals that are stored in s.
func newRefusals(s store.Swapper) *refusals {
	return &refusals{wake: make(chan struct{}, 1), log: refusalLog{store: s}}
}

func (r *refusals) add(one refusal) {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.pending = append(r.pending, one)
	if over := len(r.pending) - refusalsMax; over > 0 {
		r.pending = slices.Delete(r.pending, 0, over)
		r.dropped += over
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run writes the pending refusals until ctx ends, and once more afterwards.
func (r *refusals) run(ctx context.Context, k *keyring.Keyring) {
	if r == nil {
		<-ctx.Done()
		return
	}
	for wait := refusalFlush; ; {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), refusalTimeout)
			defer cancel()
			_ = r.flush(last, k) // the process ends: a lost refusal cannot be reported
			return
		case <-r.wake:
		}
		timer := time.NewTimer(wait) // a refused page sends more than one request
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		if wait = refusalFlush; r.flush(context.WithoutCancel(ctx), k) != nil {
			wait = refusalRetry
			select {
			case r.wake <- struct{}{}:
			default:
			}
		}
	}
}

// flush writes the pending refusals.
func (r *refusals) flush(ctx context.Context, k *keyring.Keyring) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	batch, dropped := slices.Clone(r.pending), r.dropped
	r.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	n, err := r.log.append(ctx, k, batch)
	r.mu.Lock()
	defer r.mu.Unlock()
	n = max(0, n-(r.dropped-dropped)) // these were removed meanwhile
	r.pending = slices.Delete(r.pending, 0, min(n, len(r.pending)))
	return err
}

// list returns the refusals of the last day, the newest first. An error means that some
// may be missing.
func (r *refusals) list(ctx context.Context, k *keyring.Keyring, now time.Time) (list []refusal, err error) {
	if r == nil {
		return nil, nil
	}
	r.mu.Lock()
	list = slices.Clone(r.pending) // before the Store: an entry that is written meanwhile is in both
	r.mu.Unlock()
	written, err := r.log.read(ctx, k)
	list = append(list, written...)
	seen, since := map[refusal]bool{}, now.Add(-refusalsFor).UnixNano()
	list = slices.DeleteFunc(list, func(one refusal) bool {
		out := one.At <= since || seen[one]
		seen[one] = true
		return out
	})
	slices.SortStableFunc(list, func(a, b refusal) int { return int(max(-1, min(1, b.At-a.At))) })
	return list[:min(len(list), refusalsMax)], err
}

// ofSignIn returns the refusal of a sign-in.
func ofSignIn(e login.Event, now time.Time) refusal {
	user := e.User
	if user == "" {
		user = e.UserID
	}
	if user == "" {
		user = e.UnionID
	}
	return refusal{At: now.UnixNano(), Name: cutName(e.Name), User: cutName(user), UserID: cutName(e.UserID), Code: e.Code,
		Client: e.Client, Device: web.Device(e.UserAgent)}
}

func cutName(s string) string {
	if runes := []rune(s); len(runes) > 100 {
		return string(runes[:100])
	}
	return s
}
