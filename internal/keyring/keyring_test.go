package keyring

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"dinggate/internal/conf"
)

// secret is 32 different bytes beginning with first.
func secret(first byte) conf.Secret {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = first + byte(i)
	}
	return conf.NewSecret(base64.StdEncoding.EncodeToString(raw))
}

func keyring(t testing.TB, first ...byte) *Keyring {
	t.Helper()
	var secrets []conf.Secret
	for _, f := range first {
		secrets = append(secrets, secret(f))
	}
	k, err := New(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// flip changes the character at i into another one of the same alphabet.
func flip(text string, i int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	b := []byte(text)
	b[i] = alphabet[(strings.IndexByte(alphabet, b[i])+1)%len(alphabet)]
	return string(b)
}

func TestKeyringBindsPurposeAndName(t *testing.T) { // threats S8, C9
	k := keyring(t, 1)
	text, err := k.Seal("a", "name", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ring          *Keyring
		purpose, name string
		opens, old    bool
	}{
		{k, "a", "name", true, false},
		{keyring(t, 1), "a", "name", true, false},
		{keyring(t, 2, 1), "a", "name", true, true}, // C6: rotated
		{keyring(t, 2, 3, 1), "a", "name", true, true},
		{keyring(t, 2), "a", "name", false, false}, // C6: removed
		{k, "b", "name", false, false},
		{k, "a", "other", false, false},
		{k, "a", "nam", false, false},
		{k, "a", "", false, false},
		{k, "a", "name|1", false, false},
		{&Keyring{}, "a", "name", false, false},
		{nil, "a", "name", false, false},
	} {
		plain, old, err := c.ring.Open(c.purpose, c.name, text)
		if c.opens && (err != nil || string(plain) != "hello" || old != c.old) ||
			!c.opens && (err != ErrForged || plain != nil) {
			t.Errorf("Open(%q, %q) = %q, %v, %v, want opens %v old %v", c.purpose, c.name, plain, old, err, c.opens,
				c.old)
		}
	}
}

func TestKeyringRefusesOtherTexts(t *testing.T) { // threats S6, C5
	k := keyring(t, 1)
	plain := bytes.Repeat([]byte("p"), 44)
	text, _ := k.Seal("a", "n", plain)
	other, _ := k.Seal("a", "n", plain)
	if text == other {
		t.Error("Seal made the same text twice")
	}
	if string(plain) != strings.Repeat("p", 44) {
		t.Error("Seal changed the caller's slice")
	}
	refused := []string{"", "=", "====", text + "\n", text[:40] + "\n" + text[40:], text + "=", text + "====",
		text + "AAAA", " " + text,
		strings.TrimRight(text, "="), strings.NewReplacer("-", "+", "_", "/").Replace(text) + "+",
		text[len(text)/2:] + text[:len(text)/2],
		text[:len(text)/8*4] + other[len(text)/8*4:], strings.TrimRight(text, "=") + "A",
		strings.Repeat("A", MaxText+4), strings.ToLower(text)}
	for i := range strings.TrimRight(text, "=") {
		refused = append(refused, flip(text, i), text[:i])
	}
	for _, bad := range refused {
		if got, _, err := k.Open("a", "n", bad); err != ErrForged || got != nil {
			t.Errorf("Open(%.60q) = %q, %v, want ErrForged", bad, got, err)
		}
	}
}

func TestSecondSpelling(t *testing.T) { // securecookie alone opens these (S6)
	k := keyring(t, 1)
	for n := 1; n < 4; n++ {
		text, _ := k.Seal("a", "n", bytes.Repeat([]byte("p"), 3*n))
		body := strings.TrimRight(text, "=")
		if len(body) == len(text) {
			continue
		}
		twin := flip(text, len(body)-1)
		a, _ := base64.URLEncoding.DecodeString(text)
		b, _ := base64.URLEncoding.DecodeString(twin)
		if !bytes.Equal(a, b) {
			t.Fatalf("the test's second spelling is none")
		}
		if _, _, err := k.Open("a", "n", twin); err != ErrForged {
			t.Errorf("Open(second spelling) = %v, want ErrForged", err)
		}
		return
	}
	t.Fatal("no text with padding")
}

func TestSealRefuses(t *testing.T) {
	k := keyring(t, 1)
	for _, c := range []struct {
		ring  *Keyring
		name  string
		plain []byte
	}{{k, "n", nil}, {k, "a|b", []byte("x")}, {k, "n", make([]byte, MaxText)}, {&Keyring{}, "n", []byte("x")},
		{nil, "n", []byte("x")}} {
		if text, err := c.ring.Seal("a", c.name, c.plain); err == nil || text != "" {
			t.Errorf("Seal(%q, %d bytes) = %q, want an error", c.name, len(c.plain), text)
		}
	}
	for i := range maxPurposes {
		k.Seal(fmt.Sprint(i), "n", []byte("x"))
	}
	if _, err := k.Seal("one more", "n", []byte("x")); err == nil {
		t.Error("Seal(purpose number 33) = nil, want an error: the map is bounded")
	}
	if _, err := k.Seal("0", "n", []byte("x")); err != nil {
		t.Errorf("Seal(known purpose) = %v", err)
	}
}

func TestNewKeyringHidesSecrets(t *testing.T) { // threats L1
	canary := "Q0FOQVJZLUNBTkFSWS1DQU5BUlk"
	_, err := New([]conf.Secret{secret(1), conf.NewSecret(canary)})
	if err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), "secret 1") {
		t.Errorf("New(short) = %v, want an error that names its place alone", err)
	}
	if _, err := New(nil); err == nil {
		t.Error("New(none) = nil, want an error")
	}
	k := keyring(t, 'A')
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", k, k, k, k)} {
		if strings.Contains(text, "65 66 67") || strings.Contains(text, "ABC") {
			t.Errorf("a keyring prints as %s", text)
		}
	}
}

