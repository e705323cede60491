package mirror

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"dinggate/internal/identity"
)

// edition is one reading of the directory. It does not change once it is in use.
type edition struct {
	read   time.Time // when the reading began
	salt   [16]byte  // so that digests of two readings cannot be compared
	people map[uint64][16]byte
}

func newEdition(began time.Time) (*edition, error) {
	e := &edition{read: began, people: map[uint64][16]byte{}}
	_, err := rand.Read(e.salt[:])
	return e, err
}

func (e *edition) add(u *identity.User) {
	id, digest := e.digests(u)
	e.people[id] = digest
}

func (e *edition) says(u *identity.User) Answer {
	id, digest := e.digests(u)
	switch known, there := e.people[id]; {
	case !there:
		return Absent
	case known != digest:
		return Differs
	}
	return Confirmed
}

// digests returns a digest of the unionid, and one of all data that a session holds of
// the person. The order of departments and roles is ignored: it may differ between
// lists and lookups.
func (e *edition) digests(u *identity.User) (id uint64, digest [16]byte) {
	b := append(make([]byte, 0, 512), e.salt[:]...)
	b = appendText(b, u.UnionID)
	sum := sha256.Sum256(b)
	id = binary.BigEndian.Uint64(sum[:])
	for _, text := range []string{u.UserID, u.Username, u.Name, u.Email, u.JobNumber} {
		b = appendText(b, text)
	}
	for _, list := range [][]int64{u.Departments, u.Ancestors} {
		list = slices.Clone(list)
		slices.Sort(list)
		list = slices.Compact(list)
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, n := range list {
			b = binary.AppendVarint(b, n)
		}
	}
	roles := slices.Clone(u.Roles)
	slices.SortFunc(roles, func(a, b identity.Role) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name, b.Name))
	})
	for _, r := range slices.Compact(roles) {
		b = appendText(binary.AppendVarint(b, r.ID), r.Name)
	}
	sum = sha256.Sum256(b)
	return id, [16]byte(sum[:16])
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}
