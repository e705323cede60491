package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"dinggate/account"
	"dinggate/dingtalk"
	"dinggate/internal/bounded"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/internal/ratelimit"
	"dinggate/proxy/accessrequest"
	"dinggate/store"
)

// migrations moves bindings and grants to the new unionId of a migrated account. If an
// ordinary account becomes an enterprise account, the person keeps the userid and gets
// another unionId, and bindings and grants are stored by unionId.
//
//	sign-in, recheck ─► unionId stored for the userid ─┬─ none ─────► store this one
//	                                                   ├─ the same ─► nothing to do
//	                                                   └─ another ──► DingTalk: migrated from it?
//	                                                        ├─ yes ───► move binding and grants
//	                                                        ├─ no ────► store this one: the userid was reassigned
//	                                                        └─ error ─► change nothing, ask again later
//
// The only proof is DingTalk's own answer to the app's own token, which names exactly the
// unionId stored here: the next owner of a userid (threats K10) gets nothing. The calls
// count against the monthly quota, so they are made only if the unionId of a userid
// changed.
type migrations struct {
	store    store.Store
	realm    string
	keyring  *keyring.Keyring
	ask      func(ctx context.Context, unionID string) (string, error)
	bindings account.Bindings    // nil: bindings are off
	book     *accessrequest.Book // nil: access requests are off
	record   func(u identity.User, before, username string) error
	undone   func(u identity.User, username string, why error) error
	warn     func(error)

	noted bounded.Map[string, string] // userid → unionId, as read from the store up to ownerNoted ago
	told  bounded.Map[string, migrationAnswer]
}

// migrationAnswer is DingTalk's answer for a unionId, kept for migrationTold.
type migrationAnswer struct {
	before string
	err    error
}

const (
	ownerLife     = 3650 * 24 * time.Hour
	ownerNoted    = 24 * time.Hour   // the store is read again for a person after this time
	migrationTold = 10 * time.Minute // how long an answer, or a missing permission, is cached
	migrationWait = 2 * time.Second  // the most that a sign-in waits
)

// newMigrations returns nil if nothing is stored by unionId, or if an SSO service
// identifies the users.
func newMigrations(c settings, st *State, client *dingtalk.Client, accounts Accounts) *migrations {
	if c.SSO.On() || accounts.policy == nil && !c.AccessRequests.On() && !c.OIDC.On() {
		return nil
	}
	m := &migrations{
		store:   st.Stores.Claims,
		realm:   c.Realm(),
		keyring: c.keyring,
		ask:     client.MigratedFrom,
		record:  st.auditMigrated,
		undone:  st.auditNotRebound,
		warn: oncePerMinute(func(err error) {
			st.Log.Warn("a userid has another unionid: whether the account was migrated is not known, bindings and grants "+
				"do not follow", "err", err.Error(), "hint", dingtalk.PermissionName("Contact.OrgAccountMigration.Read"))
		}),
	}
	if accounts.policy != nil {
		m.bindings = accounts.policy.Bindings
	}
	if c.AccessRequests.On() {
		m.book = st.book
	}
	return m
}

