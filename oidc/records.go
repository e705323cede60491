package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"dinggate/store"
	"dinggate/store/grant"
)

// Sealer seals records of the store, bound to their names; keyring.Keyring implements it.
type Sealer interface {
	// SealRecord seals plain so that only OpenRecord with the same name opens it.
	SealRecord(name string, plain []byte) ([]byte, error)
	// OpenRecord returns what SealRecord was given. old reports that the record is sealed with a
	// key that will be removed and should be sealed again. An error means that this deployment did
	// not seal it under this name, or with a key that has been removed.
	OpenRecord(name string, box []byte) (plain []byte, old bool, err error)
}

// records are sealed JSON in the store. A record that cannot be opened was written by another
// program, or with a removed secret: it is treated as absent and overwritten.
type records struct {
	store grant.Store
	seal  Sealer
}

// recordKey hides the subject of a record from a reader of the store (threats C17).
func recordKey(kind string, parts ...string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + strings.Join(parts, "\x00")))
	return "oidc:" + kind + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// read decodes a record into to. raw is for write to compare, also if the record cannot be opened;
// nil if there is none.
func (r records) read(ctx context.Context, key string, to any) (raw []byte, found bool, err error) {
	raw, err = r.store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("oidc: reading a record: %w", err)
	}
	plain, _, err := r.seal.OpenRecord(key, raw)
	if err != nil || json.Unmarshal(plain, to) != nil {
		return raw, false, nil
	}
	return raw, true, nil
}

// errChanged means that the record has changed.
var errChanged = errors.New("oidc: the record has changed")

// write replaces raw by v, or returns errChanged.
func (r records) write(ctx context.Context, key string, raw []byte, v any, ttl time.Duration) error {
	plain, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("oidc: keeping a record: %w", err)
	}
	box, err := r.seal.SealRecord(key, plain)
	if err != nil {
		return fmt.Errorf("oidc: keeping a record: %w", err)
	}
	if raw == nil {
		err = r.store.Add(ctx, key, box, ttl)
	} else {
		err = r.store.Swap(ctx, key, raw, box, ttl)
	}
	if errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound) {
		return errChanged
	}
	if err != nil {
		return fmt.Errorf("oidc: keeping a record: %w", err)
	}
	return nil
}

// take returns and deletes a record.
func (r records) take(ctx context.Context, key string, to any) (found bool, err error) {
	raw, err := r.store.Take(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("oidc: reading a record: %w", err)
	}
	plain, _, err := r.seal.OpenRecord(key, raw)
	return err == nil && json.Unmarshal(plain, to) == nil, nil
}

// updates bounds how often an update is repeated because other callers write meanwhile.
const updates = 20

// update changes a record; change reports whether to write it, and gets the zero value if there is
// no record.
func update[T any](ctx context.Context, r records, key string, ttl time.Duration,
	change func(v *T, found bool) (bool, error)) error {
	for range updates {
		var v T
		raw, found, err := r.read(ctx, key, &v)
		if err != nil {
			return err
		}
		write, err := change(&v, found)
		if err != nil || !write {
			return err
		}
		if err := r.write(ctx, key, raw, v, ttl); !errors.Is(err, errChanged) {
			return err
		}
	}
	return errChanged
}
