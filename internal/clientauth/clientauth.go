// Package clientauth recognises OAuth clients by their secrets.
//
//	Authorization: Basic ─► Basic ─► id, secret ─► Secrets.Match ─► the client
//	                                     └─ Guesses.Wait, Guesses.Wrong: slower with every wrong one
//
// What a client may do, and the answer to one that is not known, are the callers'.
package clientauth

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"

	"dinggate/internal/conf"
)

// Bounds on what is looked at.
const (
	MaxID       = 128
	MaxSecret   = 1 << 10
	maxEncoded  = 8 << 10
	schemeBasic = "Basic"
)

// ErrBasic means that no Authorization header of scheme Basic can be read.
var ErrBasic = errors.New("clientauth: no Basic header that can be read")

// Basic reads the values of a request's Authorization header, in the one spelling
// of base64 that an encoder writes (threats T4). ErrBasic.
func Basic(lines []string) (id, secret string, err error) {
	if len(lines) != 1 || len(lines[0]) > maxEncoded {
		return "", "", ErrBasic
	}
	scheme, text, ok := strings.Cut(lines[0], " ")
	if !ok || !strings.EqualFold(scheme, schemeBasic) {
		return "", "", ErrBasic
	}
	text = strings.TrimLeft(text, " ")
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // the decoder skips line breaks
		return "", "", ErrBasic
	}
	id, secret, ok = strings.Cut(string(raw), ":")
	if !ok || id == "" || len(id) > MaxID || len(secret) > MaxSecret || !utf8.Valid(raw) ||
		bytes.ContainsFunc(raw, control) {
		return "", "", ErrBasic
	}
	return id, secret, nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// Secrets knows clients by the hashes of their secrets; immutable.
type Secrets map[string][sha256.Size]byte

// Add makes a client known. One without a secret matches nothing.
func (all Secrets) Add(id string, secret conf.Secret) {
	if !secret.IsZero() {
		all[id] = sha256.Sum256([]byte(secret.Reveal()))
	}
}

// Match returns the client that both texts belong to. Whatever is wrong takes the
// same steps, an unknown client too: two look-ups, two hashes of what was given,
// two comparisons of hashes (threats T6). RFC 6749 §2.3.1 has clients encode both
// texts as forms do before base64, which most leave out: both readings count.
func (all Secrets) Match(id, secret string) (client string, ok bool) {
	hash, known := all[id]
	other := FormDecoded(id)
	decodedHash, decodedKnown := all[other]
	client = id
	if !known {
		hash, known, client = decodedHash, decodedKnown, other
	}
	given, decoded := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte(FormDecoded(secret)))
	same := subtle.ConstantTimeCompare(given[:], hash[:]) | subtle.ConstantTimeCompare(decoded[:], hash[:])
	if same != 1 || !known {
		return "", false
	}
	return client, true
}

// FormDecoded is a text as forms encode it, or the text where that is none.
func FormDecoded(text string) string {
	if decoded, err := url.QueryUnescape(text); err == nil {
		return decoded
	}
	return text
}
