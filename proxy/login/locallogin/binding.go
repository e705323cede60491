// Package locallogin is the part of a sign-in that concerns local accounts:
//
//	form.go     the password form, as it is posted
//	link.go     the one-time right of a DingTalk person to be bound to an account
//	binding.go  which person is bound to which account, and whether both have seen the binding
//
// It does not deal with attempts, audit or session cookies, which proxy/login adds. Package
// account verifies passwords.
package locallogin

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"dinggate/account"
	"dinggate/internal/keyring"
	"dinggate/session"
	"dinggate/store"
)

// Note is what is known about a binding that was made here, besides the two names. It lets both
// people learn of the binding, since a script of another application on this origin may have made
// it, in either direction (threats T33). It is stored sealed, under a hash of the unionId.
type Note struct {
	Username     string    // the account; a note with another account belongs to a binding that no longer exists
	Person       string    // the DingTalk person's name
	Made         time.Time // when
	AccountShown bool      `json:"AccountTold"` // a session of the account that began after Made has shown the binding
	PersonShown  bool      `json:"PersonTold"`  // a session of the DingTalk person that began after Made has shown the binding
}

const (
	notePurpose = "account binding"
	noteLife    = 400 * 24 * time.Hour // after it the binding is shown with its unionId only
)

func noteKey(unionID string) string {
	sum := sha256.Sum256([]byte(unionID))
	return "bound:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// Bindings binds DingTalk people to accounts, and records whether both have been shown the
// binding.
type Bindings struct {
	Keyring *keyring.Keyring
	Store   store.Store
	People  *account.Policy // if nil, bindings are disabled
}

// Enabled reports whether people can be bound to accounts here.
func (bs Bindings) Enabled() bool {
	return bs.People != nil && (bs.People.Binding == account.Optional || bs.People.Binding == account.Required)
}

// PutNote stores the note of a binding of unionID.
func (bs Bindings) PutNote(ctx context.Context, unionID string, n Note) error {
	plain, err := json.Marshal(n)
	if err != nil {
		return err
	}
	key := noteKey(unionID)
	text, err := bs.Keyring.Seal(notePurpose, key, plain)
	if err != nil {
		return err
	}
	return bs.Store.Put(ctx, key, []byte(text), noteLife)
}

// Note returns the note of a binding; the zero note if the binding was imported, or the note was
// sealed with a removed key.
func (bs Bindings) Note(ctx context.Context, b account.Binding) (n Note, err error) {
	key := noteKey(b.UnionID)
	text, err := bs.Store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return Note{}, nil
	} else if err != nil {
		return Note{}, err
	}
	plain, _, err := bs.Keyring.Open(notePurpose, key, string(text))
	if err != nil || json.Unmarshal(plain, &n) != nil || n.Username != b.Username {
		return Note{}, nil
	}
	return n, nil
}

// Shown reports whether the signed-in side of the binding has seen the note.
func (n Note) Shown(local bool) bool {
	return n == Note{} || local && n.AccountShown || !local && n.PersonShown
}

// Before reports whether s began after the binding was made. Only what such a session shows counts
// as shown: a script in the session that made the binding could open the page itself, and the
// owner would never learn of it (threats T33). A sign-in that binds by a link begins before its
// binding: see session.SignIn.Since.
func (n Note) Before(s *session.Session) bool { return s.SignedIn.After(n.Made) }

// Find returns the binding of the signed-in account or DingTalk person; account.ErrNone if there
// is none.
func (bs Bindings) Find(ctx context.Context, s *session.Session) (account.Binding, error) {
	switch {
	case !bs.Enabled():
		return account.Binding{}, account.ErrNone
	case s.User.Local:
		return bs.People.Bindings.Find(ctx, account.Binding{Username: s.User.Username})
	case s.User.UnionID != "":
		return bs.People.Bindings.Find(ctx, account.Binding{UnionID: s.User.UnionID})
	}
	return account.Binding{}, account.ErrNone
}

// BindingID identifies a binding in the form that removes it, so that the binding that was shown
// is the one that is removed.
func BindingID(b account.Binding) string {
	sum := sha256.Sum256([]byte(b.UnionID + "\n" + b.Username))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Make binds. record is called before anything is written; if it fails, no binding is made and its
// error is returned unchanged. A person is not bound if the binding could not be shown to them
// later. person is the name of the DingTalk person. If the person or the account is bound
// otherwise, the error is an *account.TakenError.
func (bs Bindings) Make(ctx context.Context, b account.Binding, person string, now time.Time, record func() error) error {
	find := func(by account.Binding) (account.Binding, error) { return bs.People.Bindings.Find(ctx, by) }
	write, err := account.Plan([]account.Binding{b}, find)
	if err != nil {
		return err
	}
	if err := record(); err != nil {
		return err
	}
	if len(write) > 0 {
		if err := bs.PutNote(ctx, b.UnionID, Note{Username: b.Username, Person: person, Made: now}); err != nil {
			return err
		}
	}
	return bs.People.Bindings.Add(ctx, b)
}
