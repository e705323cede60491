package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"dinggate/internal/conf"
)

// Binding binds a DingTalk user to an account. A person has at most one account,
// and an account at most one person.
type Binding struct {
	UnionID  string
	Username string
}

// Bindings stores bindings permanently. Implementations are safe for concurrent
// use and pass accounttest.Run. ErrNone, ErrFull and *TakenError are results.
// Any other error, an ended context included, is a failure: the change was made
// completely or not at all, and a retry is safe. ErrSealed and ErrUnsealed are
// failures of a store that other programs can write to: such a record identifies
// no person.
type Bindings interface {
	// Find returns the binding of by.UnionID, or of by.Username if by.UnionID is
	// empty. It returns ErrNone if there is none. With ErrUnsealed it also returns
	// the record, for an administrator to check.
	Find(ctx context.Context, by Binding) (Binding, error)

	// Resembles reports whether a bound account has a name that can be mistaken for
	// this one (see Looks). The account with exactly this name counts too.
	Resembles(ctx context.Context, name string) (bool, error)

	// Add adds all bindings or, with a *TakenError, none. A binding that exists
	// already is not an error. Of two conflicting calls, on any replica, one
	// succeeds. After Add returns nil, the bindings survive a crash. Add replaces
	// records that do not open or are not sealed.
	Add(ctx context.Context, all ...Binding) error

	// Rebind binds the account of b to unionID instead of b.UnionID, in one step: at
	// any moment, on any replica and after a crash, the account is bound to exactly
	// one of the two. If unionID has this account already, nothing changes. It
	// returns ErrNone if b does not exist, and a *TakenError if unionID is bound to
	// another account; a record of unionID that does not open or is not sealed is
	// replaced.
	Rebind(ctx context.Context, b Binding, unionID string) error

	// Remove removes the binding of the account, or of the unionId if there is no
	// such account, and returns it. It returns ErrNone if there is none.
	Remove(ctx context.Context, name string) (Binding, error)

	// List returns all bindings by account name; with ErrSealed, those that open.
	List(ctx context.Context) ([]Binding, error)

	// Renew updates the stored records: it seals those under an old key again and
	// recomputes the keys of Looks with the current table. Call it at the start and
	// when keys change. Replicas may call it at the same time.
	Renew(ctx context.Context) (Renewed, error)
}

// TakenError names the given bindings that were not added because the person or
// the account is bound already.
type TakenError struct {
	Taken []int // indexes into the argument of Add, ascending
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("account: %d of the bindings have a person or an account that is bound to another", len(e.Taken))
}

// Plan computes what an implementation of Add has to write. find reads the
// stored bindings. Plan also finds conflicts among the given bindings. The error is
// *TakenError, one of find other than ErrNone, or names a binding that is malformed.
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
		} else if known < 2 { // a binding in one direction only is incomplete
			write = append(write, b)
		}
	}
	if taken != nil {
		return nil, &TakenError{taken}
	}
	return write, nil
}

// PlanRebind decides what an implementation of Rebind has to write: the new binding in
// place of b, or nothing if done. find reads the stored bindings.
func PlanRebind(b Binding, unionID string, find func(by Binding) (Binding, error)) (to Binding, done bool, err error) {
	to = Binding{unionID, b.Username}
	for _, one := range []Binding{b, to} {
		if wrong := one.wrong(); !wrong.IsZero() {
			return to, false, fmt.Errorf("account: binding again: the binding %s", wrong)
		}
	}
	now, err := find(Binding{Username: b.Username})
	switch {
	case err != nil:
		return to, false, err
	case now == to:
		return to, true, nil
	case now != b:
		return to, false, ErrNone
	}
	switch _, err := find(Binding{UnionID: unionID}); {
	case err == nil:
		return to, false, &TakenError{[]int{0}}
	case errors.Is(err, ErrNone), errors.Is(err, ErrSealed), errors.Is(err, ErrUnsealed):
		return to, false, nil
	default:
		return to, false, err
	}
}

func (b Binding) wrong() conf.Text {
	if wrong := wrongUnionID(b.UnionID); !wrong.IsZero() {
		return wrong
	}
	return wrongName(b.Username)
}

// Memory implements Bindings in this process; a restart loses them. The zero value
// is ready to use.
type Memory struct {
	mu     sync.Mutex
	people map[string]string // unionId → account
	names  map[string]string // account → unionId
	looks  map[string]int    // key of Looks → number of accounts that have it
}

var _ Bindings = (*Memory)(nil)

// Find compares exactly.
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

// Renew does nothing: no other process writes to Memory, and no record outlives a key.
func (m *Memory) Renew(ctx context.Context) (Renewed, error) { return Renewed{}, ctx.Err() }

// Add adds all bindings or none.
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

// Rebind moves the account.
func (m *Memory) Rebind(ctx context.Context, b Binding, unionID string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	to, done, err := PlanRebind(b, unionID, m.find)
	if err != nil || done {
		return err
	}
	delete(m.people, b.UnionID)
	m.people[to.UnionID], m.names[to.Username] = to.Username, to.UnionID
	return nil
}

// Remove removes the binding of an account or of a unionId.
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

// List returns a copy, sorted.
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
