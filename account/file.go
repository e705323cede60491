package account

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/ratelimit"
)

// Why a name and a password were not accepted.
var (
	ErrWrong = errors.New("account: unknown name or wrong password") // one and the same for both
	ErrBusy  = errors.New("account: too many tries are being verified")
)

// WaitError says that one client has tried too often.
type WaitError struct{ Wait time.Duration }

func (e *WaitError) Error() string {
	return fmt.Sprintf("account: too many tries; the next in %v", e.Wait.Round(time.Second))
}

// The usual limits. Only tries that fail use an allowance up, so that an office
// behind one address can sign in at nine. The pair of address and account is
// what is slowed down: guesses at zhangsan's password from elsewhere do not
// lock zhangsan out.
var (
	pairLimit   = ratelimit.Rate{Every: 30 * time.Second, Burst: 10}
	clientLimit = ratelimit.Rate{Every: 2 * time.Second, Burst: 60}
)

const (
	lookEvery   = 2 * time.Second
	maxPassword = 1 << 10 // bytes; bcrypt itself reads 72
)

// File is the local accounts, as an htpasswd file has them. Make one with Open;
// safe for concurrent use.
type File struct {
	Path string

	// failed tries per client and account, and per client; zero: 10 at once, then one in 30 s; 60,
	// then one in 2 s
	Pair, Client ratelimit.Rate
	Now          func() time.Time // nil: time.Now

	// Changed is called with the accounts that are gone or have another password
	// since the file changed: sessions begun with the old one are no longer good.
	// If nil, it is not called.
	Changed func(names []string)

	// Limited is called when a limit refuses a try. If nil, it is not called.
	Limited func()

	// OnReadError is called with the reason for which a changed file is not
	// taken: the accounts stay as they were. If nil, it is not called.
	OnReadError func(error)

	read    atomic.Pointer[accounts]
	version atomic.Uint64
	refused atomic.Pointer[refusal]
	hashing ratelimit.Queue // few verify at once: bcrypt is work, and other requests want the processor too
	pairs   ratelimit.Keyed[pair]
	clients ratelimit.Keyed[netip.Prefix]
	history history

	mu    sync.Mutex
	stamp os.FileInfo // of what was read
	seen  os.FileInfo // of the look before
}

type pair struct {
	client netip.Prefix
	name   string
}

// Open reads the file. An error lists every bad line.
func Open(path string) (*File, error) {
	f := &File{
		Path:    path,
		hashing: ratelimit.Queue{Places: max(1, runtime.GOMAXPROCS(0)/2)},
		history: history{good: ratelimit.Recent[pair]{Life: provenFor}},
	}
	stamp, all, err := f.load()
	if err != nil {
		return nil, err
	}
	f.stamp, f.seen = stamp, stamp
	all.prove(nil)
	f.read.Store(all)
	return f, nil
}

func (f *File) load() (os.FileInfo, *accounts, error) {
	stamp, err := os.Stat(f.Path)
	if err != nil {
		return nil, nil, fmt.Errorf("account: reading accounts: %w", err)
	}
	if stamp.Size() > maxFile {
		return stamp, nil, fmt.Errorf("account: reading accounts: %s is larger than 1 MiB", f.Path)
	}
	text, err := os.ReadFile(f.Path)
	if err != nil {
		return stamp, nil, fmt.Errorf("account: reading accounts: %w", err)
	}
	all, found := parseHtpasswd(text)
	if err := mistakes(found); err != nil {
		return stamp, nil, fmt.Errorf("account: reading accounts: %s: %w", f.Path, err)
	}
	return stamp, all, nil
}

