package oidc

import (
	"context"
	"errors"

	"dinggate/oidc/keys"
	"dinggate/store/grant"
)

// KeyRecord keeps the keys of an organisation in a store, for keys.Keeper. A record
// that does not open, since its secret is gone, counts as none: new keys take its
// place, and tokens that the old ones signed verify no more.
func KeyRecord(realm string, s grant.Store, seal Sealer) (
	read func(context.Context) (keys.Record, []byte, error), write func(context.Context, keys.Record, []byte) (bool, error)) {
	r, key := records{s, seal}, recordKey("keys", realm)
	read = func(ctx context.Context) (record keys.Record, version []byte, err error) {
		version, _, err = r.read(ctx, key, &record)
		return record, version, err
	}
	write = func(ctx context.Context, record keys.Record, version []byte) (bool, error) {
		err := r.write(ctx, key, version, record, keys.Kept)
		if errors.Is(err, errChanged) {
			return false, nil
		}
		return err == nil, err
	}
	return read, write
}
