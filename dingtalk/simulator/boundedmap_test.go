package simulator

import (
	"fmt"
	"testing"
)

func TestBoundedMap_DropsOldest(t *testing.T) {
	s := boundedMap[int]{max: 3}
	for i := range 100 {
		s.put(fmt.Sprint(i), i)
		if i%2 == 0 {
			s.delete(fmt.Sprint(i))
		}
	}
	for key, want := range map[string]bool{"99": true, "97": true, "93": false, "98": false, "1": false} {
		if _, got := s.get(key); got != want {
			t.Errorf("get(%s) = %v, want %v", key, got, want)
		}
	}
	if len(s.items) > s.max || len(s.order) > 2*s.max {
		t.Errorf("%d items and %d keys, want at most %d and %d", len(s.items), len(s.order), s.max, 2*s.max)
	}
}
