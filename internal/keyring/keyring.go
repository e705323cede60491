// Package keyring holds the secrets of an installation and seals with them: texts for browsers,
// records of a store, and derived keys for other packages.
package keyring

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"

	"dinggate/internal/conf"

	"github.com/gorilla/securecookie"
)

// Keyring seals small texts that browsers store: encrypted (AES-CTR) and authenticated
// (HMAC-SHA256) by securecookie.
//
// The first secret seals, all open. Every purpose has keys of its own and the MAC covers the name,
// so that no sealed text can replace one of another kind (threats S8). A text has no expiry: put
// times inside. Safe for concurrent use; the zero Keyring and a nil one seal and open nothing.
type Keyring struct {
	secrets [][]byte

	mu       sync.RWMutex
	purposes map[string][]*securecookie.SecureCookie
}

// ExampleSecret is in example configurations; ParseSecret refuses it.
const ExampleSecret = "ZGluZ2dhdGUtZXhhbXBsZS1zZWNyZXQtMzItYnl0ZXM="

// MaxSecrets bounds the work that a forged cookie causes: one MAC per secret.
const MaxSecrets = 8

// ErrForged is the only error for a text that cannot be opened, whatever the reason, so that a
// forger learns nothing from it.
var ErrForged = errors.New("keyring: does not verify")

var errNoSecret = errors.New("the keyring has no secret")

// MaxText is the longest text that Seal makes and Open accepts, in bytes.
const MaxText = 3500

// maxPurposes bounds the map of derived keys; purposes are constants of our code.
const maxPurposes = 32

// New derives keys from secrets, each exactly 32 bytes in standard or URL base64, and seals once,
// since securecookie detects a wrong key only then. Errors identify the secret by its position,
// never by its text.
func New(secrets []conf.Secret) (*Keyring, error) {
	if len(secrets) == 0 {
		return nil, errors.New("keyring: making a keyring: no secret")
	}
	k := &Keyring{purposes: map[string][]*securecookie.SecureCookie{}}
	for i, secret := range secrets {
		raw, err := ParseSecret(secret)
		if err != nil {
			return nil, fmt.Errorf("keyring: making a keyring: secret %d %w", i, err)
		}
		k.secrets = append(k.secrets, raw)
	}
	text, err := k.Seal("trial", "trial", []byte{1})
	if err != nil {
		return nil, err
	}
	if _, _, err := k.Open("trial", "trial", text); err != nil {
		return nil, fmt.Errorf("keyring: making a keyring: what was sealed does not open: %w", err)
	}
	return k, nil
}

// String hides the secrets from fmt, which would print unexported fields.
func (k *Keyring) String() string   { return "keyring.Keyring" }
func (k *Keyring) GoString() string { return k.String() }

// Seal makes a text that only Open with the same purpose and name opens. plain is not changed and
// must not be empty; name must not contain `|`.
func (k *Keyring) Seal(purpose, name string, plain []byte) (string, error) {
	codecs, err := k.codecs(purpose)
	if err != nil {
		return "", fmt.Errorf("keyring: sealing: %w", err)
	}
	if len(plain) == 0 || strings.Contains(name, "|") {
		return "", errors.New("keyring: sealing: nothing to seal, or a name with a bar")
	}
	text, err := codecs[0].Encode(name, bytes.Clone(plain)) // it encrypts in place
	if err != nil {
		return "", fmt.Errorf("keyring: sealing: %w", err)
	}
	return text, nil
}

// Open returns the argument of Seal. old reports that it was not sealed with the first secret, so
// that the text should be renewed. The only error is ErrForged.
func (k *Keyring) Open(purpose, name, text string) (plain []byte, old bool, err error) {
	if len(text) > MaxText || strings.Contains(name, "|") || !canonical(text) {
		return nil, false, ErrForged
	}
	codecs, err := k.codecs(purpose)
	if err != nil {
		return nil, false, ErrForged
	}
	for i, codec := range codecs {
		if codec.Decode(name, text, &plain) == nil {
			return plain, i > 0, nil
		}
	}
	return nil, false, ErrForged
}

