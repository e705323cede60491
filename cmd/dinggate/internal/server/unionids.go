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

	"dinggate/dingtalk/sso"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/session"
	"dinggate/store"
)

// unionIDs verifies the unionids that an SSO service returns. Bindings go by them,
// and a service may return the same for everybody: one that two usernames claim
// identifies nobody (threats T36). Both then go by their usernames, and the sessions
// begun under it end.
//
//	userinfo ─► a placeholder ─────────────────────────────► without it
//	        └─► Store: whose is it? ─┬─ nobody's: theirs now ─► with it
//	                                 ├─ theirs ───────────────► with it
//	                                 └─ another's, or void ───► without it, log, doctor, sessions end
//
// A claim is a record in the Store that all replicas share, sealed:
// the username, a blank, `=`, or `!` of a void one.
type unionIDs struct {
	store   store.Store
	realm   string
	keyring *keyring.Keyring
	revoke  revokeFunc  // ends what was begun under a shared one
	warn    func(error) // once a minute

	mu   sync.Mutex
	void map[string]bool // keys, for status and metrics; bounded
}

// revokeFunc is session.Manager.RevokeUser.
type revokeFunc = func(ctx context.Context, who session.Person, reason string) error

const (
	claimLife = 400 * 24 * time.Hour // since the last sign-in
	voidLife  = 30 * 24 * time.Hour  // since two usernames had it last: then somebody may have got another name
	claimStep = 24 * time.Hour       // how often a claim is written again
	claimsMax = 200_000
	voidsMax  = 1000
	claimWait = time.Second
)

func newUnionIDs(c settings, st *State, revoke revokeFunc) *unionIDs {
	return &unionIDs{
		store:   st.Stores.Claims,
		realm:   c.Realm(),
		keyring: c.keyring,
		revoke:  revoke,
		void:    map[string]bool{},
		warn: oncePerMinute(func(err error) {
			st.Log.Error(
				"the SSO service gives one unionid to several people: it identifies nobody, they go by their "+
					"usernames",
				"err", err.Error(), "hint",
				"have the service return each person's own unionid, or none; bindings by it do not count",
			)
		}),
	}
}

// Placeholder reports a text that programs write where they know nothing.
func Placeholder(id string) bool {
	id = strings.ToLower(strings.Trim(id, " \"'0"))
	switch id {
	case "", "-", "-1", "null", "nil", "none", "undefined", "unknown", "n/a", "na", "nan", "false", "true",
		"union_id", "unionid", "test":
		return true
	}
	return false
}

// judge returns the person, without a unionid that identifies nobody. An error is
// an failing store's: nothing is known then.
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
				continue // another replica was first: whose is it?
			}
			return err == nil, err
		case err != nil:
			return false, err
		}
		return u.known(ctx, key, box, who)
	}
	return false, errors.New("others claim it all the time")
}

// known judges by the record that is there. One that does not open was written by
// another program, or under a secret that is gone: it is a new claim's to replace.
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
		// Those that were begun under it, by either.
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

// note counts a void one, and says so once a minute.
func (u *unionIDs) note(key string, who identity.User) {
	u.mu.Lock()
	if len(u.void) < voidsMax {
		u.void[key] = true
	}
	u.mu.Unlock()
	u.warn(fmt.Errorf("unionid %.40q of %.40q is another person's too", who.UnionID, who.Username))
}

// Voids is how many unionids were found void since the start.
func (u *unionIDs) Voids() int {
	if u == nil {
		return 0
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.void)
}

// judgedClient is the SSO service, whose unionids are judged.
type judgedClient struct {
	*sso.Client
	ids *unionIDs
}

func (c judgedClient) Exchange(ctx context.Context, code, state string) (identity.User, identity.Token, error) {
	user, token, err := c.Client.Exchange(ctx, code, state)
	if err != nil {
		return user, token, err
	}
	user, err = c.ids.judge(ctx, user)
	if err != nil {
		token = identity.Token{}
	}
	return user, token, err
}

// recheck asks the service again who somebody is. Their access token is all that
// names them there.
func (c judgedClient) recheck(ctx context.Context, s *session.Session) (identity.User, error) {
	user, err := c.Person(ctx, s.Token.Access)
	if err != nil {
		return user, err
	}
	return c.ids.judge(ctx, user)
}
