package assertion

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"

	"github.com/go-jose/go-jose/v4"
)

func seeded(t testing.TB, first byte) Key {
	t.Helper()
	k, err := MakeKey(bytes.Repeat([]byte{first}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func edKey(t testing.TB) Key {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := newKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var zhangsan = identity.User{
	UnionID:     "U1",
	UserID:      "zs",
	Username:    "zhangsan",
	Name:        "张三",
	Email:       "z@corp.test",
	JobNumber:   "007",
	Departments: []int64{42},
	Roles:       []identity.Role{{ID: 1, Name: "主管"}},
}

// open verifies a token as an application does: with the published keys only.
func open(t testing.TB, set []byte, token string) (c claims, header jose.Header, err error) {
	t.Helper()
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(set, &keys); err != nil {
		t.Fatal(err)
	}
	signed, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA})
	if err != nil {
		return c, header, err
	}
	header = signed.Signatures[0].Header
	found := keys.Key(header.KeyID)
	if len(found) != 1 {
		return c, header, fmt.Errorf("%d keys are called %q", len(found), header.KeyID)
	}
	body, err := signed.Verify(found[0])
	if err != nil {
		return c, header, err
	}
	return c, header, json.Unmarshal(body, &c)
}

func TestToken(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for name, key := range map[string]Key{"ES256": seeded(t, 1), "EdDSA": edKey(t)} {
		s, err := New("https://app.test", 5*time.Minute, []Key{key})
		if err != nil {
			t.Fatal(err)
		}
		s.Now = func() time.Time { return now }
		value := s.Header(Person{"S1", &zhangsan, now.Add(-time.Hour), now, ""}, "https://app.test/admin/")
		if len(value) != 1 {
			t.Fatalf("%s: %q", name, value)
		}
		got, header, err := open(t, s.JWKS(), value[0])
		want := claims{
			Issuer:      "https://app.test",
			Subject:     "zhangsan",
			Audience:    "https://app.test/admin/",
			IssuedAt:    now.Unix(),
			Expires:     now.Unix() + 300,
			SignedIn:    now.Unix() - 3600,
			Name:        "张三",
			Email:       "z@corp.test",
			UserID:      "zs",
			UnionID:     "U1",
			JobNumber:   "007",
			Groups:      []string{"主管"},
			Departments: []int64{42},
		}
		if err != nil || !reflect.DeepEqual(got, want) || header.Algorithm != name ||
			header.ExtraHeaders["typ"] != "JWT" {
			t.Errorf("%s: the token says %+v (%+v), %v, want %+v", name, got, header, err, want)
		}
		granted := s.Header(Person{"S1", &zhangsan, now.Add(-time.Hour), now, "G1"}, "https://app.test/admin/")
		want.Grant = "G1"
		if got, _, err := open(t, s.JWKS(), granted[0]); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the token of a grant says %+v, %v, want %+v", name, got, err, want)
		}
		if strings.Contains(string(s.JWKS()), `"d"`) {
			t.Errorf("%s: the set holds a private key: %s", name, s.JWKS())
		}
		other, err := New("https://app.test", time.Minute, []Key{seeded(t, 9)})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := open(t, other.JWKS(), value[0]); err == nil {
			t.Errorf("%s: another set of keys verifies it", name)
		}
		for i := range value[0] {
			altered := []byte(value[0])
			if altered[i] ^= 1; altered[i] == '.' || value[0][i] == '.' {
				continue
			}
			if _, _, err := open(t, s.JWKS(), string(altered)); err == nil && lastCharacter(value[0], i) == false {
				t.Fatalf("%s: altered at %d it verifies", name, i)
			}
		}
	}
}

// lastCharacter: spare bits of a part's last character do not belong to its bytes.
func lastCharacter(text string, i int) bool { return i+1 == len(text) || text[i+1] == '.' }

// TestCached: one signature serves all requests of a session at a route until a quarter of the
// lifetime is left or the facts are newer, and no other session.
func TestCached(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s, err := New("i", 4*time.Minute, []Key{seeded(t, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s.Now = func() time.Time { return now }
	p := Person{"S1", &zhangsan, now, now, ""}
	one := s.Header(p, "a")
	if again := s.Header(p, "a"); &again[0] != &one[0] {
		t.Errorf("the second request is signed anew")
	}
	if n := testing.AllocsPerRun(100, func() { s.Header(p, "a") }); n > 0 {
		t.Errorf("a known token costs %v allocations", n)
	}
	other := p
	other.Session = "S2"
	newer := p
	newer.Checked = now.Add(time.Second)
	for name, value := range map[string][]string{"another route": s.Header(p, "b"),
		"another session": s.Header(other, "a"), "newer facts": s.Header(newer, "a")} {
		if value[0] == one[0] {
			t.Errorf("%s gets the same token", name)
		}
	}
	one = s.Header(p, "a")
	now = now.Add(3*time.Minute - time.Second)
	if s.Header(p, "a")[0] != one[0] {
		t.Errorf("it is signed anew although more than a quarter of its life is left")
	}
	now = now.Add(time.Second)
	fresh, _, err := open(t, s.JWKS(), s.Header(p, "a")[0])
	if err != nil || fresh.Expires != now.Add(4*time.Minute).Unix() {
		t.Errorf("with a quarter left it expires at %d, %v", fresh.Expires, err)
	}
}

// TestRotation: a new key is put first; tokens of the old key are valid as long as it is in the
// list.
func TestRotation(t *testing.T) {
	old, err := New("i", time.Minute, []Key{seeded(t, 1)})
	if err != nil {
		t.Fatal(err)
	}
	token := old.Header(Person{"S", &zhangsan, time.Now(), time.Now(), ""}, "a")[0]
	both, err := New("i", time.Minute, []Key{edKey(t), seeded(t, 1), seeded(t, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(t, both.JWKS(), token); err != nil {
		t.Errorf("the old key's token = %v", err)
	}
	_, header, err := open(t, both.JWKS(), both.Header(Person{"S", &zhangsan, time.Now(), time.Now(), ""}, "a")[0])
	if err != nil || header.Algorithm != "EdDSA" {
		t.Errorf("the first key does not sign: %+v, %v", header, err)
	}
	if seeded(t, 1).id != seeded(t, 1).id || seeded(t, 1).id == seeded(t, 2).id {
		t.Errorf("key ids: %s, %s", seeded(t, 1).id, seeded(t, 2).id)
	}
	if text := fmt.Sprintf("%v %+v %#v", seeded(t, 1), seeded(t, 1), seeded(t, 1)); !strings.HasPrefix(text,
		"assertion key") || len(text) > 250 {
		t.Errorf("a key prints as %s", text)
	}
}

func TestBounded(t *testing.T) {
	s, err := New("i", time.Minute, []Key{seeded(t, 1)})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s.Now = func() time.Time { return now }
	for i := range maxKnown {
		s.known[place{fmt.Sprint(i), "a", ""}] = token{renew: now.Add(time.Hour)}
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() { s.Header(Person{fmt.Sprint("new", i), &zhangsan, now, now, ""}, "a") })
	}
	all.Wait()
	if n := len(s.known); n != maxKnown {
		t.Errorf("of a full memory %d are left, want %d: one goes for one that comes", n, maxKnown)
	}
	full := func(renew time.Time) {
		clear(s.known)
		for i := range maxKnown {
			s.known[place{fmt.Sprint(i), "a", ""}] = token{renew: renew}
		}
	}
	full(now.Add(-time.Second))
	s.Header(Person{"one more", &zhangsan, now, now, ""}, "a")
	if n := len(s.known); n > maxKnown {
		t.Errorf("%d tokens are cached", n)
	}
	if _, ok := s.known[place{"one more", "a", ""}]; !ok {
		t.Error("the newest is not cached")
	}
	many := zhangsan
	for i := range 1000 {
		many.Roles, many.Departments = append(many.Roles, identity.Role{
			ID:   int64(i),
			Name: fmt.Sprint("role", i),
		}), append(many.Departments, int64(i))
	}
	if value := s.Header(Person{"S", &many, now, now, ""}, "a"); len(value[0]) > 3000 {
		t.Errorf("a person with 1000 roles has a header of %d bytes", len(value[0]))
	}
}

func TestParseKey(t *testing.T) {
	encode := func(kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	pkcs8 := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return encode("PRIVATE KEY", der, err)
	}
	sec1, err := x509.MarshalECPrivateKey(p256)
	for _, tt := range []struct{ name, text, want string }{
		{"P-256", pkcs8(p256), ""}, {"Ed25519", pkcs8(ed), ""}, {"SEC 1", encode("EC PRIVATE KEY", sec1, err), ""},
		{"SEC 1 with parameters", encode("EC PARAMETERS", []byte{6, 8}, nil) + encode("EC PRIVATE KEY", sec1, nil), ""},
		{"P-384", pkcs8(p384), "is an ECDSA key of another curve than P-256"},
		{"nothing", "", "contains no private key in PEM format"}, {"text", "CANARY", "contains no private key in PEM format"},
		{"certificate", encode("CERTIFICATE", sec1, nil), "contains no private key in PEM format"},
		{"garbage", encode("PRIVATE KEY", []byte("CANARY"), nil), "contains an invalid private key"},
		{"encrypted", encode("ENCRYPTED PRIVATE KEY", sec1, nil),
			"contains an encrypted private key; decrypt it first"},
	} {
		k, err := ParseKey([]byte(tt.text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || err == nil && k.id == "" {
			t.Errorf("%s: ParseKey = %v, %q, want %q", tt.name, k, got, tt.want)
		}
	}
	if _, err := MakeKey(bytes.Repeat([]byte{0xff}, 32)); err == nil {
		t.Errorf("a seed above the order of the curve makes a key")
	}
}

// FuzzParseKey: any input gives an error or a key that verifies what it signs, and no error quotes
// the input.
func FuzzParseKey(f *testing.F) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, _ := x509.MarshalPKCS8PrivateKey(key)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\n\n-----END EC PRIVATE KEY-----"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ParseKey(text)
		if err != nil {
			if len(err.Error()) > 80 {
				t.Errorf("ParseKey(%q) = %v", text, err)
			}
			return
		}
		s, err := New("i", time.Minute, []Key{k})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := open(t, s.JWKS(),
			s.Header(Person{"S", &zhangsan, time.Now(), time.Now(), ""}, "a")[0]); err != nil {
			t.Errorf("what the key signs does not verify: %v", err)
		}
	})
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) {}, ""},
		{func(c *Config) { c.Lifetime = 0 }, "assertion.lifetime is not between 30s and 1h"},
		{func(c *Config) { c.Lifetime = 2 * time.Hour }, "assertion.lifetime is not between 30s and 1h"},
		{func(c *Config) { c.KeyFiles = make([]string, 9) }, "assertion.key_files has 9 files, more than 8"},
		{func(c *Config) { c.Issuer = strings.Repeat("i", 201) }, "assertion.issuer is longer than 200 characters"},
	} {
		c, p := Defaults(), conf.Problems{}
		tt.change(&c)
		c.Check(&p, "assertion")
		got := ""
		for _, problem := range p.All() {
			got += problem.String()
		}
		if got != tt.want {
			t.Errorf("Check(%+v) = %q, want %q", c, got, tt.want)
		}
	}
}

func BenchmarkHeader(b *testing.B) {
	s, err := New("i", time.Hour, []Key{seeded(b, 1)})
	if err != nil {
		b.Fatal(err)
	}
	p := Person{"S", &zhangsan, time.Now(), time.Now(), ""}
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Header(p, "a")
		}
	})
	b.Run("signed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.sign(p, "a", time.Now())
		}
	})
}
