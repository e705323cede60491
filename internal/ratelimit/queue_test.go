package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
)

// TestQueue: while the one place is taken other callers arrive, each "client class"; the result is
// the order in which they get it.
func TestQueue(t *testing.T) {
	for _, tt := range []struct{ name, come, want string }{
		{"first come", "a0 a0 a0", "a0 a0 a0"},
		{"clients take turns", "a0 a0 a0 b0 c0", "a0 b0 c0 a0 a0"},
		{"the lower class first, every fourth to the oldest", "a2 b1 c0 a1 b0", "c0 b0 a1 a2 b1"},
		{"many behind one", "a1 b1 c1 d1 e1 z0", "z0 a1 b1 c1 d1 e1"},
		{"capacity of six: the highest class gives way", "a2 b2 c2 d2 e2 f2 z0", "z0 a2 b2 c2 d2 e2 f2!"},
		{"capacity of six: a newcomer of the same class does not", "a0 b0 c0 d0 e0 f0 z0", "a0 b0 c0 d0 e0 f0 z0!"},
	} {
		synctest.Test(t, func(t *testing.T) {
			q := Queue{Waiting: 6}
			leave, err := q.Enter(t.Context(), client("h"), 0)
			if err != nil {
				t.Fatal(err)
			}
			var got, away []string
			turn := make(chan string)
			for who := range strings.FieldsSeq(tt.come) {
				go func() {
					leave, err := q.Enter(t.Context(), client(who[:1]), int(who[1]-'0'))
					if err != nil {
						turn <- who + "!"
						return
					}
					turn <- who
					leave()
				}()
				synctest.Wait()
			}
			leave()
			for range strings.Fields(tt.come) {
				if who := <-turn; strings.HasSuffix(who, "!") {
					away = append(away, who)
				} else {
					got = append(got, who)
				}
				synctest.Wait()
			}
			if all := strings.Join(append(got, away...), " "); all != tt.want {
				t.Errorf("%s: %s = %s, want %s", tt.name, tt.come, all, tt.want)
			}
		})
	}
}

func client(name string) netip.Prefix {
	return Client(netip.AddrFrom4([4]byte{192, 0, 2, name[0]}))
}

// TestQueueGivesUp: a caller that no longer waits holds nothing, also if its turn comes at the
// same moment.
func TestQueueGivesUp(t *testing.T) {
	q := Queue{Places: 2, Share: 1}
	leave, err := q.Enter(t.Context(), client("a"), 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 100 {
		if _, err := q.Enter(ctx, client("a"), 0); !errors.Is(err, context.Canceled) {
			t.Fatalf("a second place of one client, %d = %v, want to wait", i, err)
		}
		if other, err := q.Enter(ctx, client(fmt.Sprint(i)), 0); err == nil { // either, by chance
			other()
		}
	}
	leave()
	if q.busy != 0 || len(q.line) != 0 || len(q.held) != 0 || len(q.given) != 0 {
		t.Errorf("%d places, %d in line, %d holders, %d turns are left", q.busy, len(q.line), len(q.held), len(q.given))
	}
}
