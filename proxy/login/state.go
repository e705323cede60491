package login

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"dinggate/internal/keyring"
	"dinggate/internal/web"
)

// attempt is one sign-in in progress. It is stored as a sealed cookie in the browser that began
// it, and its state is sent through DingTalk; a sign-in is completed only if both return together
// (threats S1–S3).
//
//	version  1 byte, 2; 3 of an attempt that waits
//	state    32 random bytes
//	issued   8 bytes, Unix milliseconds
//	purpose  what the sign-in is for; "" is one of our pages
//	app      of which client id; with host and purpose under the seal (threats S8)
//	host     where it began, without a port
//	target   where the person returns afterwards; checked, and checked again then
//
// A text is its length in two bytes, then its bytes; nothing follows the last one.
type attempt struct {
	state                      [32]byte
	issued                     time.Time
	purpose, app, host, target string

	// Of an attempt that waits (version 3, with four more texts): its place in the queue, the code
	// and state with which the provider redirected, and when. Without a code it is on its way to
	// the provider once more.
	queued, code, provided string
	coded                  time.Time
}

const (
	attemptVersion = 2
	waitingVersion = 3
	attemptPurpose = "login attempt" // keys of its own: no other sealed text is accepted in its place

	attemptLife = 10 * time.Minute
	attemptSkew = time.Minute // how far replicas' clocks may differ

	maxApp = 128 // bytes of a client id
)

func newAttempt(purpose, app, host, target string, now time.Time) attempt {
	a := attempt{issued: now, purpose: purpose, app: app, host: host, target: target}
	rand.Read(a.state[:]) // never fails: crypto/rand would end the process
	return a
}

// stateText is the state as it is sent through DingTalk.
func (a *attempt) stateText() string { return base64.RawURLEncoding.EncodeToString(a.state[:]) }

// parseState parses the output of stateText, in that one spelling only: the decoder would skip
// line breaks and ignore the spare bits of the last character (threats S6).
func parseState(text string) (state [32]byte, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != len(state) || len(text) != base64.RawURLEncoding.EncodedLen(len(state)) {
		return state, false
	}
	return [32]byte(raw), true
}

// live reports whether an attempt may still be completed.
func (a *attempt) live(now time.Time) bool {
	age := now.Sub(a.issued)
	return age >= -attemptSkew && age < attemptLife
}

