package grant

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

// Texts that clients receive. The MAC covers the kind, so that none is accepted as another
// (threats T19). A text that was not issued here costs a MAC and no lookup.
//
//	code     16 random bytes                                     ─┐
//	access   family 16, expires 8 (Unix milliseconds), random 8   ├─ then 16 bytes of MAC, all in base64
//	narrow   family 16, expires 8, random 7, scope 1              │
//	refresh  family 16, generation 8                             ─┘
//
// A refresh token has no random part of its own: the same successor can be computed again for an
// answer that was lost, and the MAC cannot be guessed.
const (
	kindCode    = "code"
	kindAccess  = "access token"
	kindNarrow  = "narrow access token"
	kindRefresh = "refresh token"

	familySize  = 16
	accessSize  = familySize + 8 + 8
	refreshSize = familySize + 8
	macSize     = 16
)

// Family identifies everything that one code gave.
type Family [familySize]byte

// String is an id for records; it grants nothing.
func (f Family) String() string { return base64.RawURLEncoding.EncodeToString(f[:]) }

// ParseFamily parses the output of String.
func ParseFamily(text string) (f Family, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != familySize {
		return f, false
	}
	return Family(raw), true
}

func familyOf(code string) Family {
	sum := sha256.Sum256([]byte("family of " + code))
	return Family(sum[:familySize])
}

// keyOf is a hash: a reader of the store cannot make tokens from its keys (threats C17).
func (i *Issuer) keyOf(f Family) string {
	sum := sha256.Sum256(append([]byte(i.name+" family "), f[:]...))
	return i.name + ":grant:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// tokenMaker makes the texts of clients and seals the records of the store. The first key seals,
// all open.
type tokenMaker struct{ keys []tokenKey }

type tokenKey struct {
	mac  []byte
	aead cipher.AEAD
}

func newTokenMaker(name string, keys [][]byte) (*tokenMaker, error) {
	if len(keys) == 0 {
		return nil, errors.New("grant: making an issuer: no key")
	}
	m := &tokenMaker{}
	for _, key := range keys {
		mac, err := hkdf.Key(sha256.New, key, nil, "dinggate "+name+" tokens", 32)
		if err != nil {
			return nil, fmt.Errorf("grant: making an issuer: %w", err)
		}
		sealing, err := hkdf.Key(sha256.New, key, nil, "dinggate "+name+" records", 32)
		if err != nil {
			return nil, fmt.Errorf("grant: making an issuer: %w", err)
		}
		block, err := aes.NewCipher(sealing)
		if err != nil {
			return nil, fmt.Errorf("grant: making an issuer: %w", err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("grant: making an issuer: %w", err)
		}
		m.keys = append(m.keys, tokenKey{mac, aead})
	}
	return m, nil
}

func (k tokenKey) tag(kind string, body []byte) []byte {
	h := hmac.New(sha256.New, k.mac)
	h.Write([]byte(kind))
	h.Write([]byte{0})
	h.Write(body)
	return h.Sum(nil)[:macSize]
}

func (m *tokenMaker) write(kind string, body []byte) string {
	return base64.RawURLEncoding.EncodeToString(append(body, m.keys[0].tag(kind, body)...))
}

// read returns the argument of write, for a text in its canonical spelling; otherwise ErrForeign.
func (m *tokenMaker) read(kind, text string, size int) ([]byte, error) {
	if len(text) != base64.RawURLEncoding.EncodedLen(size+macSize) {
		return nil, ErrForeign
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != size+macSize { // the decoder ignores line breaks
		return nil, ErrForeign
	}
	for _, key := range m.keys {
		if hmac.Equal(raw[size:], key.tag(kind, raw[:size])) {
			return raw[:size], nil
		}
	}
	return nil, ErrForeign
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand would end the process
	return b
}

func (m *tokenMaker) access(f Family, t Terms) string {
	body := binary.BigEndian.AppendUint64(append([]byte{}, f[:]...), uint64(t.Expires.UnixMilli()))
	if t.Narrow {
		return m.write(kindNarrow, append(append(body, random(7)...), t.Scope))
	}
	return m.write(kindAccess, append(body, random(8)...))
}

func (m *tokenMaker) readAccess(text string) (f Family, t Terms, err error) {
	body, err := m.read(kindAccess, text, accessSize)
	if err != nil {
		if body, err = m.read(kindNarrow, text, accessSize); err != nil {
			return Family{}, Terms{}, err
		}
		t.Narrow, t.Scope = true, body[accessSize-1]
	}
	t.Expires = time.UnixMilli(int64(binary.BigEndian.Uint64(body[familySize:])))
	return Family(body[:familySize]), t, nil
}

func (m *tokenMaker) refresh(f Family, generation uint64) string {
	return m.write(kindRefresh, binary.BigEndian.AppendUint64(append([]byte{}, f[:]...), generation))
}

func (m *tokenMaker) readRefresh(text string) (Family, uint64, error) {
	body, err := m.read(kindRefresh, text, refreshSize)
	if err != nil {
		return Family{}, 0, err
	}
	return Family(body[:familySize]), binary.BigEndian.Uint64(body[familySize:]), nil
}

func (m *tokenMaker) seal(key string, g *Grant) ([]byte, error) {
	plain, err := json.Marshal(g)
	if err != nil {
		return nil, fmt.Errorf("grant: sealing a record: %w", err)
	}
	aead := m.keys[0].aead
	nonce := random(aead.NonceSize())
	return aead.Seal(nonce, nonce, plain, []byte(key)), nil
}

// open fails for a record that was sealed with a removed key, or was stored under another key.
func (m *tokenMaker) open(key string, value []byte, g *Grant) bool {
	for _, k := range m.keys {
		n := k.aead.NonceSize()
		if len(value) < n {
			return false
		}
		if plain, err := k.aead.Open(nil, value[:n], value[n:], []byte(key)); err == nil {
			return json.Unmarshal(plain, g) == nil
		}
	}
	return false
}
