package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/store"
)

// swapping runs a test of store.Swapper, which every store implements.
func swapping(law func(*testing.T, store.Swapper)) func(*testing.T, store.Store) {
	return func(t *testing.T, s store.Store) {
		swapper, ok := s.(store.Swapper)
		if !ok {
			t.Fatalf("%T is no store.Swapper", s)
		}
		law(t, swapper)
	}
}

func swaps(t *testing.T, s store.Swapper) {
	ctx := t.Context()
	wantErr(t, "Swap(absent)", s.Swap(ctx, "k", []byte("1"), []byte("2"), time.Hour), store.ErrNotFound)
	wantErr(t, "Swap(absent, for nothing)", s.Swap(ctx, "k", nil, []byte("2"), time.Hour), store.ErrNotFound)
	wantErr(t, "Put", s.Put(ctx, "k", []byte("\x00\xff1"), time.Hour), nil)
	wantErr(t, "Swap(another)", s.Swap(ctx, "k", []byte("\x00\xff2"), []byte("3"), time.Hour), store.ErrExists)
	want(t, s, "k", "\x00\xff1")
	wantErr(t, "Swap", s.Swap(ctx, "k", []byte("\x00\xff1"), []byte("\xfe"), time.Hour), nil)
	want(t, s, "k", "\xfe")
	wantErr(t, "Swap again", s.Swap(ctx, "k", []byte("\x00\xff1"), []byte("4"), time.Hour), store.ErrExists)
	wantFailure(t, "Swap(no ttl)", s.Swap(ctx, "k", []byte("\xfe"), []byte("5"), 0))
	wantErr(t, "Put(empty)", s.Put(ctx, "e", nil, time.Hour), nil)
	wantErr(t, "Swap(empty)", s.Swap(ctx, "e", []byte{}, []byte("x"), time.Hour), nil)
	want(t, s, "e", "x")
}

func swapLife(t *testing.T, s store.Swapper) {
	ctx := t.Context()
	wantErr(t, "Put", s.Put(ctx, "long", []byte("1"), brief), nil)
	wantErr(t, "Swap", s.Swap(ctx, "long", []byte("1"), []byte("2"), time.Hour), nil)
	wantErr(t, "Put", s.Put(ctx, "short", []byte("1"), time.Hour), nil)
	wantErr(t, "Swap", s.Swap(ctx, "short", []byte("1"), []byte("2"), brief), nil)
	pass(t, s, "short")
	want(t, s, "long", "2")
	wantErr(t, "Swap(expired)", s.Swap(ctx, "short", []byte("2"), []byte("3"), time.Hour), store.ErrNotFound)
}

func swapRace(t *testing.T, s store.Swapper) {
	wantErr(t, "Put", s.Put(t.Context(), "k", []byte("0"), time.Hour), nil)
	var n atomic.Int32
	race(t, store.ErrExists, func() error {
		return s.Swap(t.Context(), "k", []byte("0"), fmt.Append(nil, "w", n.Add(1)), time.Hour)
	})
}

// swapCount increments one number from many goroutines: no increment is lost.
func swapCount(t *testing.T, s store.Swapper) {
	ctx := t.Context()
	wantErr(t, "Put", s.Put(ctx, "k", []byte("0"), time.Hour), nil)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for added := 0; added < 5; {
				old, err := s.Get(ctx, "k")
				if err != nil {
					t.Error(err)
					return
				}
				n := 0
				fmt.Sscan(string(old), &n)
				switch err := s.Swap(ctx, "k", old, fmt.Append(nil, n+1), time.Hour); {
				case err == nil:
					added++
				case !errors.Is(err, store.ErrExists):
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	want(t, s, "k", "40")
}
