// Package accounttest checks implementations of account.Bindings against its contract.
//
//	func TestBindings(t *testing.T) {
//		accounttest.Run(t, func(t *testing.T) account.Bindings { return open(t) })
//	}
package accounttest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"dinggate/account"
)

// Run calls open for empty Bindings in each subtest; open cleans up by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) account.Bindings) {
	for _, law := range []struct {
		name string
		test func(*testing.T, account.Bindings)
	}{
		{"absent is ErrNone", absent},
		{"what is added is found from both sides", added},
		{"again is no error", again},
		{"a person has one account and an account one person", taken},
		{"all or none", allOrNone},
		{"what is removed is gone from both sides", removed},
		{"a name of one kind is not one of the other", kinds},
		{"names are exact", exact},
		{"names that look alike are found", looks},
		{"an account is bound to another person in one step", rebound},
		{"an account that is bound again is never without a person", rebinding},
		{"binding again and binding by hand exclude each other", rebindRace},
		{"renewing changes nothing", renewing},
		{"the list is sorted", sorted},
		{"nonsense is refused", nonsense},
		{"an ended context is an error", ended},
		{"of many that exclude each other one wins", race},
		{"many at once", many},
	} {
		t.Run(law.name, func(t *testing.T) { law.test(t, open(t)) })
	}
}

func b(unionID, username string) account.Binding {
	return account.Binding{UnionID: unionID, Username: username}
}

// holds fails unless the store holds exactly these bindings, sorted by account.
func holds(t *testing.T, s account.Bindings, want ...account.Binding) {
	t.Helper()
	got, err := s.List(t.Context())
	if err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("List() = %v, %v, want %v", got, err, want)
	}
	for _, one := range want {
		for _, by := range []account.Binding{{UnionID: one.UnionID}, {Username: one.Username}} {
			if got, err := s.Find(t.Context(), by); err != nil || got != one {
				t.Errorf("Find(%v) = %v, %v, want %v", by, got, err, one)
			}
		}
	}
}

func add(t *testing.T, s account.Bindings, all ...account.Binding) {
	t.Helper()
	if err := s.Add(t.Context(), all...); err != nil {
		t.Fatalf("Add() of %d bindings = %v", len(all), err)
	}
}

func absent(t *testing.T, s account.Bindings) {
	for _, by := range []account.Binding{{UnionID: "u"}, {Username: "n"}, {}} {
		if got, err := s.Find(t.Context(), by); !errors.Is(err, account.ErrNone) || got != b("", "") {
			t.Errorf("Find(%v) = %v, %v, want ErrNone", by, got, err)
		}
	}
	for _, name := range []string{"u", ""} {
		if got, err := s.Remove(t.Context(), name); !errors.Is(err, account.ErrNone) || got != b("", "") {
			t.Errorf("Remove(%q) = %v, %v, want ErrNone", name, got, err)
		}
	}
	holds(t, s)
}

func added(t *testing.T, s account.Bindings) {
	add(t, s, b("u2", "b"), b("u1", "a"))
	add(t, s, b("u3", "c"))
	add(t, s)
	holds(t, s, b("u1", "a"), b("u2", "b"), b("u3", "c"))
	// If both are given, the unionId alone decides.
	if got, err := s.Find(t.Context(), b("u1", "b")); err != nil || got != b("u1", "a") {
		t.Errorf("Find of u1 and another's name = %v, %v, want u1's", got, err)
	}
}

func again(t *testing.T, s account.Bindings) {
	add(t, s, b("u1", "a"))
	add(t, s, b("u1", "a"), b("u2", "b"), b("u2", "b"))
	holds(t, s, b("u1", "a"), b("u2", "b"))
}

// refuses fails unless Add reports that these entries are taken.
func refuses(t *testing.T, s account.Bindings, places []int, all ...account.Binding) {
	t.Helper()
	err := s.Add(t.Context(), all...)
	if e, ok := errors.AsType[*account.TakenError](err); !ok || !slices.Equal(e.Taken, places) {
		t.Errorf("Add(%v) = %v, want %v taken", all, err, places)
	}
}

func taken(t *testing.T, s account.Bindings) {
	add(t, s, b("u1", "a"), b("u2", "b"))
	refuses(t, s, []int{0}, b("u1", "c"))
	refuses(t, s, []int{0}, b("u3", "a"))
	refuses(t, s, []int{0}, b("u1", "b"))
	refuses(t, s, []int{1}, b("u3", "c"), b("u3", "d"))
	refuses(t, s, []int{1}, b("u3", "c"), b("u4", "c"))
	holds(t, s, b("u1", "a"), b("u2", "b"))
}

func allOrNone(t *testing.T, s account.Bindings) {
	add(t, s, b("u1", "a"))
	refuses(t, s, []int{1, 3}, b("u5", "e"), b("u1", "x"), b("u6", "f"), b("u7", "a"))
	holds(t, s, b("u1", "a"))
}

func removed(t *testing.T, s account.Bindings) {
	add(t, s, b("u1", "a"), b("u2", "b"), b("u3", "c"))
	for name, want := range map[string]account.Binding{"a": b("u1", "a"), "u2": b("u2", "b")} {
		if got, err := s.Remove(t.Context(), name); err != nil || got != want {
			t.Errorf("Remove(%s) = %v, %v, want %v", name, got, err, want)
		}
		if _, err := s.Remove(t.Context(), name); !errors.Is(err, account.ErrNone) {
			t.Errorf("Remove(%s) again = %v, want ErrNone", name, err)
		}
	}
	holds(t, s, b("u3", "c"))
	add(t, s, b("u1", "b"), b("u2", "a")) // free again in both directions
	holds(t, s, b("u2", "a"), b("u1", "b"), b("u3", "c"))
}

