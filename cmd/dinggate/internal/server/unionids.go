package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/session"
	"dinggate/store"
)

// unionIDs verifies the unionids that an SSO service returns. Bindings use them, and a
// service may return the same one for everyone: a unionid that two usernames claim
// identifies no one (threats T36). Both then count by their usernames, and the sessions
// that began with it end.
//
//	userinfo ─► a placeholder ─────────────────────────────► without it
//	        └─► Store: the owner? ─┬─ none: claim it ───────► with it
//	                               ├─ this person ──────────► with it
//	                               └─ another, or void ─────► without it, log, doctor, sessions end
//
// A claim is a sealed record in the Store that all replicas share: the username, a space,
// and `=`, or `!` for a void one.
type unionIDs struct {
	store   store.Store
	realm   string
	keyring *keyring.Keyring
	warn    func(error) // once a minute
	void    *voidIDs

	// revoke ends the sessions that began with a shared one; it is State.revokeUser.
	revoke func(ctx context.Context, who session.Person, reason string) error
}

// voidIDs counts the unionids that were found to identify no one since the start of the
// process, for status and metrics. It is bounded.
type voidIDs struct {
	mu   sync.Mutex
	keys map[string]bool // of the claims
}

func (v *voidIDs) add(key string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.keys == nil {
		v.keys = map[string]bool{}
	}
	if len(v.keys) < voidsMax {
		v.keys[key] = true
	}
}

func (v *voidIDs) len() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.keys)
}

const (
	claimLife = 400 * 24 * time.Hour // after the last sign-in
	voidLife  = 30 * 24 * time.Hour  // after two usernames had it: by then a person may have changed their username
	claimStep = 24 * time.Hour       // how often a claim is renewed
	claimsMax = 200_000
	voidsMax  = 1000
	claimWait = time.Second
)

func newUnionIDs(c settings, st *State) *unionIDs {
	return &unionIDs{
		store:   st.Stores.Claims,
		realm:   c.Realm(),
		keyring: c.keyring,
		void:    &st.voidIDs,
		revoke:  st.revokeUser,
		warn: oncePerMinute(func(err error) {
			st.Log.Error(
				"the SSO service returns one unionid for several people: it identifies no one, they count by their "+
					"usernames",
				"err", err.Error(), "hint",
				"have the service return each person's own unionid, or none; bindings by it do not count",
			)
		}),
	}
}

// Placeholder reports a text that programs use for an unknown value.
func Placeholder(id string) bool {
	id = strings.ToLower(strings.Trim(id, " \"'0"))
	switch id {
	case "", "-", "-1", "null", "nil", "none", "undefined", "unknown", "n/a", "na", "nan", "false", "true",
		"union_id", "unionid", "test":
		return true
	}
	return false
}

// judge returns the person without an unionid that identifies no one. An error means that
// the store failed: then the owner of the unionid is unknown.
func (u *unionIDs) judge(ctx context.Context, who identity.User) (identity.User, error) {
	if who.UnionID == "" {
		return who, nil
	}
	plain := who
	plain.UnionID = ""
	if Placeholder(who.UnionID) {
		return plain, nil
	}
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	theirs, err := u.claim(ctx, who)
	if err != nil {
		return identity.User{}, &identity.Failure{
			Class: identity.Later,
			Code:  "store_unavailable",
			Err:   fmt.Errorf("whose a unionid is: %w", err),
		}
	}
	if theirs {
		return who, nil
	}
	return plain, nil
}

func (u *unionIDs) claim(ctx context.Context, who identity.User) (theirs bool, err error) {
	sum := sha256.Sum256([]byte(u.realm + "\x00" + who.UnionID))
	key := "claim:" + base64.RawURLEncoding.EncodeToString(sum[:])
	for range 3 {
		box, err := u.store.Get(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			box, err := u.seal(key, who.Username, '=')
			if err == nil {
				err = u.store.Add(ctx, key, box, claimLife)
			}
			if errors.Is(err, store.ErrExists) {
				continue // another replica was first: read its claim
			}
			return err == nil, err
		case err != nil:
			return false, err
		}
		return u.known(ctx, key, box, who)
	}
	return false, errors.New("others claim it all the time")
}

// known evaluates an existing record. One that does not open was written by another
// program, or with a secret that was removed: a new claim replaces it.
func (u *unionIDs) known(ctx context.Context, key string, box []byte, who identity.User) (theirs bool, err error) {
	plain, old, err := u.keyring.OpenRecord(key, box)
	name, mark := "", byte('=')
	var at time.Time
	if err == nil {
		name, mark, at = readClaim(plain)
	}
	now := time.Now()
	put := func(mark byte, life time.Duration) error {
		box, err := u.seal(key, who.Username, mark)
		if err == nil {
			err = u.store.Put(ctx, key, box, life)
		}
		return err
	}
	switch {
	case err != nil || name == "":
		return true, put('=', claimLife)
	case mark == '=' && name == who.Username:
		if old || now.Sub(at) > claimStep {
			err = put('=', claimLife)
		}
		return true, err
	case mark == '=':
		if err := put('!', voidLife); err != nil {
			return false, err
		}
		u.note(key, who)
		// The sessions that began with it, of both people.
		return false, u.revoke(ctx, session.Person{UnionID: who.UnionID}, "unionid_shared")
	}
	u.note(key, who)
	if name != who.Username && (old || now.Sub(at) > claimStep) {
		return false, put('!', voidLife)
	}
	return false, nil
}

func (u *unionIDs) seal(key, username string, mark byte) ([]byte, error) {
	return u.keyring.SealRecord(key, fmt.Appendf(nil, "%c%d %s", mark, time.Now().UnixMilli(), username))
}

func readClaim(plain []byte) (name string, mark byte, at time.Time) {
	var ms int64
	head, name, ok := strings.Cut(string(plain), " ")
	if !ok || len(head) < 2 || head[0] != '=' && head[0] != '!' {
		return "", 0, time.Time{}
	}
	if _, err := fmt.Sscan(head[1:], &ms); err != nil {
		return "", 0, time.Time{}
	}
	return name, head[0], time.UnixMilli(ms)
}

// note counts a void one, and logs once a minute.
func (u *unionIDs) note(key string, who identity.User) {
	u.void.add(key)
	u.warn(fmt.Errorf("unionid %.40q of %.40q is another person's too", who.UnionID, who.Username))
}
