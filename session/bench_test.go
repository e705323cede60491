package session

import (
	"context"
	"testing"
	"time"

	"dinggate/internal/identity"
)

// BenchmarkLoadKnown: every request loads a known session, so it must be cheap.
func BenchmarkLoadKnown(b *testing.B) {
	m := manager(b)
	m.Recheck = func(_ context.Context, s *Session) (identity.User, error) { return s.User, nil }
	_, c := signIn(b, m, zhangsan)
	texts, ctx := []string{c.Value}, context.Background()
	b.ReportAllocs()
	for b.Loop() {
		s, err := m.Load(ctx, texts, time.Second)
		if err != nil || m.Renew(s) != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoadKnownParallel(b *testing.B) {
	m := manager(b)
	_, c := signIn(b, m, zhangsan)
	texts, ctx := []string{c.Value}, context.Background()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := m.Load(ctx, texts, time.Second); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkLoadFirst is the cost of a cookie that is seen for the first time.
func BenchmarkLoadFirst(b *testing.B) {
	m := manager(b)
	_, c := signIn(b, m, zhangsan)
	texts, ctx := []string{c.Value}, context.Background()
	b.ReportAllocs()
	for b.Loop() {
		m.cache.forget(c.Value)
		if _, err := m.Load(ctx, texts, time.Second); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoadForged(b *testing.B) {
	m := manager(b)
	_, c := signIn(b, m, zhangsan)
	texts, ctx := []string{flip(c.Value, 9)}, context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Load(ctx, texts, time.Second); err == nil {
			b.Fatal("a forgery is a session")
		}
	}
}

// TestLoadKnownAllocates bounds the allocations of a known session, of the 20 of a whole request.
func TestLoadKnownAllocates(t *testing.T) {
	m := manager(t)
	m.Recheck = func(_ context.Context, s *Session) (identity.User, error) { return s.User, nil }
	_, c := signIn(t, m, zhangsan)
	texts, ctx := []string{c.Value}, context.Background()
	if n := testing.AllocsPerRun(100, func() {
		s, _ := m.Load(ctx, texts, time.Second)
		m.Renew(s)
	}); n != 0 {
		t.Errorf("Load of a known session allocates %v times, want 0", n)
	}
}
