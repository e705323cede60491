package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
)

// A box is the sealed form of records and journal entries: AES-256-GCM with a key that is derived
// for this box only (HKDF-SHA256 from a secret, a random salt and the box's name), so that no
// nonce repeats however many boxes there are.
//
//	salt 24 bytes | ciphertext and tag
//
// The name is the record's key: a box cannot be opened in another one's place.
const (
	SaltLength = 24 // every box begins with its salt, which identifies it
	KeyLength  = 32
)

func boxCipher(secret, salt []byte, name string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, secret, salt, "dinggate 1 box "+name, KeyLength)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// SealBox makes a box; secret is KeyLength random bytes.
func SealBox(secret []byte, name string, plain []byte) ([]byte, error) {
	box := make([]byte, SaltLength, SaltLength+len(plain)+16)
	if _, err := rand.Read(box); err != nil {
		return nil, err
	}
	aead, err := boxCipher(secret, box, name)
	if err != nil {
		return nil, err
	}
	return aead.Seal(box, make([]byte, aead.NonceSize()), plain, nil), nil
}

// OpenBox returns the argument of SealBox, or ErrForged.
func OpenBox(secret []byte, name string, box []byte) ([]byte, error) {
	if len(box) < SaltLength {
		return nil, ErrForged
	}
	aead, err := boxCipher(secret, box[:SaltLength], name)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), box[SaltLength:], nil)
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}

// SealRecord seals a record of a store, to which other programs may write: encrypted,
// authenticated and bound to its name, with the first secret. The number of records, and of
// records with one name, is unlimited.
func (k *Keyring) SealRecord(name string, plain []byte) ([]byte, error) {
	if k == nil || len(k.secrets) == 0 {
		return nil, errNoSecret
	}
	return SealBox(k.secrets[0], name, plain)
}

// OpenRecord returns the argument of SealRecord with the same name; old reports that it was not
// sealed with the first secret, so that it should be sealed again before that secret is removed.
func (k *Keyring) OpenRecord(name string, box []byte) (plain []byte, old bool, err error) {
	if k == nil {
		return nil, false, ErrForged
	}
	for i, secret := range k.secrets {
		if plain, err := OpenBox(secret, name, box); err == nil {
			return plain, i > 0, nil
		}
	}
	return nil, false, ErrForged
}
