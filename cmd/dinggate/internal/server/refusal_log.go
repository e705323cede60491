package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"dinggate/internal/keyring"
	"dinggate/store"
)

// refusalLog stores the refusals of all replicas in a Store: a ring of sealed records that
// are filled in order. Record number n is in slot n % refusalSlots, so that the newest
// record replaces the oldest. Each record expires a day after its last entry. A record
// that does not open belongs to another secret and counts as absent.
type refusalLog struct {
	store store.Swapper
	at    uint64 // number of the last record written; only append uses it
	known bool   // at was read from the Store
}

// refusalRecord is one record.
type refusalRecord struct {
	Number uint64            `json:"n"`
	List   []json.RawMessage `json:"l"`

	raw []byte // as stored; nil: not stored
}

const (
	refusalSlots   = 10
	refusalsIn     = 250      // entries of one record
	refusalBytes   = 48 << 10 // of one record: every store accepts this size
	refusalTimeout = time.Second
	refusalSwaps   = 32
)

// spaces returns the prefixes of the records' names, one for each secret. Records are
// written with the first one.
func (l *refusalLog) spaces(k *keyring.Keyring) (list []string, err error) {
	secrets, err := k.Derive("refusals")
	if err != nil || len(secrets) == 0 {
		return nil, errors.Join(err, errors.New("refusals: there is no secret"))
	}
	for _, secret := range secrets {
		sum := sha256.Sum256(secret)
		list = append(list, "refusals:"+base64.RawURLEncoding.EncodeToString(sum[:12])+":")
	}
	return list, nil
}

func (l *refusalLog) slot(ctx context.Context, k *keyring.Keyring, space string, number uint64) (key string, r refusalRecord, err error) {
	key = space + strconv.FormatUint(number%refusalSlots, 10)
	ctx, cancel := context.WithTimeout(ctx, refusalTimeout)
	defer cancel()
	raw, err := l.store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return key, refusalRecord{}, nil
	}
	if err != nil {
		return key, refusalRecord{}, fmt.Errorf("refusals: reading: %w", err)
	}
	if plain, _, err := k.OpenRecord(key, raw); err != nil || json.Unmarshal(plain, &r) != nil {
		r = refusalRecord{}
	}
	r.raw = raw
	return key, r, nil
}

// read returns all stored refusals, in no particular order.
func (l *refusalLog) read(ctx context.Context, k *keyring.Keyring) (list []refusal, err error) {
	spaces, err := l.spaces(k)
	if err != nil {
		return nil, err
	}
	for _, space := range spaces {
		for n := range uint64(refusalSlots) {
			_, r, err := l.slot(ctx, k, space, n)
			if err != nil {
				return list, err // each further read would reach its deadline
			}
			for _, text := range r.List {
				var one refusal
				if json.Unmarshal(text, &one) == nil {
					list = append(list, one)
				}
			}
		}
	}
	return list, nil
}

// newest finds the record that is filled at present.
func (l *refusalLog) newest(ctx context.Context, k *keyring.Keyring, space string) error {
	for n := range uint64(refusalSlots) {
		_, r, err := l.slot(ctx, k, space, n)
		if err != nil {
			return err
		}
		l.at = max(l.at, r.Number)
	}
	l.known = true
	return nil
}

var errRefusalsContended = errors.New("refusals: other replicas change the record all the time")

// append adds entries, the oldest first, and reports how many were written.
func (l *refusalLog) append(ctx context.Context, k *keyring.Keyring, batch []refusal) (written int, err error) {
	spaces, err := l.spaces(k)
	if err == nil && !l.known {
		err = l.newest(ctx, k, spaces[0])
	}
	if err != nil {
		return 0, err
	}
	texts := make([]json.RawMessage, len(batch))
	for i := range batch {
		if texts[i], err = json.Marshal(batch[i]); err != nil {
			return 0, fmt.Errorf("refusals: %w", err)
		}
	}
	for range refusalSwaps + len(batch)/refusalsIn {
		if written == len(batch) {
			return written, nil
		}
		key, r, err := l.slot(ctx, k, spaces[0], l.at)
		if err != nil {
			return written, err
		}
		if r.Number > l.at { // the other replicas are a whole round ahead
			l.at = r.Number
			continue
		}
		if r.Number < l.at { // an older round, or none
			r.Number, r.List = l.at, nil
		}
		n := r.take(texts[written:])
		if n == 0 {
			l.at++
			continue
		}
		switch err := l.write(ctx, k, key, r); {
		case errors.Is(err, store.ErrExists), errors.Is(err, store.ErrNotFound): // another replica wrote the record first
		case err != nil:
			return written, err
		default:
			written += n
		}
	}
	if written == len(batch) {
		return written, nil
	}
	return written, errRefusalsContended
}

// take adds as many entries as fit into the record.
func (r *refusalRecord) take(texts []json.RawMessage) (n int) {
	size := 0
	for _, text := range r.List {
		size += len(text) + 1
	}
	for n < len(texts) && len(r.List) < refusalsIn && (size+len(texts[n]) < refusalBytes || len(r.List) == 0) {
		size += len(texts[n]) + 1
		r.List = append(r.List, texts[n])
		n++
	}
	return n
}

func (l *refusalLog) write(ctx context.Context, k *keyring.Keyring, key string, r refusalRecord) error {
	plain, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("refusals: %w", err)
	}
	box, err := k.SealRecord(key, plain)
	if err != nil {
		return fmt.Errorf("refusals: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, refusalTimeout)
	defer cancel()
	if r.raw == nil {
		return l.store.Add(ctx, key, box, refusalsFor)
	}
	return l.store.Swap(ctx, key, r.raw, box, refusalsFor)
}
