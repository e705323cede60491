package session

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"dinggate/internal/identity"
)

func sample() *Session {
	at := time.UnixMilli(1_800_000_000_123).UTC()
	return &Session{ID: base64.RawURLEncoding.EncodeToString([]byte("0123456789abcdef")), Realm: "dingcorp", User: zhangsan,
		Token: identity.Token{Access: "a", Refresh: "r", Expires: at.Add(time.Hour)}, SignedIn: at, Checked: at.Add(time.Minute)}
}

// version1 was written by the first release. It must always decode: a changed format is a new
// version beside this one.
const version1 = "01303132333435363738396162636465660864696e67636f7270fba0f1c2b134dbf5f4c2b134fba0f1c2" +
	"b13407756e696f6e2d7a06757365722d7a087a68616e6773616e06e5bca0e4b889147a68616e6773616e406578616d706c652e636f6d0330" +
	"30370254d2410354d24102010a06e4b8bbe7aea101610172fbfdccc4b134"

func TestPayloadVersion1(t *testing.T) {
	want := sample()
	b, err := encode(sample(), want.SignedIn, maxPlain)
	if got := hex.EncodeToString(b); err != nil || got != version1 {
		t.Errorf("encode() = %s, %v, want %s", got, err, version1)
	}
	b, _ = hex.DecodeString(version1)
	got, sealed, err := decode(b, maxPlain)
	if err != nil || !reflect.DeepEqual(got, want) || !sealed.Equal(want.SignedIn) {
		t.Errorf("decode(version 1) = %#v, %v, %v, want %#v", got, sealed, err, want)
	}
}

func TestPayloadRefuses(t *testing.T) { // threats V33: sign in, not 500
	good, _ := hex.DecodeString(version1)
	refused := map[string][]byte{
		"nothing": nil, "a newer version": append([]byte{4}, good[1:]...), "a ticket's": append([]byte{2}, good[1:]...),
		"without a kind":                 append([]byte{3}, good[1:]...),
		"a local account with a unionid": append(append([]byte{3}, good[1:]...), 'l', 1),
		"a nameless person with one":     append(append([]byte{3}, good[1:]...), 'p'), "an unknown kind": append(append([]byte{3}, good[1:]...), 'x', 1),
		"version 0":             append([]byte{0}, good[1:]...),
		"one byte more":         append(bytes.Clone(good), 0),
		"a long varint":         bytes.Replace(good, []byte("\x08dingcorp"), []byte("\x88\x00dingcorp"), 1),
		"a length past the end": bytes.Replace(good, []byte("\x08dingcorp"), []byte("\xff\xff\xff\xff\xff\xff\xff\xff\x7fdingcorp"), 1),
		"a varint past 64 bits": bytes.Replace(good, []byte("\x08dingcorp"), append(bytes.Repeat([]byte{0xff}, 10), 1), 1),
		"too long":              append(bytes.Clone(good), make([]byte, maxPlain)...),
	}
	for i := range good {
		refused[fmt.Sprint("cut at ", i)] = good[:i]
	}
	for name, b := range refused {
		if s, _, err := decode(b, maxPlain); s != nil || !is(err, ErrForged) {
			t.Errorf("decode(%s) = %v, %v, want ErrForged", name, s, err)
		}
	}
}