func (a *attempt) encode() []byte {
	version, texts := byte(attemptVersion), []string{a.purpose, a.app, a.host, a.target}
	if a.queued != "" {
		version = waitingVersion
		texts = append(texts, a.queued, a.code, a.provided, strconv.FormatInt(a.coded.UnixMilli(), 10))
	}
	b := append([]byte{version}, a.state[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(a.issued.UnixMilli()))
	for _, s := range texts {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
	}
	return b
}

func decodeAttempt(b []byte) (a attempt, ok bool) {
	const fixed = 1 + 32 + 8
	if len(b) < fixed || b[0] != attemptVersion && b[0] != waitingVersion {
		return attempt{}, false
	}
	a.state = [32]byte(b[1:33])
	a.issued = time.UnixMilli(int64(binary.BigEndian.Uint64(b[33:])))
	rest := b[fixed:]
	coded, texts := "", []*string{&a.purpose, &a.app, &a.host, &a.target}
	if b[0] == waitingVersion {
		texts = append(texts, &a.queued, &a.code, &a.provided, &coded)
	}
	for _, to := range texts {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return attempt{}, false
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		*to, rest = string(rest[2:n]), rest[n:]
	}
	if b[0] == waitingVersion {
		ms, err := strconv.ParseInt(coded, 10, 64)
		if err != nil || a.queued == "" {
			return attempt{}, false
		}
		a.coded = time.UnixMilli(ms)
	}
	return a, len(rest) == 0
}

// A browser has a fixed number of slots for attempts, with fixed names. Even 200 tabs opened at
// the same moment, none of which has the cookies of another, do not let the Cookie header grow
// until the next request is refused (S10).
const (
	slots       = 5
	maxAttempts = 6 << 10 // bytes of all attempts in one Cookie header
	maxCopies   = 4       // values tried under one name; a sibling host can plant more
)

// attemptJar stores the attempts of a browser in that browser, as sealed cookies: the server
// stores none.
type attemptJar struct {
	keyring *keyring.Keyring
	session string // the session cookie's name, from which those of attempts are derived
	secure  bool   // public_url is https
	turn    *atomic.Uint32
}

func (f *Flow) attempts() attemptJar {
	return attemptJar{f.Keyring, f.Sessions.CookieName(), f.secure(), &f.turn}
}

// slotName is always a `__Host-` name on https, also if cookie.domain prevents the prefix for the
// session cookie: an attempt belongs to one host, and a sibling host that could plant its own
// would sign the person in as another person.
func (j attemptJar) slotName(slot int) string {
	name := strings.TrimPrefix(j.session, "__Host-")
	if j.secure {
		name = "__Host-" + name
	}
	return name + "-attempt-" + strconv.Itoa(slot)
}

func (f *Flow) secure() bool { return f.Origins.Scheme() == "https" }

// sealed is the content of one slot as the browser sent it.
type sealed struct {
	slot   int
	size   int // of names and values in the Cookie header
	order  int // empty, dead, alive
	issued time.Time
}

const (
	empty = iota
	dead
	alive
)

// open lists the attempts in a slot whose seal is valid.
func (j attemptJar) open(h http.Header, slot int) (found []attempt, size int) {
	name := j.slotName(slot)
	for i, text := range web.CookieValues(h, name) {
		size += len(name) + len("=; ") + len(text)
		if i >= maxCopies {
			continue
		}
		if plain, _, err := j.keyring.Open(attemptPurpose, name, text); err == nil {
			if a, ok := decodeAttempt(plain); ok {
				found = append(found, a)
			}
		}
	}
	return found, size
}

// find returns the attempt of this browser that state belongs to, and its slot.
func (j attemptJar) find(h http.Header, state [32]byte) (a attempt, slot int, ok bool) {
	for slot := range slots {
		found, _ := j.open(h, slot)
		for _, a := range found {
			if subtle.ConstantTimeCompare(a.state[:], state[:]) == 1 {
				return a, slot, true
			}
		}
	}
	return attempt{}, 0, false
}

// place makes the cookie of a new attempt and those that clear the attempts it displaces: an empty
// slot is used first, then a dead one, then the oldest.
func (j attemptJar) place(h http.Header, a attempt, now time.Time) ([]*http.Cookie, error) {
	first := int(j.turn.Add(1) % slots) // tabs that open together, all without a cookie yet, use different slots
	candidates := make([]sealed, slots)
	for i := range candidates {
		candidates[i] = j.look(h, (first+i)%slots, now)
	}
	slices.SortStableFunc(candidates, func(a, b sealed) int {
		return cmp.Or(cmp.Compare(a.order, b.order), a.issued.Compare(b.issued))
	})
	name := j.slotName(candidates[0].slot)
	text, err := j.keyring.Seal(attemptPurpose, name, a.encode())
	if err != nil {
		return nil, fmt.Errorf("login: sealing an attempt: %w", err)
	}
	cookies := []*http.Cookie{j.cookie(candidates[0].slot, text, int(attemptLife/time.Second))}
	total := len(name) + len(text)
	for _, c := range slices.Backward(candidates[1:]) { // from the newest on, as long as they fit
		if total += c.size; total > maxAttempts && c.order != empty {
			cookies = append(cookies, j.cookie(c.slot, "", -1))
		}
	}
	return cookies, nil
}

func (j attemptJar) look(h http.Header, slot int, now time.Time) sealed {
	found, size := j.open(h, slot)
	c := sealed{slot: slot, size: size}
	if size > 0 {
		c.order = dead
	}
	for _, a := range found {
		if a.live(now) {
			c.order, c.issued = alive, a.issued
		}
	}
	return c
}

// cookie is Lax whatever cookie.same_site is: DingTalk's redirect back is a navigation from
// another site.
func (j attemptJar) cookie(slot int, text string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: j.slotName(slot), Value: text, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: j.secure, SameSite: http.SameSiteLaxMode}
}
