package assertion

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"

	"dinggate/internal/conf"

	"github.com/go-jose/go-jose/v4"
)

// Key is a private key for one algorithm: ES256 for P-256, EdDSA for Ed25519. It never prints its
// secret.
type Key struct {
	private   crypto.Signer
	algorithm jose.SignatureAlgorithm
	id        string // RFC 7638 thumbprint: the same key has the same id on every replica and after every restart
}

func (k Key) public() crypto.PublicKey { return k.private.Public() }

// String hides the key from fmt.
func (k Key) String() string   { return "assertion key " + k.id }
func (k Key) GoString() string { return k.String() }

func newKey(private any) (Key, error) {
	k := Key{}
	switch private := private.(type) {
	case *ecdsa.PrivateKey:
		if private.Curve != elliptic.P256() {
			return k, conf.Errorf("is an ECDSA key of another curve than P-256")
		}
		k.private, k.algorithm = private, jose.ES256
	case ed25519.PrivateKey:
		k.private, k.algorithm = private, jose.EdDSA
	default:
		return k, conf.Errorf("is not an ECDSA P-256 or Ed25519 key")
	}
	sum, err := (&jose.JSONWebKey{Key: k.public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return k, err
	}
	k.id = base64.RawURLEncoding.EncodeToString(sum)
	return k, nil
}

// ParseKey parses a private key in PEM form: PKCS #8, or SEC 1 for ECDSA. Error texts begin with a
// verb and quote nothing of the key.
func ParseKey(text []byte) (Key, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return Key{}, conf.Errorf("contains no private key in PEM format")
		}
		switch block.Type {
		case "PRIVATE KEY":
			private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return Key{}, conf.Errorf("contains an invalid private key")
			}
			return newKey(private)
		case "EC PRIVATE KEY":
			private, err := x509.ParseECPrivateKey(block.Bytes)
			if err != nil {
				return Key{}, conf.Errorf("contains an invalid private key")
			}
			return newKey(private)
		case "ENCRYPTED PRIVATE KEY":
			return Key{}, conf.Errorf("contains an encrypted private key; decrypt it first")
		}
		text = rest // openssl writes EC PARAMETERS before the key
	}
}

// MakeKey derives a P-256 key from a seed of 32 bytes. About one seed in 2³² is invalid: try
// another one.
func MakeKey(seed []byte) (Key, error) {
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed)
	if err != nil {
		return Key{}, fmt.Errorf("assertion: making a key: the seed stands for none: %w", err)
	}
	return newKey(private)
}
