package login

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

// bindingNote is what is known of a binding that was made here beside who is
// whom: so that both people it is about learn of it, although a script of
// another application on this origin may have made it, in either direction
// (threats T33). It is kept sealed, under a hash of the unionId.
type bindingNote struct {
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

// bindings reads which account a DingTalk person is bound to, and what the two of
// them have been shown of it.
type bindings struct {
	keyring *keyring.Keyring
	store   store.Store
	people  *account.Policy // nil: no bindings
}

func (f *Flow) bindings() bindings { return bindings{f.Keyring, f.Used, f.People} }

func (bs bindings) putNote(ctx context.Context, unionID string, n bindingNote) error {
	plain, err := json.Marshal(n)
	if err != nil {
		return err
	}
	key := noteKey(unionID)
	text, err := bs.keyring.Seal(notePurpose, key, plain)
	if err != nil {
		return err
	}
	return bs.store.Put(ctx, key, []byte(text), noteLife)
}

// note is that of a binding; the zero note for one that was imported, or sealed
// with a key that is gone.
func (bs bindings) note(ctx context.Context, b account.Binding) (n bindingNote, err error) {
	key := noteKey(b.UnionID)
	text, err := bs.store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return bindingNote{}, nil
	} else if err != nil {
		return bindingNote{}, err
	}
	plain, _, err := bs.keyring.Open(notePurpose, key, string(text))
	if err != nil || json.Unmarshal(plain, &n) != nil || n.Username != b.Username {
		return bindingNote{}, nil
	}
	return n, nil
}

// told reports whether the one who is signed in has seen the note.
func (n bindingNote) told(local bool) bool {
	return n == bindingNote{} || local && n.AccountTold || !local && n.PersonTold
}

// before reports whether s began after the binding was made. What such a session
// shows alone counts as shown: a script in the session that made the binding could
// open the page itself, and the owner would never learn of it (threats T33). A
// sign-in that binds by a link begins before its binding: see session.SignIn.Since.
func (n bindingNote) before(s *session.Session) bool { return s.SignedIn.After(n.Made) }

// of finds the binding of the person who is signed in: of the account, or of
// the DingTalk person. account.ErrNone when there is none.
func (bs bindings) of(ctx context.Context, s *session.Session) (account.Binding, error) {
	switch {
	case !bs.enabled():
		return account.Binding{}, account.ErrNone
	case s.User.Local:
		return bs.people.Bindings.Find(ctx, account.Binding{Username: s.User.Username})
	case s.User.UnionID != "":
		return bs.people.Bindings.Find(ctx, account.Binding{UnionID: s.User.UnionID})
	}
	return account.Binding{}, account.ErrNone
}

// afterSignIn returns where a sign-in for target leads: first to the page that
// shows the binding, if one was made since the last sign-in. A binding that
// cannot be read now is shown by the next sign-in.
func (f *Flow) afterSignIn(ctx context.Context, s *session.Session, target string) string {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	b, err := f.bindings().of(ctx, s)
	if err != nil {
		return target
	}
	if n, err := f.bindings().note(ctx, b); err != nil || n.told(s.User.Local) {
		return target
	}
	return f.urls().path("/userinfo", target)
}

// bindingID names a binding in the form that removes it: what was shown is what
// is removed.
func bindingID(b account.Binding) string {
	sum := sha256.Sum256([]byte(b.UnionID + "\n" + b.Username))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