func kinds(t *testing.T, s account.Bindings) {
	add(t, s, b("x", "y"), b("y", "z"))
	if got, err := s.Find(t.Context(), b("", "x")); !errors.Is(err, account.ErrNone) {
		t.Errorf("Find(account x) = %v, %v, want ErrNone: x is a person", got, err)
	}
	if got, err := s.Remove(t.Context(), "y"); err != nil || got != b("x", "y") {
		t.Errorf("Remove(y) = %v, %v, want the account first", got, err)
	}
	holds(t, s, b("y", "z"))
}

func exact(t *testing.T, s account.Bindings) {
	odd := []account.Binding{b("U*", "*"), b("U1", "A"), b("u1", "a"), b("u:1", `q"u,o`), b("{u}", "中文名 字"),
		b("+/=", strings.Repeat("长", 42))}
	add(t, s, odd...)
	account.Sort(odd)
	holds(t, s, odd...)
	for _, name := range []string{"u", "u1 ", "A ", "中文名", "?"} {
		if _, err := s.Find(t.Context(), b("", name)); !errors.Is(err, account.ErrNone) {
			t.Errorf("Find(account %q) = %v, want ErrNone", name, err)
		}
	}
}

func looks(t *testing.T, s account.Bindings) {
	resembles := func(name string, want bool) {
		t.Helper()
		if got, err := s.Resembles(t.Context(), name); err != nil || got != want {
			t.Errorf("Resembles(%q) = %v, %v, want %v", name, got, err, want)
		}
	}
	resembles("alice", false)
	add(t, s, b("u1", "alice"), b("u2", "ALICE"), b("u3", "管理员"))
	for _, name := range []string{"alice", "Alice", "ａlice", "аlice", "al\u200bice", "aIice", "管\u200b理员"} {
		resembles(name, true)
	}
	for _, name := range []string{"alicia", "u1", "管理", ""} {
		resembles(name, false)
	}
	for _, name := range []string{"alice", "u3"} {
		if _, err := s.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	resembles("Alice", true) // ALICE is still bound
	resembles("管理员", false)
	if _, err := s.Remove(t.Context(), "ALICE"); err != nil {
		t.Fatal(err)
	}
	resembles("Alice", false)
}

func renewing(t *testing.T, s account.Bindings) {
	for range 2 {
		if done, err := s.Renew(t.Context()); err != nil || done != (account.Renewed{}) {
			t.Errorf("Renew() = %v, %v, want nothing to do", done, err)
		}
		add(t, s, b("u1", "a"), b("u2", "b"))
		holds(t, s, b("u1", "a"), b("u2", "b"))
	}
}

func sorted(t *testing.T, s account.Bindings) {
	var want []account.Binding
	for i := range 300 {
		want = append(want, b(fmt.Sprintf("u%03d", 299-i), fmt.Sprintf("n%03d", i)))
	}
	for _, i := range []int{2, 0, 1} {
		add(t, s, want[i*100:(i+1)*100]...)
	}
	holds(t, s, want...)
}

func nonsense(t *testing.T, s account.Bindings) {
	for _, bad := range []account.Binding{b("", "a"), b("u", ""), b("u v", "a"), b("u", "a:b"), b("u", "a\n"),
		b("u\x00", "a"), b("u", " a"), b("u", "a\u202eb"), b("u", "\xff"), b("u", strings.Repeat("a", 129)),
		b(strings.Repeat("u", 129), "a")} {
		err := s.Add(t.Context(), b("good", "good"), bad)
		if _, taken := errors.AsType[*account.TakenError](err); err == nil || taken {
			t.Errorf("Add(%q) = %v, want a refusal", bad, err)
		}
	}
	holds(t, s)
}

func ended(t *testing.T, s account.Bindings) {
	add(t, s, b("u1", "a"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, find := s.Find(ctx, b("u1", ""))
	_, list := s.List(ctx)
	_, remove := s.Remove(ctx, "a")
	_, resembles := s.Resembles(ctx, "a")
	_, renew := s.Renew(ctx)
	for name, err := range map[string]error{"Find": find, "List": list, "Resembles": resembles, "Renew": renew,
		"Remove": remove, "Add": s.Add(ctx, b("u2", "b")), "Rebind": s.Rebind(ctx, b("u1", "a"), "u2")} {
		if err == nil || errors.Is(err, account.ErrNone) {
			t.Errorf("%s with an ended context = %v, want another error", name, err)
		}
	}
	holds(t, s, b("u1", "a"))
}

func race(t *testing.T, s account.Bindings) {
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			one := b("person", fmt.Sprintf("account%d", i))
			if i%2 == 1 {
				one = b(fmt.Sprintf("person%d", i), "account0")
			}
			switch err := s.Add(t.Context(), one); {
			case err == nil:
				won.Add(1)
			default:
				if _, ok := errors.AsType[*account.TakenError](err); !ok {
					t.Errorf("Add(%v) = %v, want made or taken", one, err)
				}
			}
		})
	}
	all.Wait()
	stored, err := s.List(t.Context())
	// one of the person and one of account0, unless they are the same
	if err != nil || len(stored) != int(won.Load()) || len(stored) == 0 || len(stored) > 2 {
		t.Errorf("%d calls won and %v are stored, %v", won.Load(), stored, err)
	}
	holds(t, s, stored...)
}

func many(t *testing.T, s account.Bindings) {
	var want []account.Binding
	for i := range 5_000 {
		want = append(want, b(fmt.Sprintf("union-%05d", i), fmt.Sprintf("name-%05d", i)))
	}
	add(t, s, want...)
	got, err := s.List(t.Context())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%d of %d are stored, %v", len(got), len(want), err)
	}
}
