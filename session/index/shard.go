package index

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"dinggate/internal/identity"
	"dinggate/internal/wire"
)

// shard is one record:
//
//	version  1 byte, 1
//	cut      time: when sessions were last omitted because the record was full
//	entries  their number, then for each
//	  id           16 bytes
//	  marks        1 byte: 1 silent, 2 a local account
//	  times        signed in, seen
//	  user         unionid, userid, username, name: text each
//	  fingerprint  unsigned varint
//	  device       text
//	  client       text: the bytes of the sign-in's address, or none; with the address of
//	               the last request: the length of the first, the first, the second. A
//	               release that knows one address reads none then
type shard struct {
	entries []Entry
	cut     time.Time
	raw     []byte // as read from the store; nil if there is none
	newer   bool   // a newer release wrote it
}

const (
	version    = 1
	idLength   = 16
	markSilent = 1
	markLocal  = 2

	maxName   = 128
	maxDevice = 64
)

func cutText(s string, most int) string {
	for len(s) > most {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// encode leaves out the least recently seen sessions if the record would be too large.
func (s *shard) encode(now time.Time) ([]byte, error) {
	var parts [][]byte
	size := 0
	slices.SortStableFunc(s.entries, func(a, b Entry) int { return b.Seen.Compare(a.Seen) })
	for i := range s.entries {
		part, err := s.entries[i].append(nil)
		if err != nil {
			return nil, err
		}
		if size += len(part); size > maxPlain {
			s.entries, s.cut = s.entries[:i], now
			break
		}
		parts = append(parts, part)
	}
	b := append(make([]byte, 0, size+32), version)
	b = wire.AppendTime(b, s.cut)
	b = binary.AppendUvarint(b, uint64(len(parts)))
	for _, part := range parts {
		b = append(b, part...)
	}
	return b, nil
}

func (e *Entry) append(b []byte) ([]byte, error) {
	id, err := base64.RawURLEncoding.DecodeString(e.ID)
	if err != nil || len(id) != idLength {
		return nil, fmt.Errorf("session index: an id of %d characters", len(e.ID))
	}
	var marks byte
	if e.Silent {
		marks |= markSilent
	}
	if e.User.Local {
		marks |= markLocal
	}
	b = append(append(b, id...), marks)
	b = wire.AppendTime(wire.AppendTime(b, e.SignedIn), e.Seen)
	u := &e.User
	for _, text := range [...]string{u.UnionID, u.UserID, u.Username, cutText(u.Name, maxName)} {
		b = wire.AppendText(b, text)
	}
	b = binary.AppendUvarint(b, e.Fingerprint)
	b = wire.AppendText(b, cutText(e.Device, maxDevice))
	return wire.AppendText(b, clients(e.Client, e.Last)), nil
}

// clients is the text of two addresses.
func clients(first, last netip.Addr) string {
	one := first.WithZone("").AsSlice()
	if !last.IsValid() {
		return string(one)
	}
	text := append([]byte{byte(len(one))}, one...)
	return string(append(text, last.WithZone("").AsSlice()...))
}

// readClients reads what clients wrote.
func readClients(text string) (first, last netip.Addr) {
	b := []byte(text)
	if first, ok := netip.AddrFromSlice(b); ok || len(b) == 0 {
		return first, last
	}
	n := int(b[0])
	if n > len(b)-1 {
		return first, last
	}
	first, _ = netip.AddrFromSlice(b[1 : 1+n])
	last, _ = netip.AddrFromSlice(b[1+n:])
	return first, last
}

// decode is the inverse of encode.
func decode(plain []byte) (s shard, err error) {
	if len(plain) == 0 || plain[0] != version {
		return shard{newer: true}, ErrUnreadable
	}
	r := wire.Reader{Rest: plain[1:]}
	s.cut = r.Time()
	n := r.Count()
	s.entries = make([]Entry, 0, min(n, len(plain)/idLength))
	for range n {
		if len(r.Rest) < idLength {
			return shard{}, ErrUnreadable
		}
		e := Entry{ID: base64.RawURLEncoding.EncodeToString(r.Rest[:idLength])}
		r.Rest = r.Rest[idLength:]
		marks := r.Byte()
		e.Silent, e.User.Local = marks&markSilent != 0, marks&markLocal != 0
		e.SignedIn, e.Seen = r.Time(), r.Time()
		for _, to := range [...]*string{&e.User.UnionID, &e.User.UserID, &e.User.Username, &e.User.Name} {
			*to = r.Text()
		}
		e.Fingerprint, e.Device = r.Uvarint(), r.Text()
		e.Client, e.Last = readClients(r.Text())
		s.entries = append(s.entries, e)
	}
	if r.Bad || len(r.Rest) > 0 {
		return shard{}, ErrUnreadable
	}
	return s, nil
}

// apply makes the changes; changed reports whether there was anything to do.
func (s *shard) apply(x *Index, ops []op, first bool, now time.Time) (changed bool) {
	for i := range ops {
		o := &ops[i]
		if o.drop != nil {
			n := len(s.entries)
			s.entries = slices.DeleteFunc(s.entries, func(e Entry) bool { return o.drop(&e) })
			changed = changed || len(s.entries) != n
			continue
		}
		at := slices.IndexFunc(s.entries, func(e Entry) bool { return e.ID == o.add.ID })
		switch {
		case !first || x.over(&o.add, now):
		case at < 0:
			s.entries = append(s.entries, o.add)
			s.limit(x, identity.KeyOf(&o.add.User, x.Service), now)
			changed = true
		case o.add.Seen.Sub(s.entries[at].Seen) >= Coarse:
			s.entries[at].join(&o.add)
			changed = true
		}
	}
	if changed {
		s.entries = slices.DeleteFunc(s.entries, func(e Entry) bool { return x.over(&e, now) })
	}
	return changed
}

// limit removes all but the most recently seen sessions of a person.
func (s *shard) limit(x *Index, person identity.Key, now time.Time) {
	var own []int
	for i := range s.entries {
		if identity.KeyOf(&s.entries[i].User, x.Service) == person {
			own = append(own, i)
		}
	}
	if len(own) <= MaxPerson {
		return
	}
	oldest := slices.MinFunc(own, func(a, b int) int {
		return cmp.Or(s.entries[a].Seen.Compare(s.entries[b].Seen), cmp.Compare(a, b))
	})
	s.entries = slices.Delete(s.entries, oldest, oldest+1)
	s.cut = now
}
