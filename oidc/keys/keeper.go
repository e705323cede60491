package keys

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Times of the keys that dinggate makes.
const (
	Life    = 90 * 24 * time.Hour // how long a key signs
	ahead   = 24 * time.Hour      // how long a key is published before it signs, since clients cache the set
	reread  = time.Minute         // maximum age of a replica's copy of the record
	retried = 5 * time.Second     // after a failure

	// RecordLife is the lifetime of a record that is not written.
	RecordLife = 400 * 24 * time.Hour
)

// Record is the content of the store: the keys, newest first of each algorithm.
type Record struct{ Keys []Stored }

// Stored is one key of a Record.
type Stored struct {
	PKCS8 []byte
	Made  time.Time
}

// Keeper returns the current Set. Set the fields, then share the pointer; safe for concurrent use.
type Keeper struct {
	// Fixed is the Set of configured files; if set, no keys are made or stored.
	Fixed *Set

	// Read returns the record and its version; a missing record is no error. Write replaces a
	// record of that version, and reports whether it did.
	Read  func(ctx context.Context) (r Record, version []byte, err error)
	Write func(ctx context.Context, r Record, version []byte) (written bool, err error)

	Retain time.Duration    // how long a key is published after its last signature
	Now    func() time.Time // nil is time.Now

	known atomic.Pointer[known]
	mu    sync.Mutex // held by the goroutine that reads the store
}

type known struct {
	set  *Set
	read time.Time
}

// Set returns the current keys. It reads the store about once a minute; if that fails, the last
// copy stays valid.
func (k *Keeper) Set(ctx context.Context) (*Set, error) {
	if k.Fixed != nil {
		return k.Fixed, nil
	}
	now := k.now()
	if old := k.known.Load(); old != nil && now.Sub(old.read) < reread && now.Sub(old.read) > -reread {
		return old.set, nil
	}
	if old := k.known.Load(); old != nil {
		if !k.mu.TryLock() { // another goroutine is reading: use the last copy
			return old.set, nil
		}
	} else {
		k.mu.Lock()
	}
	defer k.mu.Unlock()
	old := k.known.Load()
	if old != nil && now.Sub(old.read) < reread && now.Sub(old.read) > -reread {
		return old.set, nil
	}
	set, err := k.load(ctx, now)
	switch {
	case err == nil:
		k.known.Store(&known{set, now})
		return set, nil
	case old != nil:
		k.known.Store(&known{old.set, now.Add(retried - reread)})
		return old.set, nil
	}
	return nil, err
}

func (k *Keeper) load(ctx context.Context, now time.Time) (*Set, error) {
	for range 4 {
		record, version, err := k.Read(ctx)
		if err != nil {
			return nil, fmt.Errorf("keys: reading the keys: %w", err)
		}
		next, changed, err := k.renewed(record, now)
		if err != nil {
			return nil, err
		}
		if changed {
			written, err := k.Write(ctx, next, version)
			if err != nil {
				return nil, fmt.Errorf("keys: keeping the keys: %w", err)
			}
			if !written { // another replica was first
				continue
			}
		}
		return next.set(now)
	}
	return nil, errors.New("keys: other replicas write the keys all the time")
}

// renewed adds keys that are due and removes keys that are no longer needed.
func (k *Keeper) renewed(old Record, now time.Time) (next Record, changed bool, err error) {
	for _, algorithm := range Algorithms {
		list, err := old.of(algorithm)
		if err != nil {
			return Record{}, false, err
		}
		if len(list) == 0 || now.Sub(list[0].Made) >= Life {
			made, err := generate(algorithm, now)
			if err != nil {
				return Record{}, false, err
			}
			list, changed = append([]Stored{made}, list...), true
		}
		for i, one := range list {
			// The previous key signs until this one has been published long enough.
			if i > 0 && now.Sub(list[i-1].Made) > ahead+k.Retain {
				changed = true
				break
			}
			next.Keys = append(next.Keys, one)
		}
	}
	return next, changed, nil
}

// of lists the keys of an algorithm.
func (r Record) of(algorithm string) (list []Stored, err error) {
	for _, one := range r.Keys {
		k, err := one.key()
		if err != nil {
			return nil, err
		}
		if k.Algorithm() == algorithm {
			list = append(list, one)
		}
	}
	return list, nil
}

// set puts the signing key first: the newest that has been published long enough, or the newest if
// none has.
func (r Record) set(now time.Time) (*Set, error) {
	var all []Key
	for _, algorithm := range Algorithms {
		list, err := r.of(algorithm)
		if err != nil {
			return nil, err
		}
		first := 0
		if len(list) > 1 && now.Sub(list[0].Made) < ahead {
			first = 1
		}
		for i := range list {
			at := i
			switch {
			case i == 0:
				at = first
			case i <= first:
				at = i - 1
			}
			k, err := list[at].key()
			if err != nil {
				return nil, err
			}
			all = append(all, k)
		}
	}
	return New(all)
}

func (s Stored) key() (Key, error) {
	private, err := x509.ParsePKCS8PrivateKey(s.PKCS8)
	if err != nil {
		return Key{}, fmt.Errorf("keys: a stored key does not read: %w", err)
	}
	return newKey(private)
}

func generate(algorithm string, now time.Time) (Stored, error) {
	var private any
	var err error
	if algorithm == string(jose.ES256) {
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		private, err = rsa.GenerateKey(rand.Reader, minRSA)
	}
	if err != nil {
		return Stored{}, fmt.Errorf("keys: making a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return Stored{}, fmt.Errorf("keys: making a key: %w", err)
	}
	return Stored{PKCS8: der, Made: now.UTC()}, nil
}

func (k *Keeper) now() time.Time {
	if k.Now != nil {
		return k.Now()
	}
	return time.Now()
}