func TestFitUser(t *testing.T) { // threats C16, D8
	ids := func(n int) (list []int64) {
		for i := range n {
			list = append(list, 900_000_000+int64(i))
		}
		return list
	}
	var roles []identity.Role
	for i := range 10_000 {
		roles = append(roles, identity.Role{ID: int64(i), Name: "角色"})
	}
	long := strings.Repeat("张", 500)
	for _, c := range []struct {
		name                          string
		change                        func(*identity.User)
		ancestors, departments, roles int // -1: cut, but not to nothing
	}{
		{"small", func(*identity.User) {}, 3, 2, 1},
		{"200 departments", func(u *identity.User) { u.Departments, u.Ancestors = ids(200), ids(300) }, 0, -1, 1},
		{"1,000 ancestors", func(u *identity.User) { u.Ancestors = ids(1000) }, -1, 2, 1},
		{"10,000 roles", func(u *identity.User) { u.Roles = roles }, 0, 0, -1},
		{"long name", func(u *identity.User) { u.Name, u.JobNumber = long, long }, 3, 2, 1},
	} {
		u := zhangsan
		c.change(&u)
		before := len(u.Departments) + len(u.Ancestors) + len(u.Roles)
		got, err := fitUser(u, maxUser)
		if err != nil {
			t.Fatalf("fitUser(%s) = %v", c.name, err)
		}
		for _, l := range []struct {
			what      string
			got, want int
		}{{"ancestors", len(got.Ancestors), c.ancestors}, {"departments", len(got.Departments), c.departments}, {"roles", len(got.Roles), c.roles}} {
			if l.want >= 0 && l.got != l.want || l.want < 0 && (l.got == 0 || l.got >= before) {
				t.Errorf("fitUser(%s) has %d %s, want %d", c.name, l.got, l.what, l.want)
			}
		}
		if again, _ := fitUser(got, maxUser); !reflect.DeepEqual(again, got) {
			t.Errorf("fitUser(%s) twice is not once", c.name)
		}
		if len(got.Name) > 128 || strings.ToValidUTF8(got.Name, "?") != got.Name || got.Username != "zhangsan" || len(got.JobNumber) > 64 {
			t.Errorf("fitUser(%s) = %q, %q", c.name, got.Name, got.JobNumber)
		}
	}
	if _, err := fitUser(identity.User{Username: strings.Repeat("x", 1000)}, maxUser); err == nil {
		t.Error("fitUser(a username of 1,000 bytes) = nil, want an error: it is never cut")
	}
}

func TestCookieAlwaysFits(t *testing.T) { // threats O5, C16
	m := manager(t)
	m.Realm = strings.Repeat("r", maxRealm)
	m.Cookie = CookieConfig{Domain: strings.Repeat("abcdefghi.", 24) + "example.com", SameSite: "strict"}
	for _, token := range []int{0, 100, 400, 800, 1200, 5000} {
		u := zhangsan
		for i := range 1000 {
			u.Departments = append(u.Departments, 1e12+int64(i))
		}
		s, c, err := m.Create(t.Context(), u, identity.Token{Access: strings.Repeat("t", token)})
		if err != nil || len(c.String()) > 3500 {
			t.Errorf("Create(token of %d bytes) = %v, a Set-Cookie of %d bytes, want at most 3500", token, err, len(c.String()))
			continue
		}
		if n := len(s.Token.Access); n != 0 && n != token {
			t.Errorf("Create(token of %d bytes) has %d of them, want all or nothing", token, n)
		}
		if n := len(s.Token.Access); token <= 400 && n != token {
			t.Errorf("Create(token of %d bytes) drops it", token)
		}
		if got := allows(t, m, c.Value); !reflect.DeepEqual(got.User, s.User) {
			t.Errorf("Load() = %v, want %v", got.User, s.User)
		}
	}
	if text, err := m.Keyring.Seal("a", "n", make([]byte, maxPlain)); err != nil || len(text) > 3072 {
		t.Errorf("Seal(maxPlain) = %d bytes, %v, want at most 3072", len(text), err)
	}
}

// TestTokenThatDoesNotFit: the refresh token is dropped first, then the access token; that there
// was one is still known, also from the cookie.
func TestTokenThatDoesNotFit(t *testing.T) {
	m := manager(t)
	var truncated []string
	m.OnTokenTruncated = func(s *Session) {
		truncated = append(truncated, fmt.Sprint(len(s.Token.Access), " ", len(s.Token.Refresh)))
	}
	for _, tt := range []struct {
		access, refresh int
		want            string
	}{{0, 0, "0 0"}, {100, 100, "100 100"}, {1000, 100, "1000 100"}, {1000, 1000, "1000 0"}, {1600, 10, "0 0"}} {
		truncated = nil
		given := identity.Token{Access: strings.Repeat("a", tt.access), Refresh: strings.Repeat("r", tt.refresh), Expires: m.Time().Add(time.Hour)}
		if tt.access == 0 {
			given = identity.Token{}
		}
		s, c, err := m.Create(t.Context(), zhangsan, given)
		if err != nil {
			t.Fatal(err)
		}
		got := allows(t, m, c.Value).Token
		if fits := fmt.Sprint(len(got.Access), " ", len(got.Refresh)); fits != tt.want || got != s.Token {
			t.Errorf("of a token of %d and %d bytes %s are stored, want %s", tt.access, tt.refresh, fits, tt.want)
		}
		if whole := got.Access == given.Access && got.Refresh == given.Refresh; whole == (len(truncated) == 1) {
			t.Errorf("of a token of %d and %d bytes OnTokenTruncated got %q", tt.access, tt.refresh, truncated)
		}
		if (got == identity.Token{}) != (given == identity.Token{}) {
			t.Errorf("of a token of %d and %d bytes nothing is left", tt.access, tt.refresh)
		}
		if got.Access != "" && got.Refresh == "" && !got.Expires.IsZero() {
			t.Errorf("an access token without a refresh token has a time: userinfo shows when it is over")
		}
	}
}

