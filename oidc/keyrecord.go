package oidc

import (
	"context"
	"errors"

	"dinggate/oidc/keys"
	"dinggate/store/grant"
)

// KeyRecord stores the keys of an organisation in a store, for keys.Keeper. A record that cannot
// be opened, since its secret was removed, is treated as missing: new keys replace it, and tokens
// that the old keys signed are no longer valid.
func KeyRecord(realm string, s grant.Store, seal Sealer) (
	read func(context.Context) (keys.Record, []byte, error),
	write func(context.Context, keys.Record, []byte) (bool, error)) {
	r, key := records{s, seal}, recordKey("keys", realm)
	read = func(ctx context.Context) (record keys.Record, version []byte, err error) {
		version, _, err = r.read(ctx, key, &record)
		return record, version, err
	}
	write = func(ctx context.Context, record keys.Record, version []byte) (bool, error) {
		err := r.write(ctx, key, version, record, keys.RecordLife)
		if errors.Is(err, errChanged) {
			return false, nil
		}
		return err == nil, err
	}
	return read, write
}
