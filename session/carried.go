package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// maxCarried is the most cookies of our name that a sign-out looks at. A page
// that is planted beside ours has no room for more in a Cookie header that
// servers take.
const maxCarried = 64

// Carried lists the sessions that live of all that one request carried under our
// cookie name, each once, for a sign-out: where Load refuses two that verify,
// since nobody can tell which one was planted, a person who signs out wants neither to
// go on. DingTalk is not asked.
//
// ErrStore: one cannot be judged now. ErrForged: there are more cookies than are
// looked at; nothing may be said of them.
func (m *Manager) Carried(ctx context.Context, texts []string) (all []*Session, err error) {
	m.init()
	if len(texts) > maxCarried {
		return nil, fmt.Errorf("%w: %d cookies of our name", ErrForged, len(texts))
	}
	for _, text := range texts {
		now := m.now()
		c, err := m.open(text, now)
		if err != nil {
			continue
		}
		e, err := m.live(ctx, c, now)
		if errors.Is(err, ErrStore) {
			return nil, err
		}
		if err != nil {
			continue
		}
		if s, _ := m.view(e, now); !slices.ContainsFunc(all, func(other *Session) bool { return other.ID == s.ID }) {
			all = append(all, s)
		}
	}
	return all, nil
}
