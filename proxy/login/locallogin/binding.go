// Package locallogin is the part of a sign-in that knows local accounts:
//
//	form.go     the password form, as it is posted
//	link.go     the one-time right of a DingTalk person to be bound to an account
//	binding.go  who is bound to whom, and what both of them have been shown of it
//
// It knows nothing of attempts, audit or sessions' cookies: proxy/login joins it to
// the rest of a sign-in. Passwords are verified in account.
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

// Note is what is known of a binding that was made here beside who is
// whom: so that both people it is about learn of it, although a script of
// another application on this origin may have made it, in either direction
// (threats T33). It is kept sealed, under a hash of the unionId.
type Note struct {
	Username    string    // the account; a note of another one is of a binding that is gone
	Person      string    // the DingTalk person, as colleagues know them
	Made        time.Time // when
	AccountTold bool      // a session of the account that began after Made has shown it
	PersonTold  bool      // a session of the DingTalk person that began after Made has shown it
}

const (
	notePurpose = "account binding"
	noteLife    = 400 * 24 * time.Hour // from then on the binding is shown by its unionId alone
)

func noteKey(unionID string) string {
	sum := sha256.Sum256([]byte(unionID))
	return "bound:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// Bindings binds DingTalk people to accounts, and records what the two of them have
// been shown of it.
type Bindings struct {
	Keyring *keyring.Keyring
	Store   store.Store
	People  *account.Policy // nil: no bindings
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

// Note is that of a binding; the zero note for one that was imported, or sealed
// with a key that is gone.
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

// Shown reports whether the one who is signed in has seen the note.
func (n Note) Shown(local bool) bool {
	return n == Note{} || local && n.AccountTold || !local && n.PersonTold
}

// Before reports whether s began after the binding was made. What such a session
// shows alone counts as shown: a script in the session that made the binding could
// open the page itself, and the owner would never learn of it (threats T33). A
// sign-in that binds by a link begins before its binding: see session.SignIn.Since.
func (n Note) Before(s *session.Session) bool { return s.SignedIn.After(n.Made) }

// Find finds the binding of the person who is signed in: of the account, or of
// the DingTalk person. account.ErrNone when there is none.
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

// BindingID names a binding in the form that removes it: what was shown is what
// is removed.
func BindingID(b account.Binding) string {
	sum := sha256.Sum256([]byte(b.UnionID + "\n" + b.Username))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Make binds. record is called before anything is written, and no binding is made
// if it fails: its error is returned as it is. Nor is a person bound who cannot be
// shown the binding later. person is what the DingTalk person is called. Of a person
// or an account that is bound otherwise the error is an *account.TakenError.
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