func (m *migrations) key(userID string) string {
	sum := sha256.Sum256([]byte(m.realm + "\x00" + userID))
	return "owner:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// from is dingtalk.Client.MigratedFrom with a cache.
func (m *migrations) from(ctx context.Context, unionID string) (string, error) {
	now := time.Now()
	if known, ok := m.told.Get(unionID, now); ok {
		return known.before, known.err
	}
	before, err := m.ask(dingtalk.WithClass(ctx, ratelimit.Event), unionID)
	if f, ok := errors.AsType[*identity.Failure](err); err == nil || ok && f.Class == identity.Operator {
		m.told.Put(unionID, migrationAnswer{before, err}, now.Add(migrationTold), now)
	}
	return before, err
}

// settle moves the binding and grants of u if the account was migrated. u comes from a
// call to DingTalk just made. An error is only logged: nothing is moved then.
func (m *migrations) settle(ctx context.Context, u identity.User) {
	if m == nil || u.Local || u.UnionID == "" || u.UserID == "" {
		return
	}
	if known, ok := m.noted.Get(u.UserID, time.Now()); ok && known == u.UnionID {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, migrationWait)
	defer cancel()
	if err := m.follow(ctx, u); err != nil {
		m.warn(err)
	}
}

func (m *migrations) follow(ctx context.Context, u identity.User) error {
	before, err := m.owner(ctx, u.UserID)
	if err != nil {
		return err
	}
	if before != "" && before != u.UnionID {
		from, err := m.from(ctx, u.UnionID)
		if err != nil {
			return err
		}
		if from == before {
			if err := m.carry(ctx, u, before); err != nil {
				return err
			}
		}
	}
	return m.note(ctx, u)
}

// carry moves binding and grants from one unionId to another of the same person.
func (m *migrations) carry(ctx context.Context, u identity.User, before string) error {
	name, err := m.boundAs(ctx, before)
	if err != nil {
		return err
	}
	if taken, err := m.boundAs(ctx, u.UnionID); err != nil {
		return err
	} else if taken != "" {
		name = "" // bound anew since: removing the old binding would leave its account without one
	}
	if err := m.record(u, before, name); err != nil {
		return err
	}
	if name != "" {
		if err := m.rebind(context.WithoutCancel(ctx), u, name, before); err != nil {
			return err
		}
	}
	if m.book != nil {
		return m.book.Moved(ctx, u.UserID, before, u.UnionID)
	}
	return nil
}

// boundAs returns the account that a unionId is bound to, or "".
func (m *migrations) boundAs(ctx context.Context, unionID string) (string, error) {
	if m.bindings == nil {
		return "", nil
	}
	b, err := m.bindings.Find(ctx, account.Binding{UnionID: unionID})
	if errors.Is(err, account.ErrNone) {
		return "", nil
	}
	return b.Username, err
}

// rebind binds an account to the new unionId of a person. Where an administrator removed
// the binding, or bound the account or the person anew meanwhile, that stays.
func (m *migrations) rebind(ctx context.Context, u identity.User, name, before string) error {
	ctx, cancel := context.WithTimeout(ctx, migrationWait)
	defer cancel()
	err := m.bindings.Rebind(ctx, account.Binding{UnionID: before, Username: name}, u.UnionID)
	if _, taken := errors.AsType[*account.TakenError](err); taken || errors.Is(err, account.ErrNone) {
		return m.undone(u, name, err)
	}
	return err
}

// confirms reports whether DingTalk says that the account of u was migrated from another
// unionId. An error, which is logged, confirms nothing.
func (m *migrations) confirms(ctx context.Context, u *identity.User, before string) bool {
	if m == nil || u.Local || u.UnionID == "" || u.UserID == "" || before == "" || before == u.UnionID {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, migrationWait)
	defer cancel()
	from, err := m.from(ctx, u.UnionID)
	if err == nil && from == before {
		err = m.record(*u, before, "")
	}
	if err != nil {
		m.warn(err)
	}
	return err == nil && from == before
}

// owner returns the unionId that last had a userid, or "".
func (m *migrations) owner(ctx context.Context, userID string) (string, error) {
	key := m.key(userID)
	box, err := m.store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	plain, _, err := m.keyring.OpenRecord(key, box)
	if err != nil {
		return "", nil // written by another program, or sealed with a removed secret: no proof
	}
	_, id, _ := strings.Cut(string(plain), " ")
	return id, nil
}

// note stores the unionId of the userid. The record is written again once a day, so
// that it is sealed with the first secret and does not expire.
func (m *migrations) note(ctx context.Context, u identity.User) error {
	key, now := m.key(u.UserID), time.Now()
	box, err := m.keyring.SealRecord(key, []byte(strconv.FormatInt(now.Unix(), 10)+" "+u.UnionID))
	if err == nil {
		err = m.store.Put(ctx, key, box, ownerLife)
	}
	if err == nil {
		m.noted.Put(u.UserID, u.UnionID, now.Add(ownerNoted), now)
	}
	return err
}

// auditMigrated writes the audit record of a migration.
func (t Observability) auditMigrated(u identity.User, before, username string) error {
	return t.Note(slog.LevelInfo, "account migrated", "account_migrated",
		pairs([2]string{"userid", u.UserID}, [2]string{"name", u.Name}, [2]string{"unionid", u.UnionID},
			[2]string{"before", before}, [2]string{"user", username})...)
}

// auditNotRebound writes the audit record of a migration that did not move the binding.
func (t Observability) auditNotRebound(u identity.User, username string, why error) error {
	return t.Note(slog.LevelWarn, "account migrated", "undone",
		pairs([2]string{"act", "account_migrated"}, [2]string{"err", why.Error()}, [2]string{"userid", u.UserID},
			[2]string{"unionid", u.UnionID}, [2]string{"user", username})...)
}