// canonical reports whether text is URL base64 as an encoder writes it. The decoder that
// securecookie uses ignores line breaks and the spare bits of the last character, so that one
// sealed value would have many spellings (threats S6).
func canonical(text string) bool {
	if text == "" || len(text)%4 != 0 {
		return false
	}
	body := strings.TrimRight(text, "=")
	for i := 0; i < len(body); i++ {
		if !letters[body[i]] {
			return false
		}
	}
	var last [3]byte
	_, err := base64.URLEncoding.Strict().Decode(last[:], []byte(text[len(text)-4:]))
	return err == nil && len(text)-len(body) <= 2
}

// The characters are those of URL base64.
var letters = func() (is [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		is[c] = true
	}
	return is
}()

// Derive returns a key of 32 bytes per secret for a purpose that seals by itself, in the order of
// the secrets: seal with the first, accept all.
func (k *Keyring) Derive(purpose string) ([][]byte, error) {
	var keys [][]byte
	for _, secret := range k.secrets {
		key, err := hkdf.Key(sha256.New, secret, nil, "dinggate 1 key "+purpose, 32)
		if err != nil {
			return nil, fmt.Errorf("keyring: deriving a key: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (k *Keyring) codecs(purpose string) ([]*securecookie.SecureCookie, error) {
	if k == nil || len(k.secrets) == 0 {
		return nil, errNoSecret
	}
	k.mu.RLock()
	codecs := k.purposes[purpose]
	k.mu.RUnlock()
	if codecs != nil {
		return codecs, nil
	}
	for _, secret := range k.secrets {
		codec, err := derive(secret, purpose)
		if err != nil {
			return nil, err
		}
		codecs = append(codecs, codec)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.purposes[purpose] == nil && len(k.purposes) >= maxPurposes {
		return nil, errors.New("too many purposes")
	}
	k.purposes[purpose] = codecs
	return codecs, nil
}

// derive derives the pair of keys of one secret for one purpose (RFC 5869).
func derive(secret []byte, purpose string) (*securecookie.SecureCookie, error) {
	mac, err := hkdf.Key(sha256.New, secret, nil, "dinggate 1 mac "+purpose, 64)
	if err != nil {
		return nil, err
	}
	cipher, err := hkdf.Key(sha256.New, secret, nil, "dinggate 1 cipher "+purpose, 32)
	if err != nil {
		return nil, err
	}
	codec := securecookie.New(mac, cipher)
	codec.SetSerializer(securecookie.NopEncoder{}) // our own bytes instead of gob
	// its clock cannot be set and it accepts the future: our times are in the payload
	codec.MaxAge(0)
	codec.MaxLength(MaxText)
	return codec, nil
}

// ParseSecret parses 32 bytes of standard or URL base64, with or without padding. Its errors never
// quote the secret.
func ParseSecret(s conf.Secret) ([]byte, error) {
	text := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimSpace(s.Reveal()))
	text = strings.TrimSuffix(text, "=")
	raw, err := base64.RawStdEncoding.Strict().DecodeString(text)
	switch {
	case text == "":
		return nil, conf.Errorf(`is empty; generate one with "dinggate keygen"`)
	case err != nil || len(raw) != 32:
		return nil, conf.Errorf(`is not 32 bytes in base64; generate one with "dinggate keygen"`)
	case text == strings.TrimSuffix(ExampleSecret, "="):
		return nil, conf.Errorf(`is the example's, which is public; generate one with "dinggate keygen"`)
	case bytes.Count(raw, raw[:1]) == len(raw):
		return nil, conf.Errorf(`is one byte repeated; generate one with "dinggate keygen"`)
	}
	return raw, nil
}
