package simulator

import "slices"

// boundedMap is a map that keeps the max newest entries: a demo that runs for a
// month must not grow.
type boundedMap[T any] struct {
	max   int
	items map[string]T
	order []string
}

func (s *boundedMap[T]) put(key string, v T) {
	if s.items == nil {
		s.items = map[string]T{}
	}
	if len(s.order) >= 2*s.max {
		s.order = slices.DeleteFunc(s.order, func(k string) bool { _, ok := s.items[k]; return !ok })
	}
	for len(s.items) >= s.max {
		delete(s.items, s.order[0])
		s.order = s.order[1:]
	}
	if _, known := s.items[key]; !known {
		s.order = append(s.order, key)
	}
	s.items[key] = v
}

func (s *boundedMap[T]) get(key string) (T, bool) {
	v, ok := s.items[key]
	return v, ok
}

func (s *boundedMap[T]) delete(key string) { delete(s.items, key) }
