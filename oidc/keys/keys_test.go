package keys

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// stored is a record in memory.
type stored struct {
	record  Record
	version int
	err     error
}

func (k *stored) keeper(now *time.Time) *Keeper {
	return &Keeper{Retain: time.Hour, Now: func() time.Time { return *now },
		Read: func(context.Context) (Record, []byte, error) { return k.record, fmt.Append(nil, k.version), k.err },
		Write: func(_ context.Context, r Record, version []byte) (bool, error) {
			if string(version) != fmt.Sprint(k.version) {
				return false, k.err
			}
			k.record, k.version = r, k.version+1
			return true, k.err
		}}
}

func ids(t *testing.T, s *Set, algorithm string) (all []string) {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(s.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	for _, k := range set.Keys {
		if !k.IsPublic() {
			t.Fatalf("the set shows a private key")
		}
		if k.Algorithm == algorithm {
			all = append(all, k.KeyID)
		}
	}
	return all
}

func kid(t *testing.T, s *Set, algorithm string) string {
	t.Helper()
	text, err := s.Sign(algorithm, TypeID, map[string]string{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verify(text, TypeID); err != nil {
		t.Errorf("Verify of what Sign made: %v", err)
	}
	if _, err := s.Verify(text, TypeLogout); !errors.Is(err, ErrVerify) {
		t.Errorf("Verify as another type = %v", err)
	}
	signed, err := jose.ParseSignedCompact(text, accepted)
	if err != nil {
		t.Fatal(err)
	}
	return signed.Signatures[0].Header.KeyID
}

// TestRotation: a new key is published a day before it signs, and the previous one as long as its
// tokens are valid.
func TestRotation(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	k := &stored{}
	keeper := k.keeper(&now)
	set := func(after time.Duration) *Set {
		t.Helper()
		now = now.Add(after)
		s, err := keeper.Set(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := kid(t, set(0), RS256)
	if another, err := k.keeper(&now).Set(t.Context()); err != nil || kid(t, another, RS256) != first {
		t.Errorf("another replica signs with another key: %v", err)
	}
	if got := kid(t, set(Life-time.Minute), RS256); got != first {
		t.Errorf("a minute before its end %q signs", got)
	}
	s := set(2 * time.Minute)
	if got := ids(t, s, RS256); len(got) != 2 || got[0] != first || kid(t, s, RS256) != first {
		t.Errorf("after 90 days: %q, want the first and a new one, the first signing", got)
	}
	s = set(ahead)
	second := kid(t, s, RS256)
	if got := ids(t, s, RS256); second == first || len(got) != 2 {
		t.Errorf("a day later %q of %q signs", second, got)
	}
	if got := ids(t, set(2*time.Hour), RS256); len(got) != 1 || got[0] != second {
		t.Errorf("after the tokens are over: %q", got)
	}
	if got := ids(t, set(0), ES256); len(got) != 1 {
		t.Errorf("ES256: %q", got)
	}
	k.err = errors.New("away")
	if kid(t, set(time.Hour), RS256) != second {
		t.Errorf("a store that is away changes what signs")
	}
	if _, err := k.keeper(&now).Set(t.Context()); err == nil {
		t.Errorf("without a store there are keys")
	}
}

func TestParse(t *testing.T) {
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	strong, _ := rsa.GenerateKey(rand.Reader, 2048)
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	pkcs8 := func(k any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	sec1, _ := x509.MarshalECPrivateKey(p256)
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"rsa": {pkcs8(strong), RS256}, "p-256": {pkcs8(p256), ES256},
		"sec 1": {pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), ES256},
		"pkcs 1": {pem.EncodeToMemory(&pem.Block{
			Type:  "RSA PRIVATE KEY",
			Bytes: x509.MarshalPKCS1PrivateKey(strong),
		}), RS256},
		"weak": {pkcs8(weak), ""}, "p-384": {pkcs8(p384), ""}, "ed25519": {pkcs8(ed), ""}, "empty": {nil, ""},
		"two":         {append(pkcs8(p256), pkcs8(p256)...), ""},
		"certificate": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sec1}), ""},
	} {
		k, err := Parse(c.text)
		if got := k.Algorithm(); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("Parse(%s) = %q, %v, want %q", name, got, err, c.want)
		}
		if text := fmt.Sprintf("%v %+v %#v", k, k, k); len(text) > 400 || strings.Contains(text, "private") {
			t.Errorf("%s prints as %s", name, text)
		}
	}
}

// TestForgeries is threats E6.
func TestForgeries(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s, err := (&stored{}).keeper(&now).Set(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good, _ := s.Sign(RS256, TypeID, map[string]string{"sub": "a"})
	key := kid(t, s, RS256)
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	body := part(map[string]string{"sub": "b"})
	with := func(algorithm jose.SignatureAlgorithm, secret any) string {
		signer, err := jose.NewSigner(jose.SigningKey{
			Algorithm: algorithm,
			Key:       jose.JSONWebKey{Key: secret, KeyID: key},
		}, (&jose.SignerOptions{}).WithType(TypeID))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign([]byte(`{"sub":"b"}`))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := signed.CompactSerialize()
		return text
	}
	var set jose.JSONWebKeySet
	json.Unmarshal(s.JWKS(), &set)
	public, _ := x509.MarshalPKIXPublicKey(set.Keys[0].Key)
	foreign, _ := rsa.GenerateKey(rand.Reader, 2048)
	parts := strings.Split(good, ".")
	for name, text := range map[string]string{
		"none": part(map[string]string{"alg": "none", "typ": "JWT", "kid": key}) + "." + body + ".", "empty": "",
		"two parts":                 parts[0] + "." + parts[1],
		"HS256 with the public key": with(jose.HS256, public),
		"HS256 with the PEM": with(jose.HS256,
			pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		"another key": with(jose.RS256, foreign), "PS256": with(jose.PS256, foreign),
		"another body": parts[0] + "." + body + "." + parts[2],
		"no kid":       part(map[string]string{"alg": "RS256", "typ": "JWT"}) + "." + parts[1] + "." + parts[2],
		"JSON": `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] +
			`"}`,
		"long":              parts[0] + "." + strings.Repeat("A", maxToken) + "." + parts[2],
		"jwk in the header": with(jose.RS256, foreign),
	} {
		if claims, err := s.Verify(text, TypeID); !errors.Is(err, ErrVerify) || claims != nil {
			t.Errorf("Verify(%s) = %s, %v, want ErrVerify", name, claims, err)
		}
	}
	if claims, err := s.Verify(good, TypeID); err != nil || !bytes.Contains(claims, []byte(`"a"`)) {
		t.Errorf("Verify = %s, %v", claims, err)
	}
}
