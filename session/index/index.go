// Package index is the list of the live sessions of all replicas, sealed in a Store.
//
//	sign-in ─► Add ──┐
//	seen ────► Touch ┼─► queue ─► worker ─► shards in the Store ─► All, Of
//	end ─────► Drop ─┘            (later, together)
//
// It shows who is signed in, and decides nothing: a session that is missing here is valid like any
// other, and one that is listed too long grants nothing. It is therefore written in the
// background, after the answer, and a Store that fails only delays it. A list reports what is
// uncertain: see List.
//
// A shard holds the sessions of the people whose keys have one hash. Its record is sealed by the
// keyring and named by the secret that sealed it, so that deployments with different secrets in
// one Store do not overwrite each other's records, and a secret that is being rotated is read
// until it is removed.
package index

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/store"
)

// Entry is one session.
type Entry struct {
	ID       string        // of the session
	User     identity.User // only the person's names, and Local
	SignedIn time.Time
	Seen     time.Time // coarse: the last recorded request to a replica
	Silent   bool

	Fingerprint uint64     // of a local account's password
	Device      string     // browser and system at the sign-in; "" if unknown
	Client      netip.Addr // client address of the sign-in; zero if unknown
	Last        netip.Addr // client address of the last noted request; zero if unknown
}

// List is the content of the index.
type List struct {
	Entries []Entry

	// Missing is the reason why sessions may be missing; nil if the list is complete.
	Missing error
}

// Reasons for which a list may be incomplete.
var (
	ErrUnreadable = errors.New("session index: a part cannot be opened: it was sealed by another secret or a newer " +
		"release, or was changed")
	ErrCut    = errors.New("session index: a person, or a part, has more sessions than it takes")
	ErrBehind = errors.New("session index: changes of this process are not written yet")
)

// Bounds. A shard's record stays below the limit of every store.
const (
	Shards     = 256
	MaxPerson  = 50
	maxPlain   = 60_000
	maxPending = 20_000

	// Coarse is the resolution of Entry.Seen.
	Coarse = 5 * time.Minute

	storeTimeout = time.Second
	swaps        = 16
	readers      = 8 // concurrent reads of the store
	skew         = time.Minute
)

// Index is the list. Make it with New, set the fields, then share the pointer; safe
// for concurrent use.
type Index struct {
	Store    store.Swapper // if nil, the index is disabled, and every method does nothing
	Keyring  *keyring.Keyring
	Realm    string
	Service  bool // an SSO service identifies the people, see identity.KeyOf
	Lifetime time.Duration
	Now      func() time.Time

	// Over reports whether a session is known to have ended; it is called often.
	Over func(e *Entry, now time.Time) bool

	// Start runs f in the background, with the context that Context returns. It returns false if
	// nothing can be started any more; pending changes are then left to the next Index.
	Start   func(f func()) bool
	Context func() context.Context

	once   sync.Once
	spaces []string // one for each secret, in the same order
	failed error

	*pending
}

// New makes an index that takes over the pending changes of old, the index of the
// previous configuration; old may be nil.
func New(old *Index, now time.Time) *Index {
	if old != nil {
		return &Index{pending: old.pending}
	}
	return &Index{pending: &pending{since: now}}
}

// Since is when the first index of the process was made.
func (x *Index) Since() time.Time { return x.since }

func (x *Index) init() error {
	x.once.Do(func() {
		keys, err := x.Keyring.Derive("session index")
		if x.failed = err; err != nil {
			return
		}
		for _, key := range keys {
			sum := sha256.Sum256(append(key, x.Realm...))
			x.spaces = append(x.spaces, base64.RawURLEncoding.EncodeToString(sum[:12]))
		}
		if len(x.spaces) == 0 {
			x.failed = errors.New("session index: there is no secret")
		}
	})
	return x.failed
}

func shardOf(person identity.Key) int {
	sum := sha256.Sum256([]byte(string(person.Kind) + "\x00" + person.Text))
	return int(sum[0])
}

