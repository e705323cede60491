package sso

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// What third parties hold. The kind is under the MAC, so that none passes for
// another (threats T19), and one that we never made costs a MAC
// and no look into the store.
//
//	code     16 random bytes                                     ─┐
//	access   family 16, expires 8 (Unix milliseconds), random 8   ├─ then 16 bytes of MAC, all in base64
//	refresh  family 16, random 16                                ─┘
//
// A family is everything that one code gave. Its name follows from the code,
// so that a second use of the code finds what the first gave (threats T8).
const (
	kindCode    = "code"
	kindAccess  = "access token"
	kindRefresh = "refresh token"
)

const macSize = 16

var errToken = errors.New("sso: nothing that we handed out")

// mint makes what a third party holds and seals what the store keeps. Values
// in the store are sealed, their keys are hashes: who reads the store can
// redeem nothing (threats C17). The first key makes, all open.
type mint struct{ keys []mintKey }

type mintKey struct {
	mac  []byte
	aead cipher.AEAD
}

func newMint(keys [][]byte) (*mint, error) {
	if len(keys) == 0 {
		return nil, errors.New("sso: making a mint: no key")
	}
	m := &mint{}
	for _, key := range keys {
		mac, err := hkdf.Key(sha256.New, key, nil, "dinggate sso tokens", 32)
		if err != nil {
			return nil, fmt.Errorf("sso: making a mint: %w", err)
		}
		sealing, err := hkdf.Key(sha256.New, key, nil, "dinggate sso records", 32)
		if err != nil {
			return nil, fmt.Errorf("sso: making a mint: %w", err)
		}
		block, err := aes.NewCipher(sealing)
		if err != nil {
			return nil, fmt.Errorf("sso: making a mint: %w", err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("sso: making a mint: %w", err)
		}
		m.keys = append(m.keys, mintKey{mac, aead})
	}
	return m, nil
}

func (k mintKey) tag(kind string, body []byte) []byte {
	h := hmac.New(sha256.New, k.mac)
	h.Write([]byte(kind))
	h.Write([]byte{0})
	h.Write(body)
	return h.Sum(nil)[:macSize]
}

func (m *mint) write(kind string, body []byte) string {
	return base64.RawURLEncoding.EncodeToString(append(body, m.keys[0].tag(kind, body)...))
}

// read gives back what write was given, for a text in its one spelling.
func (m *mint) read(kind, text string, size int) ([]byte, error) {
	if len(text) != base64.RawURLEncoding.EncodedLen(size+macSize) {
		return nil, errToken
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != size+macSize {
		return nil, errToken
	}
	for _, key := range m.keys {
		if hmac.Equal(raw[size:], key.tag(kind, raw[:size])) {
			return raw[:size], nil
		}
	}
	return nil, errToken
}

type family [16]byte

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	return b
}

func (m *mint) code() string { return m.write(kindCode, random(16)) }

// familyOf names what a code gives; errToken when the code is not ours.
func (m *mint) familyOf(code string) (family, error) {
	if _, err := m.read(kindCode, code, 16); err != nil {
		return family{}, err
	}
	sum := sha256.Sum256([]byte("family of " + code))
	return family(sum[:16]), nil
}

func (m *mint) access(f family, expires time.Time) string {
	body := binary.BigEndian.AppendUint64(append([]byte{}, f[:]...), uint64(expires.UnixMilli()))
	return m.write(kindAccess, append(body, random(8)...))
}

func (m *mint) readAccess(text string) (f family, expires time.Time, err error) {
	body, err := m.read(kindAccess, text, 32)
	if err != nil {
		return family{}, time.Time{}, err
	}
	return family(body[:16]), time.UnixMilli(int64(binary.BigEndian.Uint64(body[16:]))), nil
}

func (m *mint) refresh(f family) string {
	return m.write(kindRefresh, append(append([]byte{}, f[:]...), random(16)...))
}

func (m *mint) readRefresh(text string) (family, error) {
	body, err := m.read(kindRefresh, text, 32)
	if err != nil {
		return family{}, err
	}
	return family(body[:16]), nil
}

// Names of records in the store.
func keyOf(kind, text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sso:" + kind + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}

func codeKey(code string) string       { return keyOf("code", code) }
func refreshKey(refresh string) string { return keyOf("refresh", refresh) }
func (f family) key() string           { return keyOf("family", string(f[:])) }

// grant is a record of a code that waits, or of a family that lives.
type grant struct {
	Client  string
	State   string // of the code's redirect; "" in a family
	Made    bool   `json:",omitempty"` // State was made up here: the client's authorize call had none
	Ref     string // Person.Ref
	Expires time.Time
}

func (m *mint) seal(key string, g grant) ([]byte, error) {
	plain, err := json.Marshal(g)
	if err != nil {
		return nil, fmt.Errorf("sso: sealing a record: %w", err)
	}
	aead := m.keys[0].aead
	nonce := random(aead.NonceSize())
	return aead.Seal(nonce, nonce, plain, []byte(key)), nil
}

// open fails for a record that was sealed with a key that is gone, or that
// stood under another name.
func (m *mint) open(key string, value []byte) (g grant, ok bool) {
	for _, k := range m.keys {
		n := k.aead.NonceSize()
		if len(value) < n {
			return grant{}, false
		}
		if plain, err := k.aead.Open(nil, value[:n], value[n:], []byte(key)); err == nil {
			return g, json.Unmarshal(plain, &g) == nil
		}
	}
	return grant{}, false
}