func FuzzPayload(f *testing.F) {
	good, _ := hex.DecodeString(version1)
	f.Add(good)
	f.Add(good[:40])
	f.Add(append([]byte{2}, good[1:]...))
	f.Add(append(bytes.Clone(good[:len(good)-8]), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f))
	empty, _ := encode(&Session{ID: sample().ID}, time.Time{}, maxPlain)
	f.Add(empty)
	local, _ := hex.DecodeString(version3Local)
	f.Add(local)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, sealed, err := decode(b, maxPlain)
		if err != nil {
			if s != nil || !is(err, ErrForged) {
				t.Fatalf("decode() = %v, %v, want nothing and ErrForged", s, err)
			}
			return
		}
		if b[0] == version && s.User.Local {
			return // it is written as version 3 again
		}
		again, err := encode(s, sealed, maxPlain)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("encode(decode(%x)) = %x, %v", b, again, err)
		}
	})
}

// version1Local was written by the first release for a local account, whose kind follows only from
// the missing unionid and token; the others by this one.
const (
	version1Local  = "01303132333435363738396162636465660864696e67636f7270fba0f1c2b134fba0f1c2b134fba0f1c2b1340000027a73027a730000000000000000"
	version3Local  = "03303132333435363738396162636465660864696e67636f7270fba0f1c2b134fba0f1c2b134fba0f1c2b1340000027a73027a7300000000000000006cd96e"
	version3Person = "03303132333435363738396162636465660864696e67636f7270fba0f1c2b134fba0f1c2b134fba0f1c2b1340000027a73027a73000000000000000070"
)

// TestPayloadKinds: a local account is no other person (threats T32), also in a cookie of an older
// release, and a release that reads only version 1 still reads every person with a unionid or a
// token (V33).
func TestPayloadKinds(t *testing.T) {
	at := time.UnixMilli(1_800_000_000_123).UTC()
	of := func(u identity.User, token identity.Token, fingerprint uint64) *Session {
		return &Session{ID: sample().ID, Realm: "dingcorp", User: u, Token: token, SignedIn: at, Checked: at, Fingerprint: fingerprint}
	}
	zs, nameless, token := identity.User{Username: "zs", Name: "zs", Local: true}, identity.User{Username: "zs", Name: "zs"}, identity.Token{Access: "a"}
	for _, tt := range []struct {
		name    string
		s       *Session
		version byte
		text    string // "" if it does not fit
	}{
		{"a local account", of(zs, identity.Token{}, 14169), 3, version3Local},
		{"facts of a person without a unionid", of(nameless, identity.Token{}, 0), 3, version3Person},
		{"a person without a unionid", of(nameless, token, 0), 1, ""},
		{"a member", of(zhangsan, identity.Token{}, 0), 1, ""},
	} {
		b, err := encode(tt.s, at, maxPlain)
		if err != nil || b[0] != tt.version || tt.text != "" && hex.EncodeToString(b) != tt.text {
			t.Errorf("encode(%s) = %x, %v, want version %d, %s", tt.name, b, err, tt.version, tt.text)
		}
		if got, _, err := decode(b, maxPlain); err != nil || !reflect.DeepEqual(got, tt.s) {
			t.Errorf("decode(%s) = %#v, %v, want %#v", tt.name, got, err, tt.s)
		}
	}
	b, _ := hex.DecodeString(version1Local)
	if got, _, err := decode(b, maxPlain); err != nil || !reflect.DeepEqual(got, of(zs, identity.Token{}, 0)) {
		t.Errorf("decode(an older release's local account) = %#v, %v, want it to be one, of unknown fingerprint", got, err)
	}
}