func (x *Index) shard(e *Entry) int { return shardOf(identity.KeyOf(&e.User, x.Service)) }

func shardKey(space string, n int) string { return "index:" + space + ":" + strconv.Itoa(n) }

// All lists all sessions, in no particular order.
func (x *Index) All(ctx context.Context) List {
	if x == nil || x.Store == nil {
		return List{}
	}
	if err := x.init(); err != nil {
		return List{Missing: err}
	}
	jobs := make(chan string)
	found := make([]List, readers)
	var all sync.WaitGroup
	for i := range found {
		all.Go(func() {
			for key := range jobs {
				x.collect(ctx, key, &found[i])
			}
		})
	}
	for _, space := range x.spaces {
		for n := range Shards {
			jobs <- shardKey(space, n)
		}
	}
	close(jobs)
	all.Wait()
	return x.merge(found)
}

// Of lists the sessions of one person.
func (x *Index) Of(ctx context.Context, person identity.Key) List {
	if x == nil || x.Store == nil {
		return List{}
	}
	if err := x.init(); err != nil {
		return List{Missing: err}
	}
	var found List
	for _, space := range x.spaces {
		x.collect(ctx, shardKey(space, shardOf(person)), &found)
	}
	list := x.merge([]List{found})
	own := list.Entries[:0]
	for _, e := range list.Entries {
		if identity.KeyOf(&e.User, x.Service) == person {
			own = append(own, e)
		}
	}
	list.Entries = own
	return list
}

// collect adds the entries of a shard to a list. After a failure of the store the remaining shards
// are not read, since each read would reach its deadline.
func (x *Index) collect(ctx context.Context, key string, to *List) {
	if to.Missing != nil && !errors.Is(to.Missing, ErrUnreadable) && !errors.Is(to.Missing, ErrCut) {
		return
	}
	s, err := x.read(ctx, key)
	if err != nil {
		to.Missing = err
		return
	}
	if to.Missing == nil && x.Now().Sub(s.cut) < x.Lifetime {
		to.Missing = ErrCut
	}
	to.Entries = append(to.Entries, s.entries...)
}

// merge merges lists: a session may be in the shards of two secrets.
func (x *Index) merge(lists []List) List {
	var all List
	if x.behind() {
		all.Missing = ErrBehind
	}
	at, now := map[string]int{}, x.Now()
	for _, l := range lists {
		if l.Missing != nil {
			all.Missing = l.Missing
		}
		for i := range l.Entries {
			e := &l.Entries[i]
			if x.over(e, now) {
				continue
			}
			n, twice := at[e.ID]
			if !twice {
				at[e.ID] = len(all.Entries)
				all.Entries = append(all.Entries, *e)
				continue
			}
			all.Entries[n].join(e)
		}
	}
	return all
}

// join adds to e the details of another entry of the same session.
func (e *Entry) join(other *Entry) {
	if other.Seen.After(e.Seen) {
		e.Seen = other.Seen
		if other.Last.IsValid() {
			e.Last = other.Last
		}
	}
	if !e.Last.IsValid() {
		e.Last = other.Last
	}
	if e.Device == "" {
		e.Device = other.Device
	}
	if !e.Client.IsValid() {
		e.Client = other.Client
	}
}

func (x *Index) over(e *Entry, now time.Time) bool {
	return !now.Before(e.SignedIn.Add(x.Lifetime)) || x.Over != nil && x.Over(e, now)
}

// read returns a shard; a missing one is empty.
func (x *Index) read(ctx context.Context, key string) (shard, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	raw, err := x.Store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return shard{}, nil
	}
	if err != nil {
		return shard{}, fmt.Errorf("session index: reading: %w", err)
	}
	plain, _, err := x.Keyring.OpenRecord(key, raw)
	if err != nil {
		return shard{raw: raw}, ErrUnreadable
	}
	s, err := decode(plain)
	s.raw = raw
	return s, err
}

// Key is the key of a part of the list in the Store.
func (x *Index) Key(n int) string {
	if x.init() != nil {
		return ""
	}
	return shardKey(x.spaces[0], n)
}
