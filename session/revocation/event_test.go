package revocation

import (
	"errors"
	"slices"
	"testing"
	"time"

	"dinggate/internal/identity"
)

// FuzzEvent: encoding inverts decoding, and nothing else happens.
func FuzzEvent(f *testing.F) {
	for _, e := range []Event{
		{Kind: SessionEnded, At: time.UnixMilli(1), ID: "x"},
		{Kind: PersonEnded, At: time.UnixMilli(2), Reason: "left", Who: Person{UserID: "u", UnionID: "v"}},
		{Kind: PersonEnded, At: time.UnixMilli(2), Reason: "account_changed", Who: Person{Account: "zs", Spare: 1 << 63}},
		{Kind: PersonChanged, At: time.UnixMilli(2), Who: PersonOf(identity.Key{Kind: identity.KeyBoth, Text: "0\x00zs"})},
		{Kind: PlacesChanged, At: time.UnixMilli(3), Places: Places{Departments: []int64{-1, 42}, Roles: []int64{1 << 40}}},
	} {
		f.Add(e.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEvent(b)
		if err != nil {
			if !errors.Is(err, errEvent) {
				t.Fatalf("decodeEvent() = %v", err)
			}
			return
		}
		if again := e.encode(); !slices.Equal(again, b) {
			t.Fatalf("encode(decode(%x)) = %x", b, again)
		}
	})
}
