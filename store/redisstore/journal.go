package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"dinggate/store"

	"github.com/redis/go-redis/v9"
)

// The journal is a capped stream, not pub/sub: a stream can be read again, so that a follower that
// lost its connection misses nothing, and can detect whether it missed anything. A cluster has
// three (journal_streams.go).
//
// A follower first appends an anchor of its own; when it reads the anchor, it has read everything
// older, and knows that the server accepts writes. From then on, after every wait, it makes two
// more requests in one round trip: a write that changes nothing (a demoted master refuses it), and
// a read of the entry it read last. As long as that entry exists, nothing after it was cut off,
// since streams are cut from the old end. If it is gone (FLUSHALL, a failover that lost it, more
// entries at once than the stream holds), entries may be missing, and the follower reports that
// and begins again.
const (
	journalKey   = "journal"
	journalMax   = 10_000                 // entries, about 1 MB
	journalLife  = 24 * time.Hour         // expiry of an unused stream
	journalBlock = 500 * time.Millisecond // how long one read waits
	// what is read again after a failure: a replica that became master may be behind
	journalBack  = 2 * time.Minute
	journalBatch = 500
	entryField   = "e"
	anchorField  = "a"
	idField      = "i" // the same in each stream that has the entry
)

var errGap = errors.New("entries may be missing")

// Append adds an entry.
func (s *Store) Append(ctx context.Context, entry []byte) error {
	values := []string{entryField, string(entry)}
	if len(s.streams) > 1 {
		values = append(values, idField, rand.Text())
	}
	return s.do(ctx, "append", func(ctx context.Context) error {
		if len(entry) == 0 || len(entry) > store.MaxEntry {
			return fmt.Errorf("an entry of %d bytes", len(entry))
		}
		return s.addToMost(ctx, values)
	})
}

func (s *Store) add(ctx context.Context, stream string, values []string) (id string, err error) {
	var added *redis.StringCmd
	_, err = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		added = p.XAdd(ctx, &redis.XAddArgs{
			Stream: stream,
			MaxLen: journalMax,
			Approx: true,
			Values: values,
		})
		p.PExpire(ctx, stream, journalLife)
		return nil
	})
	if err != nil {
		return "", err
	}
	return added.Val(), nil
}

// follower follows one stream.
type follower struct {
	s       *Store
	stream  string
	receive func(redis.XMessage)
	live    func(up bool, why error)
	alive   bool
	last    string // the entry read last; "" if none
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for ctx.Err() == nil {
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if f.alive {
			f.alive = false
			f.live(false, err)
		}
		if errors.Is(err, errGap) {
			continue
		}
		pause.Reset(journalBlock)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}
}

// follow runs until it fails.
func (f *follower) follow(ctx context.Context) error {
	anchor, err := f.anchor(ctx)
	if err != nil {
		return err
	}
	from, newest := back(anchor), anchor
	if f.last != "" && before(back(f.last), from) {
		from = back(f.last)
	}
	for {
		entries, err := f.read(ctx, from)
		if err != nil {
			return err
		}
		for _, e := range entries {
			f.receive(e)
			from, newest, f.last = e.ID, e.ID, e.ID
		}
		if err := f.confirm(ctx, newest); err != nil {
			return err
		}
		if !f.alive && !before(from, anchor) {
			f.alive = true
			f.live(true, nil)
		}
	}
}

func (f *follower) anchor(ctx context.Context) (id string, err error) {
	err = f.s.do(ctx, "follow", func(ctx context.Context) error {
		id, err = f.s.add(ctx, f.stream, []string{anchorField, "1"})
		return err
	})
	return id, err
}

// read waits for entries after from; none is no error.
func (f *follower) read(ctx context.Context, from string) ([]redis.XMessage, error) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, journalBlock+f.s.patience) // bounds the wait on a half-open connection
	defer cancel()
	streams, err := f.s.client.XRead(ctx, &redis.XReadArgs{
		Streams: []string{f.stream, from},
		Count:   journalBatch,
		Block:   journalBlock,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil && f.s.Observe != nil && ctx.Err() != context.Canceled {
		f.s.Observe(ctx, "follow", time.Since(begin), err)
	}
	if err != nil || len(streams) == 0 {
		return nil, err
	}
	return streams[0].Messages, nil
}

// confirm verifies that nothing after the entry newest is missing.
func (f *follower) confirm(ctx context.Context, newest string) error {
	var found *redis.XMessageSliceCmd
	err := f.s.do(ctx, "follow", func(ctx context.Context) error {
		_, err := f.s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.XTrimMaxLenApprox(ctx, f.stream, 2*journalMax, 0) // a write that cuts nothing
			found = p.XRangeN(ctx, f.stream, newest, newest, 1)
			return nil
		})
		return err
	})
	if err == nil && len(found.Val()) == 0 {
		err = errGap
	}
	return err
}

// back is the id of the time journalBack before id.
func back(id string) string {
	ms, _ := parts(id)
	return strconv.FormatUint(ms-min(ms, uint64(journalBack.Milliseconds())), 10) + "-0"
}

// before compares two ids.
func before(a, b string) bool {
	aMS, aSeq := parts(a)
	bMS, bSeq := parts(b)
	return aMS < bMS || aMS == bMS && aSeq < bSeq
}

func parts(id string) (ms, seq uint64) {
	first, second, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(first, 10, 64)
	seq, _ = strconv.ParseUint(second, 10, 64)
	return ms, seq
}
