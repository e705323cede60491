package account

import (
	"crypto/sha256"
	"encoding/binary"
)

// proof is what the session of an account is compared with.
type proof struct {
	fingerprint uint64
	first       bool // the file has had this password since it was opened
}

// fingerprint identifies an account's current password. A password that is set
// again gets another fingerprint, because bcrypt's salt is new. It reveals
// nothing: without the salt, 128 random bits, an attacker cannot test passwords
// against it, and an attacker who has the salt has the file. It needs no key, so
// that sessions survive a change of cookie.secrets. It is never 0.
func fingerprint(name string, hash []byte) uint64 {
	sum := sha256.New()
	sum.Write([]byte("dinggate 1 account\x00" + name + "\x00"))
	sum.Write(hash)
	return max(1, binary.BigEndian.Uint64(sum.Sum(nil)))
}

// prove computes the proofs of accounts that replace prev's, or of the first ones.
func (a *accounts) prove(before *accounts) {
	a.proofs = make(map[string]proof, len(a.hashes))
	for name, hash := range a.hashes {
		p := proof{fingerprint(name, hash), true}
		if before != nil {
			old := before.proofs[name]
			p.first = old.first && old.fingerprint == p.fingerprint
		}
		a.proofs[name] = p
	}
}

// Fingerprint returns the fingerprint of an account's current password, 0 if there
// is no such account. The nil File has none.
func (f *File) Fingerprint(name string) uint64 {
	if f == nil {
		return 0
	}
	return f.read.Load().proofs[name].fingerprint
}

// Holds reports whether a session that began with this fingerprint is still valid
// (threats T34). 0 means unknown, from a session of an older release: it is valid
// while the account has the password that it had when this process opened the
// file. It is cheap enough for every request; its result changes only with Version.
func (f *File) Holds(name string, fingerprint uint64) bool {
	p, ok := f.read.Load().proofs[name]
	return ok && (fingerprint == p.fingerprint || fingerprint == 0 && p.first)
}
