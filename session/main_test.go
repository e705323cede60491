package session

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is 32 different bytes beginning with first.
func secret(first byte) conf.Secret {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = first + byte(i)
	}
	return conf.NewSecret(base64.StdEncoding.EncodeToString(raw))
}

func newKeyring(t testing.TB, first ...byte) *keyring.Keyring {
	t.Helper()
	var secrets []conf.Secret
	for _, f := range first {
		secrets = append(secrets, secret(f))
	}
	k, err := keyring.New(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var (
	zhangsan = identity.User{UnionID: "union-z", UserID: "user-z", Username: "zhangsan", Name: "张三", Email: "zhangsan@example.com",
		JobNumber: "007", Departments: []int64{42, 4201}, Ancestors: []int64{42, 4201, 1}, Roles: []identity.Role{{ID: 5, Name: "主管"}}}
	lisi = identity.User{UnionID: "union-l", UserID: "user-l", Username: "lisi"}
)

// manager is a Manager without rechecks until a test enables them.
func manager(t testing.TB) *Manager {
	return &Manager{
		Keyring: newKeyring(t, 1), Config: Defaults(), Realm: "dingcorp", Secure: true,
		Headers: Headers{Request: identity.HeaderRules{{Name: "X-Forwarded-User", Field: "username"}}},
	}
}

func signIn(t testing.TB, m *Manager, u identity.User) (*Session, *http.Cookie) {
	t.Helper()
	s, c, err := m.Create(context.Background(), u, identity.Token{Access: "CANARY-access", Refresh: "CANARY-refresh", Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatalf("Create(%s) = %v", u.Username, err)
	}
	return s, c
}

func load(t testing.TB, m *Manager, texts ...string) (*Session, error) {
	t.Helper()
	return m.Load(context.Background(), texts, 3*time.Second)
}

// allows fails the test unless the cookie is a session.
func allows(t testing.TB, m *Manager, text string) *Session {
	t.Helper()
	s, err := load(t, m, text)
	if err != nil {
		t.Fatalf("Load() = %v, want a session", err)
	}
	return s
}

func refuses(t testing.TB, m *Manager, want error, texts ...string) {
	t.Helper()
	if s, err := load(t, m, texts...); s != nil || !isError(err, want) {
		t.Fatalf("Load() = %v, %v, want %v", s, err, want)
	}
}

func is(err, target error) bool { return errors.Is(err, target) }

// isError requires exactly one of the sentinels, so that a refusal cannot pass for an outage.
func isError(err, want error) bool {
	for _, e := range []error{ErrNone, ErrExpired, ErrRevoked, ErrForged, ErrStore, ErrUnconfirmed} {
		if is(err, e) != (e == want) {
			return false
		}
	}
	return true
}

// directory is a Recheck whose answer a test sets.
type directory struct {
	calls  atomic.Int32
	answer atomic.Pointer[func(context.Context, *Session) (identity.User, error)]
}

func (d *directory) answers(f func(context.Context, *Session) (identity.User, error)) {
	d.answer.Store(&f)
}

func (d *directory) knows(u identity.User) {
	d.answers(func(context.Context, *Session) (identity.User, error) { return u, nil })
}

func (d *directory) fails(err error) {
	d.answers(func(context.Context, *Session) (identity.User, error) { return identity.User{}, err })
}

func (d *directory) recheck(ctx context.Context, s *Session) (identity.User, error) {
	d.calls.Add(1)
	return (*d.answer.Load())(ctx, s)
}

// flip changes the character at i into another one of the same alphabet.
func flip(text string, i int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	b := []byte(text)
	b[i] = alphabet[(strings.IndexByte(alphabet, b[i])+1)%len(alphabet)]
	return string(slices.Clip(b))
}
