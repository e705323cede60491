package redisstore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/internal/realtool"
	"dinggate/store/storetest"
)

// TestClusterReshard: while slots of a cluster move, a node answers ASK and the client sends
// ASKING to the other one. The user has only the permissions in docs/scaling.md, and every
// operation works.
func TestClusterReshard(t *testing.T) {
	url, nodes := startCluster(t, 2)
	for _, r := range nodes {
		if got := r.Do(append([]string{"ACL", "SETUSER"},
			strings.Fields(strings.TrimPrefix(acl, "user ")+clusterACL+bindingsACL)...)...); got != "OK\n" {
			t.Fatalf("ACL SETUSER = %q", got)
		}
	}
	s := open(t, strings.Replace(url, "://", "://gate:canary-77@", 1))
	bindings := s.Bindings(newKeyring(t, 1))
	l := storetest.Listen(t, s)
	l.Live(t)
	var keys []string
	for i := range 20 {
		keys = append(keys, fmt.Sprint("k", i))
		if err := s.Put(t.Context(), keys[i], []byte(keys[i]), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Append(t.Context(), []byte("before")); err != nil {
		t.Fatal(err)
	}
	if err := bindings.Add(t.Context(), account.Binding{UnionID: "u", Username: "n"}); err != nil {
		t.Fatal(err)
	}
	l.Receives(t, "before")
	var slots []string
	for _, r := range nodes {
		slots = append(slots, migrate(t, nodes, r)...)
	}
	if len(slots) < len(keys) {
		t.Fatalf("slots %q move: the test tests nothing", slots)
	}
	for _, key := range keys {
		if v, err := s.Get(t.Context(), key); err != nil || string(v) != key {
			t.Errorf("Get(%s) while its slot moves = %q, %v", key, v, err)
		}
		if err := s.Put(t.Context(), key, []byte("new"), time.Hour); err != nil {
			t.Errorf("Put(%s) while its slot moves = %v", key, err)
		}
		if v, err := s.Take(t.Context(), key); err != nil || string(v) != "new" {
			t.Errorf("Take(%s) while its slot moves = %q, %v", key, v, err)
		}
	}
	if err := s.Append(t.Context(), []byte("meanwhile")); err != nil {
		t.Errorf("Append while the journal's slot moves = %v", err)
	}
	l.Receives(t, "meanwhile")
	if b, err := bindings.Find(t.Context(), account.Binding{UnionID: "u"}); err != nil || b.Username != "n" {
		t.Errorf("Find while its slot moves = %v, %v", b, err)
	}
	if err := bindings.Add(t.Context(), account.Binding{UnionID: "u2", Username: "n2"}); err != nil {
		t.Errorf("Add while the slot of the bindings moves = %v", err)
	}
	if err := bindings.Rebind(t.Context(), account.Binding{UnionID: "u2", Username: "n2"}, "u3"); err != nil {
		t.Errorf("Rebind while the slot of the bindings moves = %v", err)
	}
	if b, err := bindings.Find(t.Context(), account.Binding{Username: "n2"}); err != nil || b.UnionID != "u3" {
		t.Errorf("Find while its slot moves = %v, %v", b, err)
	}
}

// migrate begins to move the slots of all keys on from to the other node, and moves the keys: from
// then on from answers ASK for them.
func migrate(t *testing.T, nodes []*realtool.Redis, from *realtool.Redis) (slots []string) {
	t.Helper()
	to := nodes[(slices.Index(nodes, from)+1)%len(nodes)]
	id := func(r *realtool.Redis) string { return strings.TrimSpace(r.Do("CLUSTER", "MYID")) }
	for key := range strings.FieldsSeq(from.Do("KEYS", "dinggate:*")) {
		slot := strings.TrimSpace(from.Do("CLUSTER", "KEYSLOT", key))
		if !slices.Contains(slots, slot) && !importing(from, slot) {
			slots = append(slots, slot)
			if a, b := to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", id(from)),
				from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", id(to)); a != "OK\n" || b != "OK\n" {
				t.Fatalf("CLUSTER SETSLOT %s = %q, %q", slot, a, b)
			}
		}
		if importing(from, slot) {
			continue
		}
		host, port, _ := strings.Cut(to.Addr, ":")
		if got := from.Do("MIGRATE", host, port, key, "0", "5000"); got != "OK\n" {
			t.Fatalf("MIGRATE %s = %q", key, got)
		}
	}
	return slots
}

// importing returns a slot that is moving to r.
func importing(r *realtool.Redis, slot string) bool {
	return strings.Contains(r.Do("CLUSTER", "NODES"), "["+slot+"-<-")
}
