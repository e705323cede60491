// Package keys holds the private keys that the OpenID Connect provider signs with.
//
//	key_files ─► Parse ─► Set ─┬─ Sign, with the first key of an algorithm
//	the store ─► Keeper ─► Set ┤  Verify, with any
//	                           └─ JWKS ─► GET /oidc/jwks
//
// A Set never changes. The Keeper makes keys, stores them sealed in the store that all replicas
// share, and rotates them.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// The algorithms that clients can choose.
const (
	RS256 = "RS256"
	ES256 = "ES256"
)

// Algorithms lists them, the default first.
var Algorithms = []string{RS256, ES256}

// accepted are the algorithms of Verify, all asymmetric, so that neither `none` nor HS256 with our
// public key as its secret verifies (threats E6).
var accepted = []jose.SignatureAlgorithm{jose.RS256, jose.ES256}

// minRSA is the smallest modulus, in bits.
const minRSA = 2048

// Key is one private key. It never prints its secret.
type Key struct {
	private   crypto.Signer
	algorithm jose.SignatureAlgorithm
	id        string
}

func (k Key) String() string   { return "key " + k.id }
func (k Key) GoString() string { return k.String() }

// ID is the key's thumbprint (RFC 7638), its `kid`.
func (k Key) ID() string { return k.id }

// Algorithm is RS256 or ES256.
func (k Key) Algorithm() string { return string(k.algorithm) }

// Parse parses one private key in PEM: RSA of 2048 bits or more, or EC P-256, as PKCS #8, PKCS #1
// or SEC 1.
func Parse(text []byte) (Key, error) {
	block, rest := pem.Decode(text)
	if block != nil && block.Type == "EC PARAMETERS" { // openssl writes it before the key
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return Key{}, errors.New("is no PEM file")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return Key{}, errors.New("holds more than one block; write one key to a file")
	}
	var private any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return Key{},
			errors.New(`holds no private key; "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048" makes one`)
	}
	if err != nil {
		return Key{}, errors.New("holds a private key that cannot be read; an encrypted one has to be decrypted first")
	}
	return newKey(private)
}

func newKey(private any) (Key, error) {
	switch p := private.(type) {
	case *rsa.PrivateKey:
		if p.N.BitLen() < minRSA {
			return Key{}, fmt.Errorf("holds an RSA key of %d bits; %d is the least", p.N.BitLen(), minRSA)
		}
		return named(Key{private: p, algorithm: jose.RS256})
	case *ecdsa.PrivateKey:
		if p.Curve != elliptic.P256() {
			return Key{}, errors.New("holds an EC key of another curve than P-256")
		}
		return named(Key{private: p, algorithm: jose.ES256})
	}
	return Key{}, errors.New("holds a key that is neither RSA nor EC P-256")
}

func named(k Key) (Key, error) {
	sum, err := (&jose.JSONWebKey{Key: k.private.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return Key{}, fmt.Errorf("keys: naming a key: %w", err)
	}
	k.id = base64.RawURLEncoding.EncodeToString(sum)
	return k, nil
}

// Set is an ordered list of keys. Safe for concurrent use.
type Set struct {
	keys    []Key
	signers map[string]map[string]jose.Signer // algorithm → typ
	jwks    []byte
}

// ErrNoKey means that there is no key for the algorithm.
var ErrNoKey = errors.New("keys: no key for the algorithm")

// ErrVerify means that no key of the set signed the text.
var ErrVerify = errors.New("keys: not signed by one of our keys")

// Types of tokens: the `typ` of a header.
const (
	TypeID     = "JWT"
	TypeLogout = "logout+jwt"
)

// New makes a Set: the first key of each algorithm signs, all are published.
func New(list []Key) (*Set, error) {
	s := &Set{signers: map[string]map[string]jose.Signer{}}
	var set jose.JSONWebKeySet
	seen := map[string]bool{}
	for _, k := range list {
		if seen[k.id] {
			continue
		}
		seen[k.id] = true
		s.keys = append(s.keys, k)
		set.Keys = append(set.Keys, jose.JSONWebKey{
			Key:       k.private.Public(),
			KeyID:     k.id,
			Algorithm: string(k.algorithm),
			Use:       "sig",
		})
		if s.signers[k.Algorithm()] != nil {
			continue
		}
		s.signers[k.Algorithm()] = map[string]jose.Signer{}
		for _, typ := range []jose.ContentType{TypeID, TypeLogout} {
			with := jose.SigningKey{Algorithm: k.algorithm, Key: jose.JSONWebKey{Key: k.private, KeyID: k.id}}
			signer, err := jose.NewSigner(with, (&jose.SignerOptions{}).WithType(typ))
			if err != nil {
				return nil, fmt.Errorf("keys: making a signer: %w", err)
			}
			s.signers[k.Algorithm()][string(typ)] = signer
		}
	}
	var err error
	if s.jwks, err = json.Marshal(set); err != nil {
		return nil, fmt.Errorf("keys: publishing: %w", err)
	}
	return s, nil
}

// JWKS is the set of public keys as JSON (RFC 7517).
func (s *Set) JWKS() []byte { return s.jwks }

// Has reports whether there is a key for the algorithm.
func (s *Set) Has(algorithm string) bool { return s.signers[algorithm] != nil }

// Sign signs claims as a JWT with the first key of the algorithm. Its error can be ErrNoKey.
func (s *Set) Sign(algorithm, typ string, claims any) (string, error) {
	signer := s.signers[algorithm][typ]
	if signer == nil {
		return "", ErrNoKey
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("keys: signing: %w", err)
	}
	signed, err := signer.Sign(body)
	if err != nil {
		return "", fmt.Errorf("keys: signing: %w", err)
	}
	return signed.CompactSerialize()
}

// maxToken bounds the input of Verify.
const maxToken = 16 << 10

// Verify returns the claims of a JWT that a key of the set signed, without checking them: the
// caller checks issuer, audience and times. The only error is ErrVerify.
func (s *Set) Verify(token, typ string) ([]byte, error) {
	if len(token) > maxToken {
		return nil, ErrVerify
	}
	signed, err := jose.ParseSignedCompact(token, accepted)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, ErrVerify
	}
	header := signed.Signatures[0].Header
	if header.ExtraHeaders[jose.HeaderType] != typ {
		return nil, ErrVerify
	}
	for _, k := range s.keys {
		if k.id == header.KeyID && k.Algorithm() == header.Algorithm {
			body, err := signed.Verify(k.private.Public())
			if err != nil {
				return nil, ErrVerify
			}
			return body, nil
		}
	}
	return nil, ErrVerify
}
