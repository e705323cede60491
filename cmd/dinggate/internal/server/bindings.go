package server

import (
	"context"
	"sync/atomic"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/keyring"
)

// bindingKeys seals bindings with the secrets of the current configuration: stores
// outlive a reload, which may change the secrets. State.Serve sets them.
type bindingKeys struct {
	now atomic.Pointer[keyring.Keyring]
}

var _ account.Sealer = (*bindingKeys)(nil)

func newBindingKeys(cfg *config.Config) (*bindingKeys, error) {
	keyring, err := keyring.New(cfg.Cookie.Secrets)
	if err != nil {
		return nil, err
	}
	k := &bindingKeys{}
	k.now.Store(keyring)
	return k, nil
}

// use sets the current secrets. The nil bindingKeys seals nothing.
func (k *bindingKeys) use(keyring *keyring.Keyring) {
	if k != nil {
		k.now.Store(keyring)
	}
}

func (k *bindingKeys) SealRecord(name string, plain []byte) ([]byte, error) {
	return k.now.Load().SealRecord(name, plain)
}

func (k *bindingKeys) OpenRecord(name string, box []byte) ([]byte, bool, error) {
	return k.now.Load().OpenRecord(name, box)
}

// renewEvery is the delay before another attempt to renew the bindings of a store.
const renewEvery = time.Minute

// renewBindings seals again the bindings under a secret that will be removed, and logs
// records that are not valid. It retries until it succeeds or ctx ends.
func renewBindings(ctx context.Context, bindings account.Bindings, t Observability) {
	for {
		done, err := bindings.Renew(ctx)
		if done.Sealed > 0 {
			t.Log.Info("bindings were sealed with the first of cookie.secrets", "count", done.Sealed)
		}
		if done.Foreign > 0 {
			t.Log.Error(
				"bindings cannot be decrypted and have no effect: another program wrote them, or the secret they were "+
					"sealed with was removed", "count", done.Foreign,
				"hint", "dinggate bindings list shows those that do; import the others again",
			)
		}
		if done.Unsealed > 0 {
			t.Log.Error(
				"bindings of an older release are not sealed and have no effect: another program with access to Redis "+
					"may have written them", "count", done.Unsealed,
				"hint", "dinggate bindings list > FILE, look it through, dinggate bindings import FILE",
			)
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		t.Log.Warn("renewing bindings failed, it will be retried", "err", err.Error())
		again := time.NewTimer(renewEvery)
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-again.C:
		}
	}
}
