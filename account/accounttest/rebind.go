package accounttest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"dinggate/account"
)

func rebound(t *testing.T, s account.Bindings) {
	add(t, s, b("u1", "a"), b("u2", "b"))
	none, taken := func(err error) bool { return errors.Is(err, account.ErrNone) }, func(err error) bool {
		_, ok := errors.AsType[*account.TakenError](err)
		return ok
	}
	for _, tt := range []struct {
		what    string
		from    account.Binding
		unionID string
		ok      func(error) bool // nil: no error
		holds   []account.Binding
	}{
		{"no such account", b("u1", "x"), "u9", none, []account.Binding{b("u1", "a"), b("u2", "b")}},
		{"no such person", b("u7", "a"), "u9", none, []account.Binding{b("u1", "a"), b("u2", "b")}},
		{"another person's account", b("u1", "b"), "u9", none, []account.Binding{b("u1", "a"), b("u2", "b")}},
		{"to a person with an account", b("u1", "a"), "u2", taken, []account.Binding{b("u1", "a"), b("u2", "b")}},
		{"to the same person", b("u1", "a"), "u1", nil, []account.Binding{b("u1", "a"), b("u2", "b")}},
		{"to another person", b("u1", "a"), "u3", nil, []account.Binding{b("u3", "a"), b("u2", "b")}},
		{"again", b("u1", "a"), "u3", nil, []account.Binding{b("u3", "a"), b("u2", "b")}},
		{"back", b("u3", "a"), "u1", nil, []account.Binding{b("u1", "a"), b("u2", "b")}},
	} {
		if err := s.Rebind(t.Context(), tt.from, tt.unionID); tt.ok == nil && err != nil || tt.ok != nil && !tt.ok(err) {
			t.Errorf("%s: Rebind(%v, %s) = %v", tt.what, tt.from, tt.unionID, err)
		}
		holds(t, s, tt.holds...)
		for _, by := range []account.Binding{b("u1", ""), b("u3", "")} {
			if _, err := s.Find(t.Context(), by); err != nil && !none(err) || err == nil && !slices.ContainsFunc(tt.holds,
				func(one account.Binding) bool { return one.UnionID == by.UnionID }) {
				t.Errorf("%s: Find(%v) = %v", tt.what, by, err)
			}
		}
	}
	for _, bad := range []string{"", "u v", "u\x00", strings.Repeat("u", 129)} {
		if err := s.Rebind(t.Context(), b("u1", "a"), bad); err == nil || none(err) || taken(err) {
			t.Errorf("Rebind(to %q) = %v, want a refusal", bad, err)
		}
	}
	if alike, err := s.Resembles(t.Context(), "A"); err != nil || !alike {
		t.Errorf("Resembles(A) = %v, %v, want true as before", alike, err)
	}
	for _, name := range []string{"a", "b"} { // counted once each
		if _, err := s.Remove(t.Context(), name); err != nil {
			t.Errorf("Remove(%s) = %v", name, err)
		}
	}
	holds(t, s)
	if alike, err := s.Resembles(t.Context(), "A"); err != nil || alike {
		t.Errorf("Resembles(A) = %v, %v, want false", alike, err)
	}
}

// rebinding looks an account up while it goes back and forth between two people.
func rebinding(t *testing.T, s account.Bindings) {
	add(t, s, b("u1", "a"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 100 {
			from, to := "u1", "u2"
			if i%2 == 1 {
				from, to = to, from
			}
			if err := s.Rebind(t.Context(), b(from, "a"), to); err != nil {
				t.Errorf("Rebind(%s to %s) = %v", from, to, err)
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false // one more look, at the result
		default:
		}
		got, err := s.Find(t.Context(), b("", "a"))
		if err != nil || got != b("u1", "a") && got != b("u2", "a") {
			t.Errorf("Find(account a) = %v, %v, want one of the two people", got, err)
		}
		if all, err := s.List(t.Context()); err != nil || len(all) != 1 {
			t.Errorf("List() = %v, %v, want one binding", all, err)
		}
	}
	holds(t, s, b("u1", "a"))
}

// rebindRace binds an account again while other calls bind and remove by hand: the result is that
// of one call after the other.
func rebindRace(t *testing.T, s account.Bindings) {
	for i := range 30 {
		before, after, other := b(fmt.Sprint("o", i), fmt.Sprint("n", i)), fmt.Sprint("m", i), fmt.Sprint("x", i)
		add(t, s, before)
		var again, byHand, removed error
		var all sync.WaitGroup
		all.Go(func() { again = s.Rebind(t.Context(), before, after) })
		all.Go(func() { byHand = s.Add(t.Context(), b(after, other)) })
		if i%2 == 1 {
			all.Go(func() { _, removed = s.Remove(t.Context(), before.Username) })
		}
		all.Wait()
		_, taken := errors.AsType[*account.TakenError](again)
		_, exists := errors.AsType[*account.TakenError](byHand)
		if again != nil && !taken && !errors.Is(again, account.ErrNone) || byHand != nil && !exists || removed != nil {
			t.Errorf("round %d: Rebind = %v, Add = %v, Remove = %v", i, again, byHand, removed)
		}
		if i%2 == 0 && (again == nil) == (byHand == nil) {
			t.Errorf("round %d: Rebind = %v, Add = %v, want one of them", i, again, byHand)
		}
		var want []account.Binding
		switch {
		case i%2 == 1: // removed before or after
		case again == nil:
			want = append(want, b(after, before.Username))
		default:
			want = append(want, before)
		}
		if byHand == nil {
			want = append(want, b(after, other))
		}
		holds(t, s, want...)
		for _, one := range want {
			if _, err := s.Remove(t.Context(), one.Username); err != nil {
				t.Fatal(err)
			}
		}
	}
}
