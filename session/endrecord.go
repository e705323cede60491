package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"dinggate/internal/identity"
	"dinggate/session/revocation"
	"dinggate/store"

	"golang.org/x/sync/errgroup"
)

var errUnreadable = errors.New("the record cannot be decoded")

// end returns the end of a person's sessions.
func (r *records) end(ctx context.Context, key identity.Key) (end revocation.Revocation, found bool, err error) {
	text, err := r.store.Get(ctx, r.personKey("end", key))
	if errors.Is(err, store.ErrNotFound) {
		return end, false, nil
	}
	if err != nil {
		return end, false, unavailable("looking up a person", err)
	}
	if end, found = readEnd(string(text)); !found {
		return end, false, unavailable("looking up a person", errUnreadable)
	}
	return end, true, nil
}

// readEnd parses a record end:…: the time in Unix milliseconds; for a local account a slash and the
// fingerprint that is spared, and a slash and the time until which it is not, if there is one; a
// blank, the reason.
func readEnd(text string) (end revocation.Revocation, ok bool) {
	moment, reason, ok := strings.Cut(text, " ")
	ms, spare, _ := strings.Cut(moment, "/")
	before, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || !ok {
		return revocation.Revocation{}, false
	}
	end = revocation.Revocation{Before: time.UnixMilli(before), Reason: reason}
	spare, all, some := strings.Cut(spare, "/")
	if some {
		until, err := strconv.ParseInt(all, 10, 64)
		if err != nil {
			return end, true
		}
		end.All = time.UnixMilli(until)
	}
	end.Spare, _ = strconv.ParseUint(spare, 16, 64) // if it is malformed, no session is spared
	return end, true
}

func writeEnd(end revocation.Revocation) []byte {
	if end.Spare != 0 && !end.All.IsZero() {
		return fmt.Appendf(nil, "%d/%x/%d %s", end.Before.UnixMilli(), end.Spare, end.All.UnixMilli(), end.Reason)
	}
	if end.Spare != 0 {
		return fmt.Appendf(nil, "%d/%x %s", end.Before.UnixMilli(), end.Spare, end.Reason)
	}
	return fmt.Appendf(nil, "%d %s", end.Before.UnixMilli(), end.Reason)
}

// writeEnds returns a func that writes a revocation of people to the Store; nil
// without a Store.
func (r *records) writeEnds(keys []identity.Key, end revocation.Revocation) func(context.Context) error {
	if r.store == nil {
		return nil
	}
	end.Before = time.UnixMilli(end.Before.UnixMilli()) // as it is read
	return func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		for _, key := range keys {
			g.Go(func() error { return r.extendEnd(ctx, key, end) })
		}
		return g.Wait()
	}
}

// extendEnd makes the record of a person end what it ended before and what the given end does: one
// that is sent late, or comes from a clock that is behind, must not replace a later one. It reads
// again what it wrote, since other replicas do the same; every Redis user may GET and SET.
func (r *records) extendEnd(ctx context.Context, key identity.Key, end revocation.Revocation) error {
	for range 8 {
		known, found, err := r.end(ctx, key)
		if err != nil && !errors.Is(err, errUnreadable) {
			return err
		}
		write := end
		if found {
			if write = revocation.Merge(known, end); revocation.Same(write, known) {
				return nil
			}
		}
		if err := r.store.Put(ctx, r.personKey("end", key), writeEnd(write), r.config.Lifetime+2*skew); err != nil {
			return err
		}
	}
	return errors.New("other replicas change the record all the time")
}
