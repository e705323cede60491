package redisstore

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/account/accounttest"
	"dinggate/internal/conf"
	"dinggate/internal/keyring"
	"dinggate/internal/realtool"

	"github.com/alicebob/miniredis/v2"
)

func TestBindingsOnMiniredis(t *testing.T) {
	accounttest.Run(t, func(t *testing.T) account.Bindings {
		// On a busy machine miniredis, with the race detector, takes longer than usual for many bindings.
		patient := func(c *Config) { c.Timeout = time.Minute }
		return open(t, "redis://"+miniredis.RunT(t).Addr(), patient).Bindings(newKeyring(t, 1))
	})
}

// bindingsACL is what bindings require besides acl; docs/accounts.md documents it.
const bindingsACL = " +hget +hset +hdel +hlen +hscan +eval +evalsha"

// TestBindingsOnRedis runs as a user with only the documented permissions.
func TestBindingsOnRedis(t *testing.T) {
	file := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(file, []byte("user default off\n"+acl+bindingsACL+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := realtool.StartRedis(t, "--aclfile", file)
	accounttest.Run(t, func(t *testing.T) account.Bindings {
		return open(t,
			"redis://gate:canary-77@"+server.Addr, func(c *Config) {
				c.Prefix = "dinggate:" + strings.ReplaceAll(t.Name(), " ", "_") + ":"
			}).Bindings(newKeyring(t, 1))
	})
}

// TestBindingsOfReplicas: if two replicas bind the same account at once, one succeeds.
func TestBindingsOfReplicas(t *testing.T) {
	server := realtool.StartRedis(t)
	replicas := []*Bindings{open(t, server.URL()).Bindings(newKeyring(t, 1)),
		open(t, server.URL()).Bindings(newKeyring(t, 1))}
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			err := replicas[i%2].Add(t.Context(), account.Binding{UnionID: fmt.Sprint("u", i), Username: "one"})
			if _, taken := errors.AsType[*account.TakenError](err); err == nil {
				won.Add(1)
			} else if !taken {
				t.Errorf("Add = %v", err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d replicas bound one account, want 1", won.Load())
	}
}

func TestBindingsOfAFailingRedis(t *testing.T) {
	b := open(t, "redis://127.0.0.1:1").Bindings(newKeyring(t, 1))
	one := account.Binding{UnionID: "u", Username: "n"}
	_, find := b.Find(t.Context(), one)
	_, list := b.List(t.Context())
	_, remove := b.Remove(t.Context(), "n")
	_, resembles := b.Resembles(t.Context(), "n")
	_, renew := b.Renew(t.Context())
	for name, err := range map[string]error{"Find": find, "List": list, "Remove": remove, "Resembles": resembles,
		"Renew": renew, "Add": b.Add(t.Context(), one), "Rebind": b.Rebind(t.Context(), one, "u2")} {
		if err == nil || errors.Is(err, account.ErrNone) || Reason(err) != "refused" {
			t.Errorf("%s without a server = %v (%s), want refused", name, err, Reason(err))
		}
	}
}

func newKeyring(t testing.TB, first ...byte) *keyring.Keyring {
	t.Helper()
	var secrets []conf.Secret
	for _, f := range first {
		raw := make([]byte, 32)
		for i := range raw {
			raw[i] = f + byte(i)
		}
		secrets = append(secrets, conf.NewSecret(base64.StdEncoding.EncodeToString(raw)))
	}
	k, err := keyring.New(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestForeignWriterBindsNoPerson: whatever another program writes to this Redis, it binds no person to
// another account (threats K19). It can remove a binding; importing restores it.
func TestForeignWriterBindsNoPerson(t *testing.T) {
	server := realtool.StartRedis(t)
	store := open(t, server.URL())
	b := store.Bindings(newKeyring(t, 1))
	mallory, admin := account.Binding{UnionID: "UM", Username: "mallory"},
		account.Binding{UnionID: "UA", Username: "admin"}
	people, accounts, plain, plainAccounts := b.keys()[0], b.keys()[1], b.keys()[3], b.keys()[4]
	hm, ha, hn, hd := b.records.PersonPlace("UM"), b.records.PersonPlace("UA"), b.records.AccountPlace("mallory"),
		b.records.AccountPlace("admin")
	do := func(args ...string) { server.Do(args...) }
	copied := func(key, from, to string) {
		do("EVAL", "redis.call('HSET', KEYS[1], ARGV[2], redis.call('HGET', KEYS[1], ARGV[1]))", "1", key, from, to)
	}
	theirs, err := account.Records{
		Sealer: newKeyring(t, 9),
		Scope:  store.prefix,
	}.Seal(hm, account.Binding{UnionID: "UM", Username: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := account.Records{
		Sealer: newKeyring(t, 1),
		Scope:  "staging:",
	}.Seal(hm, account.Binding{UnionID: "UM", Username: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what  string
		write func()
		want  string // mallory's account, an error, or ""
	}{
		{"nothing", func() {}, "mallory"},
		{"plain, where sealed ones are", func() { do("HSET", people, hm, "admin") }, "sealed"},
		{"plain, where an older release had it",
			func() { do("HSET", plain, "UM", "admin"); do("HSET", plainAccounts, "admin", "UM") }, "mallory"},
		{"the same beside a binding that was deleted",
			func() { do("HDEL", people, hm); do("HSET", plain, "UM", "admin") }, "unsealed"},
		{"the admin's box", func() { copied(people, ha, hm) }, "sealed"},
		{"the admin's both boxes", func() { copied(people, ha, hm); copied(accounts, hd, hn) }, "sealed"},
		{"their account's box as the admin's", func() { copied(accounts, hn, hd) }, "mallory"},
		{"an account's box as a person's", func() {
			do("EVAL", "redis.call('HSET', KEYS[1], ARGV[2], redis.call('HGET', KEYS[2], ARGV[1]))", "2", people,
				accounts, hd, hm)
		}, "sealed"},
		{"a box of another key", func() { do("HSET", people, hm, string(theirs)) }, "sealed"},
		{"a box of another scope under the same key", func() { do("HSET", people, hm, string(elsewhere)) }, "sealed"},
		{"an empty one", func() { do("HSET", people, hm, "") }, "none"},
		{"half of it deleted", func() { do("HDEL", accounts, hn) }, "sealed"},
		{"deleted", func() { do("HDEL", people, hm); do("HDEL", accounts, hn) }, "none"},
		{"everything deleted", func() { do("FLUSHALL") }, "none"},
	} {
		server.Do("FLUSHALL")
		if err := b.Add(t.Context(), mallory, admin); err != nil {
			t.Fatal(err)
		}
		tt.write()
		got, err := b.Find(t.Context(), account.Binding{UnionID: "UM"})
		is := map[error]string{account.ErrSealed: "sealed", account.ErrUnsealed: "unsealed", account.ErrNone: "none",
			nil: got.Username}
		if errors.Is(err, account.ErrUnsealed) && got.Username != "admin" {
			t.Errorf("%s: an unsealed binding is shown as %v", tt.what, got)
		}
		logged := ""
		for one, word := range is {
			if errors.Is(err, one) {
				logged = word
			}
		}
		if logged != tt.want {
			t.Errorf("%s: Find(mallory) = %v, %v, want %s", tt.what, got, err, tt.want)
		}
		moved := b.Rebind(t.Context(), mallory, "U-new")
		if got, err := b.Find(t.Context(), account.Binding{UnionID: "U-new"}); (moved == nil) != (err == nil) ||
			err == nil && got.Username != "mallory" || moved == nil && tt.want != "mallory" {
			t.Errorf("%s: Rebind = %v, Find(the new unionid) = %v, %v", tt.what, moved, got, err)
		}
		if moved == nil {
			if err := b.Rebind(t.Context(), account.Binding{UnionID: "U-new", Username: "mallory"}, "UM"); err != nil {
				t.Errorf("%s: Rebind back = %v", tt.what, err)
			}
		}
		if err := b.Add(t.Context(), mallory, admin); err != nil {
			t.Errorf("%s: importing them again = %v", tt.what, err)
		}
		for _, one := range []account.Binding{mallory, admin} {
			if got, err := b.Find(t.Context(), one); err != nil || got != one {
				t.Errorf("%s: imported again, Find(%v) = %v, %v", tt.what, one, got, err)
			}
		}
		if plain, err := b.Unsealed(t.Context()); err != nil || len(plain) > 0 {
			t.Errorf("%s: imported again, %v are unsealed, %v", tt.what, plain, err)
		}
	}
	if dump := server.Do("HGETALL", people) + server.Do("HGETALL", accounts) +
		server.Do("HGETALL", b.keys()[2]); strings.Contains(dump, "UM") || strings.Contains(dump, "mallory") ||
		strings.Contains(dump, "admin") {
		t.Errorf("Redis shows names:\n%s", dump)
	}
}

// TestUnsealedBindings: bindings of a release without sealing are not valid, their names are
// reserved, and an import restores them.
func TestUnsealedBindings(t *testing.T) {
	server := realtool.StartRedis(t)
	b := open(t, server.URL()).Bindings(newKeyring(t, 1))
	for id, name := range map[string]string{"U1": "zs", "U2": "admin", "U3": "ww"} {
		server.Do("HSET", b.keys()[3], id, name)
		server.Do("HSET", b.keys()[4], name, id)
	}
	for _, by := range []account.Binding{{UnionID: "U2"}, {Username: "admin"}} {
		if got, err := b.Find(t.Context(), by); !errors.Is(err, account.ErrUnsealed) ||
			got != (account.Binding{UnionID: "U2", Username: "admin"}) {
			t.Errorf("Find(%v) = %v, %v, want ErrUnsealed", by, got, err)
		}
	}
	if alike, err := b.Resembles(t.Context(), "admin"); err != nil || !alike {
		t.Errorf("Resembles(admin) = %v, %v, want true: the name is reserved", alike, err)
	}
	if all, err := b.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("List() = %v, %v, want none", all, err)
	}
	if done, err := b.Renew(t.Context()); err != nil || done != (account.Renewed{Unsealed: 3}) {
		t.Errorf("Renew() = %v, %v", done, err)
	}
	if err := b.Add(t.Context(),
		account.Binding{UnionID: "U1", Username: "zs"}, account.Binding{UnionID: "U2", Username: "boss"}); err != nil {
		t.Fatal(err)
	}
	if all, err := b.Unsealed(t.Context()); err != nil || fmt.Sprint(all) != "[{U3 ww}]" {
		t.Errorf("after an import Unsealed() = %v, %v, want what was not imported", all, err)
	}
	if _, err := b.Find(t.Context(), account.Binding{Username: "admin"}); !errors.Is(err, account.ErrNone) {
		t.Errorf("the name that an import changed is found: %v", err)
	}
	if got, err := b.Remove(t.Context(), "ww"); err != nil || got != (account.Binding{UnionID: "U3", Username: "ww"}) {
		t.Errorf("Remove(an unsealed one) = %v, %v", got, err)
	}
	if n := server.Do("EXISTS", b.keys()[3], b.keys()[4]); n != "0\n" {
		t.Errorf("%q hashes of an older release are left", n)
	}
}

// TestKeysOfBindingsRotate: replicas seal again concurrently, and the old secret can be removed.
func TestKeysOfBindingsRotate(t *testing.T) {
	server := realtool.StartRedis(t)
	var all []account.Binding
	for i := range 300 {
		all = append(all, account.Binding{UnionID: fmt.Sprint("u", i), Username: fmt.Sprintf("n%03d", i)})
	}
	under := func(first ...byte) *Bindings { return open(t, server.URL()).Bindings(newKeyring(t, first...)) }
	if err := under(1).Add(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][]byte{{1, 2}, {2, 1}, {2}} {
		var replicas sync.WaitGroup
		var sealed atomic.Int64
		for range 3 {
			replicas.Go(func() {
				done, err := under(keys...).Renew(t.Context())
				if err != nil || done.Foreign > 0 {
					t.Errorf("under %v Renew() = %v, %v", keys, done, err)
				}
				sealed.Add(int64(done.Sealed))
			})
		}
		replicas.Wait()
		if n := sealed.Load(); len(keys) == 2 && keys[0] == 2 && n != int64(len(all)) ||
			(len(keys) == 1 || keys[0] == 1) && n != 0 {
			t.Errorf("under %v %d were sealed anew", keys, n)
		}
		if got, err := under(keys...).List(t.Context()); err != nil || !reflect.DeepEqual(got, all) {
			t.Errorf("under %v List() has %d, %v, want %d", keys, len(got), err, len(all))
		}
	}
	if got, err := under(1).List(t.Context()); !errors.Is(err, account.ErrSealed) || len(got) > 0 {
		t.Errorf("under the old secret List() = %d, %v, want ErrSealed", len(got), err)
	}
	server.Do("HDEL", under(2).keys()[2], tableField) // as a release with another table finds it
	server.Do("HDEL", under(2).keys()[2], under(2).records.LookPlaces("n007")[0])
	if _, err := under(2).Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if alike, err := under(2).Resembles(t.Context(), "N007"); err != nil || !alike {
		t.Errorf("after a new table Resembles(N007) = %v, %v", alike, err)
	}
}
