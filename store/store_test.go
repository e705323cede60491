package store_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/store"
	"dinggate/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return new(store.Memory) })
}

func TestMemory_FullRefuses(t *testing.T) { // threats S4: forgetting a used mark would allow a replay
	synctest.Test(t, func(t *testing.T) {
		m := &store.Memory{Max: 2}
		for i := range 2 {
			if err := m.Add(t.Context(), fmt.Sprint(i), nil, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		for what, err := range map[string]error{
			"Add": m.Add(t.Context(), "2", nil, time.Minute),
			"Put": m.Put(t.Context(), "2", nil, time.Minute),
		} {
			if err == nil || err == store.ErrExists || err == store.ErrNotFound {
				t.Errorf("%s(to a full store) = %v, want a failure", what, err)
			}
		}
		if err := m.Add(t.Context(), "1", nil, time.Minute); err != store.ErrExists {
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

func TestFakeJournal(t *testing.T) {
	storetest.RunJournal(t, func(*testing.T) func() store.Journal {
		p := new(storetest.FakeJournal)
		return func() store.Journal { return p }
	})
}

func TestFakeJournal_Unreachable(t *testing.T) {
	p := new(storetest.FakeJournal)
	l := storetest.Listen(t, p)
	l.Live(t)
	p.Cut()
	l.Wait(t, "live(false)", func(_ []string, lives []bool) bool { return len(lives) == 2 && !lives[1] })
	if err := p.Append(t.Context(), []byte("x")); err == nil {
		t.Error("Append(cut) = nil, want a failure")
	}
	p.Mend()
	l.Live(t)
	p.Lose()
	l.Wait(t, "live(false) and live(true)", func(_ []string, lives []bool) bool {
		return len(lives) == 5 && !lives[3] && lives[4]
	})
}
