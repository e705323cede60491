package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dinggate/account"
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/session"
	"dinggate/store"
)

// link is the right to bind one DingTalk person to an account, once: a
// sign-in with a password, in the browser that DingTalk sent this person to,
// binds them. It travels sealed in an address; the browser is known by a cookie
// of which the link holds the hash (threats T29).
//
//	version  1 byte, now 1
//	id       32 random bytes, for its one use: they name the sign-in that waits for it
//	browser  32 bytes, SHA-256 of the cookie
//	issued   8 bytes, Unix milliseconds
//	app      of which client id
//	unionID  of the person
//	name     of the person, as the page shows it: a person must not bind a stranger unawares
//	target   where the person goes afterwards; checked again then
//
// A text is two bytes of length, then its bytes; nothing follows the last one.
type link struct {
	id, browser                [32]byte
	issued                     time.Time
	app, unionID, name, target string
}

const (
	linkVersion = 1
	linkPurpose = "account link" // keys of its own (threats S8)
	linkLife    = 10 * time.Minute
	linkFixed   = 1 + 32 + 32 + 8

	maxLinkTarget = 800 // of a target that would make the address too long, / takes the place
	maxLinkName   = 120
)

func (l *link) encode() []byte {
	b := append(append([]byte{linkVersion}, l.id[:]...), l.browser[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(l.issued.UnixMilli()))
	for _, s := range [...]string{l.app, l.unionID, l.name, l.target} {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
	}
	return b
}

func decodeLink(b []byte) (l link, ok bool) {
	if len(b) < linkFixed || b[0] != linkVersion {
		return link{}, false
	}
	l.id, l.browser = [32]byte(b[1:33]), [32]byte(b[33:65])
	l.issued = time.UnixMilli(int64(binary.BigEndian.Uint64(b[65:])))
	rest := b[linkFixed:]
	for _, to := range [...]*string{&l.app, &l.unionID, &l.name, &l.target} {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return link{}, false
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		*to, rest = string(rest[2:n]), rest[n:]
	}
	return l, len(rest) == 0
}

// accountLinks issues and redeems links, and makes the bindings.
type accountLinks struct{ *Flow }

// cookieName is the name of the cookie that a link is bound to; like those of
// attempts it stays on one host.
func (f accountLinks) cookieName() string {
	name := strings.TrimPrefix(f.Sessions.CookieName(), "__Host-") + "-link"
	if f.secure() {
		return "__Host-" + name
	}
	return name
}

func (f accountLinks) setCookie(w http.ResponseWriter, value string, maxAge int) {
	addCookie(w, &http.Cookie{
		Name:     f.cookieName(),
		Value:    value,
		Path:     "/",
		MaxAge:   maxAge,
		HttpOnly: true,
		Secure:   f.secure(),
		SameSite: http.SameSiteLaxMode,
	})
}

func (f accountLinks) drop(w http.ResponseWriter) { f.setCookie(w, "", -1) }

func (f accountLinks) url(token string) string {
	return f.Prefix + "/sign_in?link=" + url.QueryEscape(token)
}

// notBound is why a person got no session; token opens the way to bind them.
// It is no part of the error's text.
type notBound struct {
	token string
	cause error
}

func (e *notBound) Error() string { return e.cause.Error() }
func (e *notBound) Unwrap() error { return e.cause }

// accountLinkToken gives this browser the one-time right to bind the person, in
// the refusal it returns. Always under a new cookie: one that was there might be
// known to an attacker who planted it.
func (f accountLinks) accountLinkToken(ctx context.Context, w http.ResponseWriter, in session.SignIn, target string,
	cause error) error {
	u := in.User
	refusal := &web.Error{Status: http.StatusForbidden, Code: account.NotBound, Err: cause}
	if f.Accounts == nil || u.UnionID == "" {
		return refusal // no one could use it
	}
	if target, _ = f.urls().allowed(target); len(target) > maxLinkTarget {
		target = "/"
	}
	name := fullName(&u) // two people may have one name
	if len(name) > maxLinkName {
		name = u.Username
	}
	l := link{
		issued:  f.now(),
		app:     f.ClientID,
		unionID: u.UnionID,
		name:    name[:min(len(name), maxLinkName)],
		target:  target,
	}
	rand.Read(l.id[:])
	var secret [32]byte
	rand.Read(secret[:])
	cookie := base64.RawURLEncoding.EncodeToString(secret[:])
	l.browser = sha256.Sum256([]byte(cookie))
	token, err := f.Keyring.Seal(linkPurpose, linkPurpose, l.encode())
	if err == nil {
		err = f.keep(ctx, &l, in)
	}
	if err != nil {
		return err
	}
	f.setCookie(w, cookie, int(linkLife/time.Second))
	refusal.Retry = f.url(token)
	refusal.Err = &notBound{token, cause}
	return refusal
}

// open recognises a link that this browser may use. It uses nothing up.
func (f accountLinks) open(r *http.Request, x *web.Exchange, token string) (*link, error) {
	invalid := func(why string) error {
		return &web.Error{
			Status: http.StatusForbidden,
			Code:   "link_invalid",
			Retry:  f.urls().path("/start", "/"),
			Err:    errors.New("login: a link " + why),
		}
	}
	if f.Accounts == nil || !f.bindings().enabled() {
		return nil, &web.Error{Status: http.StatusForbidden, Code: "binding_off"}
	}
	plain, _, err := f.Keyring.Open(linkPurpose, linkPurpose, token)
	if err != nil {
		return nil, invalid("that we did not make")
	}
	l, ok := decodeLink(plain)
	age := f.now().Sub(l.issued)
	if !ok || l.app != f.ClientID || age < -attemptSkew || age >= linkLife {
		return nil, invalid("that is too old, or of another app")
	}
	for i, value := range web.CookieValues(r.Header, f.cookieName()) {
		if sum := sha256.Sum256([]byte(value)); i < maxCopies && subtle.ConstantTimeCompare(sum[:], l.browser[:]) == 1 {
			return &l, nil
		}
	}
	return nil, invalid("of another browser")
}

// enabled reports whether people can be bound to accounts here.
func (bs bindings) enabled() bool {
	return bs.people != nil && (bs.people.Binding == account.Optional || bs.people.Binding == account.Required)
}

// linkedSignIn is the sign-in that a link waits for: what the provider said of the
// person. A link without it is of no use, so that taking it uses the link up.
type linkedSignIn struct {
	User  identity.User
	Token identity.Token
	Since time.Time
}

func (l *link) key() string {
	sum := sha256.Sum256(l.id[:])
	return "link:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// keep puts the sign-in by, sealed, for as long as the link is good.
func (f accountLinks) keep(ctx context.Context, l *link, in session.SignIn) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	plain, err := json.Marshal(linkedSignIn{in.User, in.Token, in.Since})
	if err != nil {
		return err
	}
	box, err := f.Keyring.SealRecord(linkPurpose+" "+l.key(), plain)
	if err == nil {
		err = f.Used.Add(ctx, l.key(), box, linkLife+2*attemptSkew)
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// take uses the link up, on all replicas, and gives the sign-in that it waited for.
func (f accountLinks) take(ctx context.Context, l *link) (session.SignIn, error) {
	box, err := f.Used.Take(ctx, l.key())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return session.SignIn{}, unavailable(err)
	}
	var kept linkedSignIn
	if err == nil {
		var plain []byte
		if plain, _, err = f.Keyring.OpenRecord(linkPurpose+" "+l.key(), box); err == nil {
			err = json.Unmarshal(plain, &kept)
		}
	}
	if err != nil || kept.User.UnionID != l.unionID {
		return session.SignIn{}, &web.Error{
			Status: http.StatusForbidden,
			Code:   "link_invalid",
			Retry:  f.urls().path("/start", "/"),
			Err:    errors.New("login: a link that was used"),
		}
	}
	return session.SignIn{User: kept.User, Token: kept.Token, Since: kept.Since}, nil
}

// bind uses the link up and makes its person the account. It returns the sign-in of
// that person: their session has their departments and roles at once, and ends with
// the binding like any other of theirs.
func (f accountLinks) bind(r *http.Request, x *web.Exchange, l *link, username string) (session.SignIn, error) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	in, err := f.take(ctx, l)
	if err != nil {
		return session.SignIn{}, err
	}
	return in, f.makeBinding(ctx, x, account.Binding{UnionID: l.unionID, Username: username}, l.name)
}

// makeBinding binds. Its record comes first: no binding is made without one, where
// records have to be. When it then fails, the refusal is the next record of this
// request. Nor is anybody bound who cannot be told of it later. person is what
// the DingTalk person is called.
func (f accountLinks) makeBinding(ctx context.Context, x *web.Exchange, b account.Binding, person string) error {
	find := func(by account.Binding) (account.Binding, error) { return f.People.Bindings.Find(ctx, by) }
	write, err := account.Plan([]account.Binding{b}, find)
	if err == nil {
		if lost := f.audit(x, Event{What: "bound", User: b.Username, UnionID: b.UnionID}); lost != nil {
			return auditUnavailable(lost)
		}
		if len(write) > 0 {
			err = f.bindings().putNote(ctx, b.UnionID, bindingNote{Username: b.Username, Person: person, Made: f.now()})
		}
		if err == nil {
			err = f.People.Bindings.Add(ctx, b)
		}
	}
	if _, taken := errors.AsType[*account.TakenError](err); taken {
		return &web.Error{Status: http.StatusForbidden, Code: "already_bound", Err: err}
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}
