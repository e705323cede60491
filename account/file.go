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

// Errors of File.Verify.
var (
	ErrWrong = errors.New("account: unknown name or wrong password") // the same for both
	ErrBusy  = errors.New("account: too many tries are being verified")
)

// WaitError reports that a client made too many attempts.
type WaitError struct{ Wait time.Duration }

func (e *WaitError) Error() string {
	return fmt.Sprintf("account: too many tries; the next in %v", e.Wait.Round(time.Second))
}

// The default limits. Only failed attempts count, so that an office behind one
// address can sign in at nine. The limit applies to the pair of address and
// account: guesses at zhangsan's password from another address do not lock
// zhangsan out.
var (
	pairLimit   = ratelimit.Rate{Every: 30 * time.Second, Burst: 10}
	clientLimit = ratelimit.Rate{Every: 2 * time.Second, Burst: 60}
)

const (
	lookEvery   = 2 * time.Second
	maxPassword = 1 << 10 // bytes; bcrypt itself uses the first 72
)

// File holds the local accounts of an htpasswd file. Create one with Open and set the
// fields before the first call of a method; then it is safe for concurrent use.
type File struct {
	Path string

	Pair ratelimit.Rate   // failed attempts per client and account; zero: 10 at once, then one in 30 s
	Now  func() time.Time // nil: time.Now

	// Changed is called with the accounts that were removed or whose password changed
	// in the file: sessions that began with the old password are no longer valid.
	// If nil, it is not called.
	Changed func(names []string)

	// Limited is called when a limit refuses an attempt. If nil, it is not called.
	Limited func()

	// OnReadError is called with the reason why a changed file was rejected; the
	// accounts stay as they were. If nil, it is not called.
	OnReadError func(error)

	read    atomic.Pointer[accounts]
	version atomic.Uint64
	rate    atomic.Pointer[ratelimit.Rate] // of LimitClients; nil: never called
	refused atomic.Pointer[refusal]
	hashing ratelimit.Queue // bounds concurrent verifications: bcrypt is expensive, and other requests need the CPU too
	pairs   ratelimit.Keyed[pair]
	clients ratelimit.Keyed[netip.Prefix]
	history history

	mu    sync.Mutex
	stamp os.FileInfo // of the content that was parsed
	seen  os.FileInfo // at the previous look
}

type pair struct {
	client netip.Prefix
	name   string
}

// Open reads the file, of at most 1 MiB. An error lists every bad line.
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

// Verify checks a name and a password. Only a nil error means that they match; the
// fingerprint is then that of the password that was compared, which may be removed
// from the file at any time. The errors are ErrWrong, *WaitError and ErrBusy (also
// if ctx ends first). An unknown name takes as long as a known one. The order of
// waiting calls is described at history.
func (f *File) Verify(ctx context.Context, client netip.Addr, name, password string) (fingerprint uint64, err error) {
	if name == "" || len(name) > maxUsername || password == "" || len(password) > maxPassword ||
		strings.IndexByte(password, 0) >= 0 {
		return 0, ErrWrong // no account has such a name or such a password
	}
	now, from := f.now(), ratelimit.Client(client)
	who := pair{from, name}
	perPair, perClient := f.Pair.Or(pairLimit), f.clientRate()
	class := f.history.class(who, now)
	// The client's limit comes first: anyone can invent names, and one address with
	// 20,000 of them would fill the table of pairs. A client that signed in from this
	// address before is not limited by others behind it, which may be a whole office.
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

// LimitClients sets how many failed attempts one client may make, for all accounts together. The
// zero Rate is the default: 60 at once, then one in 2 s. It may be called again at any time;
// attempts made before count.
func (f *File) LimitClients(r ratelimit.Rate) { f.rate.Store(&r) }

func (f *File) clientRate() ratelimit.Rate {
	if r := f.rate.Load(); r != nil {
		return r.Or(clientLimit)
	}
	return clientLimit
}

// Has reports whether the account exists.
func (f *File) Has(name string) bool {
	_, ok := f.read.Load().hashes[name]
	return ok
}

// Resembles reports whether there is an account whose name can be mistaken for this
// one (see Looks). The account with exactly this name counts too.
func (f *File) Resembles(name string) bool {
	looks := f.read.Load().looks()
	return slices.ContainsFunc(Looks(name), func(key string) bool { return looks[key] != "" })
}

// Version changes whenever the accounts change.
func (f *File) Version() uint64 { return f.version.Load() }

// Run calls Look every two seconds until ctx ends.
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

// Look reads the file again if it has changed. A change is accepted when two looks
// see the same state: a file that is half written has fewer accounts.
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

// Gone lists the accounts that next lacks or has with another password. A nil File
// has no accounts.
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

// Refused returns since when and why the accounts differ from the file, or nil if
// they do not. The nil File has none.
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

// limited returns the refusal by a limit.
func (f *File) limited(wait time.Duration) *WaitError {
	if f.Limited != nil {
		f.Limited()
	}
	return &WaitError{wait}
}
