package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"dinggate/dingtalk/sso"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/store"
)

// issued lists the tokens that the clients of our SSO service received for each person.
// The lists are sealed in the Store, so that people can see and revoke the tokens. No
// decision depends on them: a token is valid whether it is listed or not.
type issued struct {
	store   store.Swapper
	keyring *keyring.Keyring
	realm   string
	service bool // see identity.KeyOf
	log     Observability
}

// issuedToken is one family of tokens.
type issuedToken struct {
	Client  string `json:"c"`
	Family  string `json:"f"`
	Session string `json:"s,omitempty"`
	Since   int64  `json:"t"` // Unix seconds
	Until   int64  `json:"u"`
}

const (
	issuedMax     = 50 // of one person; the oldest one is removed
	issuedTimeout = time.Second
	issuedSwaps   = 8
)

func newIssued(c settings, st *State) issued {
	return issued{store: st.Stores.SSO, keyring: c.keyring, realm: c.Realm(), service: c.SSO.On(), log: st.Observability}
}

func (i issued) key(u *identity.User) string {
	k := identity.KeyOf(u, i.service)
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%c\x00%s", i.realm, k.Kind, k.Text))
	return "sso:issued:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// read returns the record of a person. A record that does not open is overwritten later.
func (i issued) read(ctx context.Context, key string) (raw []byte, list []issuedToken, err error) {
	ctx, cancel := context.WithTimeout(ctx, issuedTimeout)
	defer cancel()
	raw, err = i.store.Get(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil, nil
	case err != nil:
		return nil, nil, fmt.Errorf("listing tokens: %w", err)
	}
	if plain, _, err := i.keyring.OpenRecord(key, raw); err == nil {
		_ = json.Unmarshal(plain, &list)
	}
	return raw, list, nil
}

// note adds a family. A failure is only logged: the tokens were issued already.
func (i issued) note(ctx context.Context, t sso.Issued) {
	one := issuedToken{t.Client, t.Family, t.Person.Session, t.Since.Unix(), t.Until.Unix()}
	err := i.change(ctx, &t.Person.User, func(list []issuedToken) []issuedToken { return append(list, one) })
	if err != nil {
		i.log.Log.Warn("sso", "err", err.Error())
	}
}

// forget removes families.
func (i issued) forget(ctx context.Context, u *identity.User, families ...string) error {
	return i.change(ctx, u, func(list []issuedToken) []issuedToken {
		return slices.DeleteFunc(list, func(t issuedToken) bool { return slices.Contains(families, t.Family) })
	})
}

var errIssuedChanges = errors.New("listing tokens: other replicas change the record all the time")

func (i issued) change(ctx context.Context, u *identity.User, step func([]issuedToken) []issuedToken) error {
	key := i.key(u)
	for range issuedSwaps {
		raw, list, err := i.read(ctx, key)
		if err != nil {
			return err
		}
		now := time.Now().Unix()
		list = step(slices.DeleteFunc(list, func(t issuedToken) bool { return t.Until <= now }))
		list = list[max(0, len(list)-issuedMax):]
		life := time.Minute
		for _, t := range list {
			life = max(life, time.Duration(t.Until-now)*time.Second+time.Minute)
		}
		plain, err := json.Marshal(list)
		if err != nil {
			return err
		}
		box, err := i.keyring.SealRecord(key, plain)
		if err != nil {
			return err
		}
		writing, cancel := context.WithTimeout(ctx, issuedTimeout)
		if raw == nil {
			err = i.store.Add(writing, key, box, life)
		} else {
			err = i.store.Swap(writing, key, raw, box, life)
		}
		cancel()
		if errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("listing tokens: %w", err)
		}
		return nil
	}
	return errIssuedChanges
}

// of lists the valid families of a person's clients.
func (i issued) of(ctx context.Context, u *identity.User, lives func(context.Context, string) (bool, error)) (
	list []issuedToken, err error) {
	_, all, err := i.read(ctx, i.key(u))
	if err != nil {
		return nil, err
	}
	now := time.Now().Unix()
	for _, t := range all {
		if t.Until <= now {
			continue
		}
		ok, err := lives(ctx, t.Family)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, t)
		}
	}
	return list, nil
}
