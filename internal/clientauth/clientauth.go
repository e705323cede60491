// Package clientauth recognises OAuth clients by their secrets.
//
//	Authorization: Basic ─► Basic ─► id, secret ─► Secrets.Match ─► the client
//	                                     └─ Guesses.Wait, Guesses.Wrong: slower with every wrong one
//
// The callers decide what a client may do, and answer one that is not recognised.
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

// Bounds on the input.
const (
	MaxID       = 128
	MaxSecret   = 1 << 10
	maxEncoded  = 8 << 10
	schemeBasic = "Basic"
)

// ErrBasic means that there is no valid Authorization header of scheme Basic.
var ErrBasic = errors.New("clientauth: no Basic header that can be read")

// Basic parses the values of a request's Authorization header, in the canonical spelling of base64
// only (threats T4). Its error is ErrBasic.
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
	if err != nil || strings.ContainsAny(text, "\r\n") { // the decoder ignores line breaks
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

// Secrets maps clients to the hashes of their secrets; immutable.
type Secrets map[string][sha256.Size]byte

// Add adds a client. A client without a secret is never matched.
func (all Secrets) Add(id string, secret conf.Secret) {
	if !secret.IsZero() {
		all[id] = sha256.Sum256([]byte(secret.Reveal()))
	}
}

// Match returns the client of both texts. Wrong input takes the same steps as right input, also
// for an unknown client: two lookups, two hashes, two comparisons of hashes (threats T6). RFC 6749
// §2.3.1 requires clients to form-encode both texts before base64, which most omit: both readings
// are accepted.
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

// FormDecoded decodes a form-encoded text, and returns any other text unchanged.
func FormDecoded(text string) string {
	if decoded, err := url.QueryUnescape(text); err == nil {
		return decoded
	}
	return text
}
