package server

import (
	"context"
	"sync/atomic"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/keyring"
)

// bindingKeys seals bindings under the secrets of the configuration that serves:
// stores outlive a reload, and a reload may bring other secrets. State.Serve sets
// them.
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

// use makes these the secrets of now. The nil bindingKeys seals nothing.
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

// renewEvery is the pause after a store did not let its bindings be renewed.
const renewEvery = time.Minute

// renewBindings seals anew what is under a secret that is about to go, and says
// what counts for nothing. It goes on until it is done or ctx ends.
func renewBindings(ctx context.Context, bindings account.Bindings, t Observability) {
	for {
		done, err := bindings.Renew(ctx)
		if done.Sealed > 0 {
			t.Log.Info("bindings are sealed under the first of cookie.secrets now", "count", done.Sealed)
		}
		if done.Foreign > 0 {
			t.Log.Error(
				"bindings do not open and count for nothing: another program wrote them, or the secret they were "+
					"sealed with is gone", "count", done.Foreign,
				"hint", "dinggate bindings list shows those that do; import the others again",
			)
		}
		if done.Unsealed > 0 {
			t.Log.Error(
				"bindings of an older release are not sealed and count for nothing: others who write to Redis "+
					"may have made them", "count", done.Unsealed,
				"hint", "dinggate bindings list > FILE, look it through, dinggate bindings import FILE",
			)
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		t.Log.Warn("bindings are not renewed yet", "err", err.Error())
		again := time.NewTimer(renewEvery)
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-again.C:
		}
	}
}
