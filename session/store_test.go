package session_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/session"
	"dinggate/session/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) session.Store { return new(session.Memory) })
}

func TestFullMemoryRefuses(t *testing.T) { // threats S4: forgetting a used mark would allow a replay
	synctest.Test(t, func(t *testing.T) {
		m := &session.Memory{Max: 2}
		for i := range 2 {
			if err := m.Add(t.Context(), fmt.Sprint(i), nil, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		for what, err := range map[string]error{
			"Add": m.Add(t.Context(), "2", nil, time.Minute),
			"Put": m.Put(t.Context(), "2", nil, time.Minute),
		} {
			if err == nil || err == session.ErrExists || err == session.ErrNone {
				t.Errorf("%s(to a full store) = %v, want trouble", what, err)
			}
		}
		if err := m.Add(t.Context(), "1", nil, time.Minute); err != session.ErrExists {
			t.Errorf("Add(used, full) = %v, want ErrExists", err)
		}
		if err := m.Put(t.Context(), "1", []byte("x"), time.Minute); err != nil {
			t.Errorf("Put(known, full) = %v, want nil", err)
		}
		time.Sleep(time.Minute + time.Second)
		if err := m.Add(t.Context(), "2", nil, time.Minute); err != nil {
			t.Errorf("Add(after all expired) = %v, want nil", err)
		}
	})
}
