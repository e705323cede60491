package account

import (
	"crypto/sha256"
	"encoding/binary"
)

// proof is what a session of an account is compared with.
type proof struct {
	fingerprint uint64
	first       bool // the file has had this password since it was opened
}

// fingerprint is a number for an account's password as it is set now. Equal
// passwords that were set anew have other ones, since bcrypt's salt is new. It
// gives nothing away: who does not have the salt, 128 random bits, cannot try
// passwords on it, and who has it has the file. It needs no key, so that sessions
// live on when cookie.secrets change. Never 0.
func fingerprint(name string, hash []byte) uint64 {
	sum := sha256.New()
	sum.Write([]byte("dinggate 1 account\x00" + name + "\x00"))
	sum.Write(hash)
	return max(1, binary.BigEndian.Uint64(sum.Sum(nil)))
}

// prove fills in the proofs of accounts that come after others, or at first.
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

// Fingerprint is that of an account's password of now, 0 when there is no such
// account. The nil File has none.
func (f *File) Fingerprint(name string) uint64 {
	if f == nil {
		return 0
	}
	return f.read.Load().proofs[name].fingerprint
}

// Holds reports whether a session is good that was begun with this fingerprint
// (threats T34). 0 is unknown, of a session that an older release made: good as
// long as the account has the password that it had when this process opened the
// file. It is cheap enough for every request; what it says changes with Version.
func (f *File) Holds(name string, fingerprint uint64) bool {
	p, ok := f.read.Load().proofs[name]
	return ok && (fingerprint == p.fingerprint || fingerprint == 0 && p.first)
}
