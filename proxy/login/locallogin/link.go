package locallogin

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
	"strings"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/internal/web"
	"dinggate/session"
	"dinggate/store"
)

// Link is the right to bind one DingTalk person to an account, once: a sign-in with a password, in
// the browser that DingTalk redirected for this person, binds them. It is sent sealed in a URL; a
// cookie identifies the browser, and the link contains the cookie's hash (threats T29).
//
//	version  1 byte, now 1
//	id       32 random bytes, for its single use: the key of the stored sign-in
//	browser  32 bytes, SHA-256 of the cookie
//	issued   8 bytes, Unix milliseconds
//	app      of which client id
//	unionID  of the person
//	name     of the person, as the page shows it: a person must not bind a stranger by mistake
//	target   where the person goes afterwards; checked again then
//
// A text is its length in two bytes, then its bytes; nothing follows the last one.
type Link struct {
	id, browser           [32]byte
	issued                time.Time
	app                   string
	UnionID, Name, Target string
}

const (
	linkVersion = 1
	linkPurpose = "account link" // keys of its own (threats S8)
	LinkLife    = 10 * time.Minute
	linkFixed   = 1 + 32 + 32 + 8

	maxLinkTarget = 800 // a target that would make the URL too long is replaced by /
	maxLinkName   = 120
	maxCookies    = 4           // values tried under one name; a sibling host can plant more
	clockSkew     = time.Minute // how far replicas' clocks may differ
)

func (l *Link) encode() []byte {
	b := append(append([]byte{linkVersion}, l.id[:]...), l.browser[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(l.issued.UnixMilli()))
	for _, s := range [...]string{l.app, l.UnionID, l.Name, l.Target} {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
	}
	return b
}

func decodeLink(b []byte) (l Link, ok bool) {
	if len(b) < linkFixed || b[0] != linkVersion {
		return Link{}, false
	}
	l.id, l.browser = [32]byte(b[1:33]), [32]byte(b[33:65])
	l.issued = time.UnixMilli(int64(binary.BigEndian.Uint64(b[65:])))
	rest := b[linkFixed:]
	for _, to := range [...]*string{&l.app, &l.UnionID, &l.Name, &l.Target} {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return Link{}, false
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		*to, rest = string(rest[2:n]), rest[n:]
	}
	return l, len(rest) == 0
}

// Links issues and redeems links. All fields are required; its methods are safe for concurrent
// use.
type Links struct {
	Keyring  *keyring.Keyring
	Store    store.Store // shared by all replicas, otherwise a link would work once at each
	ClientID string      // the app at DingTalk; a link for another app is refused
	Cookie   string      // name of the cookie that a link is bound to; see LinkCookie
	Secure   bool        // of that cookie
	Now      func() time.Time
}

// LinkCookie is the name of the cookie that a link is bound to, derived from the session cookie's
// name; like the cookies of attempts it is limited to one host.
func LinkCookie(session string, secure bool) string {
	name := strings.TrimPrefix(session, "__Host-") + "-link"
	if secure {
		return "__Host-" + name
	}
	return name
}

func (ls Links) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name:     ls.Cookie,
		Value:    value,
		Path:     "/",
		MaxAge:   maxAge,
		HttpOnly: true,
		Secure:   ls.Secure,
		SameSite: http.SameSiteLaxMode,
	})
}

// Drop clears the cookie that a link was bound to.
func (ls Links) Drop(w http.ResponseWriter) { ls.setCookie(w, "", -1) }

// Offer issues this browser the one-time right to bind the person of a sign-in, and stores the
// sign-in until the link is used. target is where the person returns afterwards. The cookie is
// always new: an existing one might be known to an attacker who planted it. An error is the
// store's or the keyring's.
func (ls Links) Offer(ctx context.Context, w http.ResponseWriter, in session.SignIn, target string) (token string, err error) {
	u := in.User
	if len(target) > maxLinkTarget {
		target = "/"
	}
	name := u.FullName() // two people may have the same name
	if len(name) > maxLinkName {
		name = u.Username
	}
	l := Link{
		issued:  ls.Now(),
		app:     ls.ClientID,
		UnionID: u.UnionID,
		Name:    name[:min(len(name), maxLinkName)],
		Target:  target,
	}
	rand.Read(l.id[:])
	var secret [32]byte
	rand.Read(secret[:])
	cookie := base64.RawURLEncoding.EncodeToString(secret[:])
	l.browser = sha256.Sum256([]byte(cookie))
	if token, err = ls.Keyring.Seal(linkPurpose, linkPurpose, l.encode()); err != nil {
		return "", err
	}
	if err = ls.put(ctx, &l, in); err != nil {
		return "", err
	}
	ls.setCookie(w, cookie, int(LinkLife/time.Second))
	return token, nil
}

// Open verifies that the browser with headers h may use a link; the error says why not. It uses
// nothing up.
func (ls Links) Open(h http.Header, token string) (*Link, error) {
	plain, _, err := ls.Keyring.Open(linkPurpose, linkPurpose, token)
	if err != nil {
		return nil, errors.New("locallogin: a link that we did not make")
	}
	l, ok := decodeLink(plain)
	age := ls.Now().Sub(l.issued)
	if !ok || l.app != ls.ClientID || age < -clockSkew || age >= LinkLife {
		return nil, errors.New("locallogin: a link that is too old, or of another app")
	}
	for i, value := range web.CookieValues(h, ls.Cookie) {
		if sum := sha256.Sum256([]byte(value)); i < maxCookies && subtle.ConstantTimeCompare(sum[:], l.browser[:]) == 1 {
			return &l, nil
		}
	}
	return nil, errors.New("locallogin: a link of another browser")
}

// linkedSignIn is the stored sign-in of a link: the person as the provider described them. A link
// without it is useless, so that taking it uses the link up.
type linkedSignIn struct {
	User  identity.User
	Token identity.Token
	Since time.Time
}

func (l *Link) key() string {
	sum := sha256.Sum256(l.id[:])
	return "link:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// put stores the sign-in, sealed, for the lifetime of the link.
func (ls Links) put(ctx context.Context, l *Link, in session.SignIn) error {
	plain, err := json.Marshal(linkedSignIn{in.User, in.Token, in.Since})
	if err != nil {
		return err
	}
	box, err := ls.Keyring.SealRecord(linkPurpose+" "+l.key(), plain)
	if err != nil {
		return err
	}
	return ls.Store.Add(ctx, l.key(), box, LinkLife+2*clockSkew)
}

// ErrLinkUsed is returned by Take for a link that has been used.
var ErrLinkUsed = errors.New("locallogin: a link that was used")

// Take uses the link up, on all replicas, and returns its sign-in. The person's session has their
// departments and roles at once, and ends with the binding like their other sessions. Errors other
// than ErrLinkUsed are the store's.
func (ls Links) Take(ctx context.Context, l *Link) (session.SignIn, error) {
	box, err := ls.Store.Take(ctx, l.key())
	if errors.Is(err, store.ErrNotFound) {
		return session.SignIn{}, ErrLinkUsed
	} else if err != nil {
		return session.SignIn{}, err
	}
	var in linkedSignIn
	plain, _, err := ls.Keyring.OpenRecord(linkPurpose+" "+l.key(), box)
	if err != nil || json.Unmarshal(plain, &in) != nil || in.User.UnionID != l.UnionID {
		return session.SignIn{}, ErrLinkUsed
	}
	return session.SignIn{User: in.User, Token: in.Token, Since: in.Since}, nil
}