func FuzzKeyring(f *testing.F) {
	k := keyring(f, 2, 1)
	for _, plain := range []string{"x", "hello", strings.Repeat("z", 900)} {
		text, _ := k.Seal("a", "n", []byte(plain))
		f.Add([]byte(plain), text)
		f.Add([]byte(plain), flip(text, 7))
	}
	f.Add([]byte("|"), "MTIzfGFiY3w=")
	for _, plain := range []string{"x", "hello"} {
		text, _ := k.Seal("other purpose", "n", []byte(plain))
		f.Add([]byte(plain), text)
	}
	f.Fuzz(func(t *testing.T, plain []byte, text string) {
		if len(plain) > 0 && len(plain) < 1800 {
			own, err := k.Seal("a", "n", plain)
			if err != nil {
				t.Fatal(err)
			}
			if got, old, err := k.Open("a", "n", own); err != nil || old || !bytes.Equal(got, plain) {
				t.Fatalf("Open(Seal(%q)) = %q, %v, %v", plain, got, old, err)
			}
			body := strings.TrimRight(own, "=")
			for _, other := range []string{own + "\n", own[:8] + "\r\n" + own[8:], body, own + "=",
				flip(body, len(body)-1) + own[len(body):], strings.NewReplacer("-", "+", "_", "/").Replace(own)} {
				if _, _, err := k.Open("a", "n", other); err == nil && other != own {
					t.Fatalf("Open(%q) opens what was sealed as %q", other, own)
				}
			}
		}
		got, _, err := k.Open("a", "n", text)
		if err != nil && err != ErrForged {
			t.Fatalf("Open(%q) = %v, want ErrForged", text, err)
		}
		if err == nil {
			// Only what was sealed opens, in its canonical spelling.
			raw, _ := base64.URLEncoding.DecodeString(text)
			if base64.URLEncoding.EncodeToString(raw) != text {
				t.Fatalf("Open(%q) = %q: a second spelling", text, got)
			}
		}
	})
}
