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
		return end, false, unavailable("looking up a person", errors.New("the record cannot be decoded"))
	}
	return end, true, nil
}

// readEnd parses a record end:…: the time in Unix milliseconds; for a local account a slash and
// the fingerprint that is spared; a blank, the reason.
func readEnd(text string) (end revocation.Revocation, ok bool) {
	moment, reason, ok := strings.Cut(text, " ")
	ms, spare, _ := strings.Cut(moment, "/")
	before, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || !ok {
		return revocation.Revocation{}, false
	}
	end = revocation.Revocation{Before: time.UnixMilli(before), Reason: reason}
	end.Spare, _ = strconv.ParseUint(spare, 16, 64) // if it is malformed, no session is spared
	return end, true
}

func writeEnd(end revocation.Revocation) []byte {
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
	text := writeEnd(end)
	return func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		for _, key := range keys {
			g.Go(func() error { return r.store.Put(ctx, r.personKey("end", key), text, r.config.Lifetime+2*skew) })
		}
		return g.Wait()
	}
}
