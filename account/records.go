package account

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sealer seals the records of a store, so that a program with write access to the
// store can neither forge a record nor move one. keyring.Keyring implements it.
type Sealer interface {
	// SealRecord seals text so that only OpenRecord with the same name opens it.
	SealRecord(name string, plain []byte) ([]byte, error)

	// OpenRecord returns what SealRecord was given. old reports that the record is
	// sealed with a key that will be removed and should be sealed again.
	OpenRecord(name string, box []byte) (plain []byte, old bool, err error)
}

// Errors of records that this program did not write in this form. Such a record
// binds no person and reserves no account name.
var (
	ErrSealed = errors.New(
		"account: a binding does not open under cookie.secrets: another program wrote it, or the secret " +
			"it was sealed with is gone; importing it again replaces it",
	)
	ErrUnsealed = errors.New(
		"account: a binding of an older release is not sealed and counts for nothing until it is imported again",
	)
)

// Records is the stored form of bindings: each binding is two sealed records, one
// found by the person and one by the account, and keys for the look of the account
// name. Places are hashes: a copy of the store reveals no names.
//
//	version   1 byte, now 1
//	unionid   2 bytes of length, then the text
//	username  as the unionid
type Records struct {
	Sealer Sealer
	Scope  string // of the store: a record of another scope does not open here
}

const recordVersion = 1

// PlaceLength is the length of the places below.
const PlaceLength = 22

// PersonPlace is where a person's binding is stored.
func (r Records) PersonPlace(unionID string) string { return place("person", unionID) }

// AccountPlace is where an account's binding is stored.
func (r Records) AccountPlace(username string) string { return place("account", username) }

// LookPlaces are where accounts with names that look like this one are listed.
func (r Records) LookPlaces(username string) (places []string) {
	for _, key := range Looks(username) {
		places = append(places, place("look", key))
	}
	return places
}

func place(kind, text string) string {
	sum := sha256.Sum256([]byte("binding\x00" + kind + "\x00" + text))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:PlaceLength]
}

// Seal seals b for a place.
func (r Records) Seal(place string, b Binding) ([]byte, error) {
	plain := []byte{recordVersion}
	for _, text := range [...]string{b.UnionID, b.Username} {
		plain = append(binary.BigEndian.AppendUint16(plain, uint16(len(text))), text...)
	}
	return r.Sealer.SealRecord(r.name(place), plain)
}

// Open opens the record of a place. The only error is ErrSealed: this deployment
// did not seal the record, or sealed it for another place.
func (r Records) Open(place string, box []byte) (b Binding, old bool, err error) {
	plain, old, err := r.Sealer.OpenRecord(r.name(place), box)
	if err != nil || len(plain) == 0 || plain[0] != recordVersion {
		return Binding{}, false, ErrSealed
	}
	rest := plain[1:]
	for _, to := range [...]*string{&b.UnionID, &b.Username} {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return Binding{}, false, ErrSealed
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		*to, rest = string(rest[2:n]), rest[n:]
	}
	if len(rest) > 0 || place != r.PersonPlace(b.UnionID) && place != r.AccountPlace(b.Username) {
		return Binding{}, false, ErrSealed
	}
	return b, old, nil
}

func (r Records) name(place string) string { return "binding " + r.Scope + " " + place }

// Renewed counts what Bindings.Renew found and did.
type Renewed struct {
	Sealed   int // were sealed with an old key and are sealed with the first one now
	Foreign  int // do not open: ErrSealed
	Unsealed int // of an older release: ErrUnsealed
	Migrated int // of an older release, in a store that only this machine writes: sealed now
}

// String is for the log.
func (r Renewed) String() string {
	return fmt.Sprintf("%d sealed anew, %d do not open, %d not sealed, %d migrated", r.Sealed, r.Foreign, r.Unsealed,
		r.Migrated)
}