// Verify reports whether name has this password. nil is the only yes, with the
// fingerprint of what the password was compared with, which the file may be about
// to lose; the errors are ErrWrong, *WaitError, ErrBusy (also when ctx ends
// first). It works as long for an unknown name as for a known one. Who waits for
// whom is said at history.
func (f *File) Verify(ctx context.Context, client netip.Addr, name, password string) (fingerprint uint64, err error) {
	if name == "" || len(name) > maxUsername || password == "" || len(password) > maxPassword ||
		strings.IndexByte(password, 0) >= 0 {
		return 0, ErrWrong // nobody has such a name or such a password
	}
	now, from := f.now(), ratelimit.Client(client)
	who := pair{from, name}
	perPair, perClient := f.Pair.Or(pairLimit), f.Client.Or(clientLimit)
	class := f.history.class(who, now)
	// The client first: names are anybody's to invent, and one address with 20,000
	// of them would fill the table of pairs. A client that signed in from here before
	// is not limited by the others of the address: it may be a whole office.
	wait, ok := f.clients.Allow(perClient, from, now)
	if !ok && class != proven {
		return 0, f.limited(wait)
	}
	forgive := func() {
		f.pairs.Return(perPair, who)
		if ok {
			f.clients.Return(perClient, from)
		}
	}
	if wait, allowed := f.pairs.Allow(perPair, who, now); !allowed {
		if ok {
			f.clients.Return(perClient, from)
		}
		return 0, f.limited(wait)
	}
	queueing, cancel := context.WithTimeout(ctx, within(class))
	defer cancel()
	leave, err := f.hashing.Enter(queueing, from, class)
	if err != nil {
		forgive()
		return 0, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	defer leave()
	all := f.read.Load()
	if !all.verify(name, password) {
		f.history.failed(who, now)
		f.hashing.Demote(from, f.history.class(who, now))
		return 0, ErrWrong
	}
	forgive()
	f.history.succeeded(who, now)
	return all.proofs[name].fingerprint, nil
}

// Has reports whether there is such an account.
func (f *File) Has(name string) bool {
	_, ok := f.read.Load().hashes[name]
	return ok
}

// Resembles reports whether there is an account whose name can be taken for this
// one (see Looks); it may be the very same.
func (f *File) Resembles(name string) bool {
	looks := f.read.Load().looks()
	return slices.ContainsFunc(Looks(name), func(key string) bool { return looks[key] != "" })
}

// Version changes whenever the accounts do.
func (f *File) Version() uint64 { return f.version.Load() }

// Run looks after the file until ctx ends.
func (f *File) Run(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.Look()
		}
	}
}

// Look reads the file again if it has changed. A change counts when it is the
// same on two looks: half a file is a file with fewer accounts.
func (f *File) Look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	stamp, err := os.Stat(f.Path)
	if err != nil {
		f.readFailed(fmt.Errorf("account: looking at accounts: %w", err))
		return
	}
	settled := same(stamp, f.seen)
	f.seen = stamp
	if !settled {
		return
	}
	if same(stamp, f.stamp) {
		f.refused.Store(nil)
		return
	}
	stamp, all, err := f.load()
	if err != nil {
		f.readFailed(err)
		return
	}
	all.prove(f.read.Load())
	old := f.read.Swap(all)
	f.stamp = stamp
	f.refused.Store(nil)
	f.version.Add(1)
	if gone := old.gone(all); len(gone) > 0 && f.Changed != nil {
		f.Changed(gone)
	}
}

// Gone lists the accounts that next has not, or with another password. Nil is a
// file without any, for both.
func (f *File) Gone(next *File) []string {
	if f == nil {
		return nil
	}
	all := &accounts{}
	if next != nil {
		all = next.read.Load()
	}
	return f.read.Load().gone(all)
}

func (a *accounts) gone(next *accounts) (names []string) {
	for name, hash := range a.hashes {
		if string(next.hashes[name]) != string(hash) {
			names = append(names, name)
		}
	}
	return names
}

// readFailed reports a failure once, not at every look.
func (f *File) readFailed(err error) {
	last := f.refused.Load()
	if last != nil && last.err.Error() == err.Error() {
		return
	}
	if f.refused.Store(&refusal{err, f.now()}); f.OnReadError != nil {
		f.OnReadError(err)
	}
}

type refusal struct {
	err error
	at  time.Time
}

// Refused returns since when, and why, the accounts are not what the file says;
// nil: they are. The nil File has none.
func (f *File) Refused() (at time.Time, err error) {
	if f == nil {
		return time.Time{}, nil
	}
	if r := f.refused.Load(); r != nil {
		return r.at, r.err
	}
	return time.Time{}, nil
}

// same reports whether nothing was written between two looks.
func same(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (f *File) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

// limited is the refusal by a limit.
func (f *File) limited(wait time.Duration) *WaitError {
	if f.Limited != nil {
		f.Limited()
	}
	return &WaitError{wait}
}
