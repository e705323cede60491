package account

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"dinggate/internal/conf"
)

// Binding says that a DingTalk person is an account. A person has one account
// at most, and an account one person.
type Binding struct {
	UnionID  string
	Username string
}

// Bindings stores bindings, for ever. Implementations are safe for concurrent
// use and pass accounttest.Run. ErrNone, ErrFull and *TakenError are answers;
// any other error is a failure: what was to be written is there in whole or not at
// all, and asking again does no harm. So is an ended context. So are
// ErrSealed and ErrUnsealed, of a store that others may write to: what they wrote
// makes nobody anybody.
type Bindings interface {
	// Find returns the binding of by.UnionID, or where that is empty the one of
	// by.Username; ErrNone when there is none. With ErrUnsealed it returns what
	// the store says, for an administrator to judge.
	Find(ctx context.Context, by Binding) (Binding, error)

	// Resembles reports whether an account is bound whose name can be taken for
	// this one (see Looks); it may be the very same.
	Resembles(ctx context.Context, name string) (bool, error)

	// Add makes all of them or, with a *TakenError, none. One that exists already
	// is no error. Of two calls that exclude each other, on any replica, one
	// wins. After Add has returned nil a crash loses nothing. It replaces what does
	// not open or is not sealed.
	Add(ctx context.Context, all ...Binding) error

	// Remove takes away the binding of an account, otherwise that of a unionId, and
	// returns it; ErrNone when there is none.
	Remove(ctx context.Context, name string) (Binding, error)

	// List returns all, by account name; beside ErrSealed all that open.
	List(ctx context.Context) ([]Binding, error)

	// Renew brings what is kept up to date: seals anew what is under an old key,
	// and notes what names look like by the table of now. Call it at start and
	// when keys have changed. Replicas may do so at once.
	Renew(ctx context.Context) (Renewed, error)
}

// TakenError names the given bindings that cannot be made: the person or
// the account belongs to another one.
type TakenError struct {
	Taken []int // places in what Add was given, ascending
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("account: %d of the bindings have a person or an account that is bound to another", len(e.Taken))
}

// Plan works out for an implementation what Add has to write. find looks at
// what is kept. Also two of the given ones exclude each other.
func Plan(all []Binding, find func(by Binding) (Binding, error)) (write []Binding, err error) {
	people, names := map[string]string{}, map[string]string{}
	var taken []int
	for i, b := range all {
		if wrong := b.wrong(); !wrong.IsZero() {
			return nil, fmt.Errorf("account: binding: number %d %s", i, wrong)
		}
		name, again := people[b.UnionID]
		person, used := names[b.Username]
		if again || used {
			if name != b.Username || person != b.UnionID {
				taken = append(taken, i)
			}
			continue
		}
		known, free := 0, true
		for _, by := range []Binding{{UnionID: b.UnionID}, {Username: b.Username}} {
			kept, err := find(by)
			switch {
			case err == nil && kept == b:
				known++
			case err == nil:
				free = false
			case err != ErrNone:
				return nil, err
			}
		}
		people[b.UnionID], names[b.Username] = b.Username, b.UnionID
		if !free {
			taken = append(taken, i)
		} else if known < 2 { // in one direction alone is half a binding
			write = append(write, b)
		}
	}
	if taken != nil {
		return nil, &TakenError{taken}
	}
	return write, nil
}

func (b Binding) wrong() conf.Text {
	if wrong := wrongUnionID(b.UnionID); !wrong.IsZero() {
		return wrong
	}
	return wrongName(b.Username)
}

// Memory is Bindings in this process alone; a restart forgets them. The zero
// value is ready.
type Memory struct {
	mu     sync.Mutex
	people map[string]string // unionId → account
	names  map[string]string // account → unionId
	looks  map[string]int    // key of Looks → how many accounts have it
}

var _ Bindings = (*Memory)(nil)

func (m *Memory) Find(ctx context.Context, by Binding) (Binding, error) {
	if err := ctx.Err(); err != nil {
		return Binding{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(by)
}

func (m *Memory) find(by Binding) (Binding, error) {
	if by.UnionID != "" {
		if name, ok := m.people[by.UnionID]; ok {
			return Binding{by.UnionID, name}, nil
		}
	} else if id, ok := m.names[by.Username]; ok {
		return Binding{id, by.Username}, nil
	}
	return Binding{}, ErrNone
}

// Resembles compares by Looks.
func (m *Memory) Resembles(ctx context.Context, name string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(Looks(name), func(key string) bool { return m.looks[key] > 0 }), nil
}

// Renew has nothing to do: nobody else writes here, and nothing lasts.
func (m *Memory) Renew(ctx context.Context) (Renewed, error) { return Renewed{}, ctx.Err() }

func (m *Memory) Add(ctx context.Context, all ...Binding) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	write, err := Plan(all, m.find)
	if err != nil {
		return err
	}
	if len(m.people)+len(write) > MaxBindings {
		return ErrFull
	}
	if m.people == nil {
		m.people, m.names, m.looks = map[string]string{}, map[string]string{}, map[string]int{}
	}
	for _, b := range write {
		m.people[b.UnionID], m.names[b.Username] = b.Username, b.UnionID
		for _, key := range Looks(b.Username) {
			m.looks[key]++
		}
	}
	return nil
}

func (m *Memory) Remove(ctx context.Context, name string) (Binding, error) {
	if err := ctx.Err(); err != nil {
		return Binding{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.find(Binding{Username: name})
	if err != nil && name != "" {
		b, err = m.find(Binding{UnionID: name})
	}
	if err != nil {
		return Binding{}, err
	}
	delete(m.people, b.UnionID)
	delete(m.names, b.Username)
	for _, key := range Looks(b.Username) {
		if m.looks[key]--; m.looks[key] == 0 {
			delete(m.looks, key)
		}
	}
	return b, nil
}

func (m *Memory) List(ctx context.Context) ([]Binding, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Binding, 0, len(m.people))
	for id, name := range m.people {
		all = append(all, Binding{id, name})
	}
	Sort(all)
	return all, nil
}

// Sort orders bindings by account name, as List returns them.
func Sort(all []Binding) {
	slices.SortFunc(all, func(a, b Binding) int {
		switch {
		case a.Username < b.Username:
			return -1
		case a.Username > b.Username:
			return 1
		}
		return 0
	})
}
