package session

import (
	"context"
	"errors"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/store"
)

// The record token:<id> is a box under the ticket's key, or under the keyring
// where the cookie carries the session:
//
//	version  1 byte, now 1
//	token    as the payload writes it
const tokenVersion = 1

func (m *Manager) sealToken(k *tokenState, t identity.Token) ([]byte, error) {
	plain, name := appendToken([]byte{tokenVersion}, t), m.recordKey("token", k.id)
	if k.ticket != nil {
		return keyring.SealBox(k.ticket.key, name, plain)
	}
	return m.Keyring.SealRecord(name, plain)
}

// openToken is nil for a record of a newer release, or one that does not open:
// then the session's own token is the newest we can read.
func (m *Manager) openToken(k *tokenState, box []byte) *identity.Token {
	name := m.recordKey("token", k.id)
	var plain []byte
	var err error
	if k.ticket != nil {
		plain, err = keyring.OpenBox(k.ticket.key, name, box)
	} else {
		plain, _, err = m.Keyring.OpenRecord(name, box)
	}
	if err != nil || len(plain) == 0 || len(plain) > maxRecord || plain[0] != tokenVersion {
		return nil
	}
	r := reader{rest: plain[1:]}
	t := &identity.Token{Access: r.text(), Refresh: r.text(), Expires: r.time()}
	if r.bad || len(r.rest) > 0 || t.Access == "" {
		return nil
	}
	return t
}

func (m *Manager) readToken(ctx context.Context, k *tokenState) (*identity.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	box, err := m.Store.Get(ctx, m.recordKey("token", k.id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, ill("reading a token", err)
	}
	return m.openToken(k, box), nil
}

// writeToken tries for a while: the token it replaces is used up.
func (m *Manager) writeToken(ctx context.Context, k *tokenState, t identity.Token) error {
	if m.Store == nil {
		return nil
	}
	box, err := m.sealToken(k, t)
	if err != nil {
		return err
	}
	life := k.expires.Sub(m.now()) + 2*skew
	if life <= 0 {
		return nil
	}
	pause := time.NewTicker(leasePoll)
	defer pause.Stop()
	for range 4 {
		once, cancel := context.WithTimeout(ctx, storeTimeout)
		err = m.Store.Put(once, m.recordKey("token", k.id), box, life)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ill("keeping a token", err)
		case <-pause.C:
		}
	}
	return ill("keeping a token", err)
}
