// Package wire writes and reads the fields of our binary records.
//
//	text    its length as an unsigned varint, then its bytes
//	time    unsigned varint, Unix milliseconds, 0 = none
//	ids     their number as an unsigned varint, then signed varints
//
// Varints are minimal: a record has one encoding.
package wire

import (
	"encoding/binary"
	"time"
)

// AppendText writes a text.
func AppendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendTime writes a time; one before 1970 is none.
func AppendTime(b []byte, t time.Time) []byte {
	return binary.AppendUvarint(b, uint64(max(0, t.UnixMilli())))
}

// AppendIDs writes a list of ids.
func AppendIDs(b []byte, ids []int64) []byte {
	b = binary.AppendUvarint(b, uint64(len(ids)))
	for _, id := range ids {
		b = binary.AppendVarint(b, id)
	}
	return b
}

// Reader reads a record; after the first error everything is zero and Bad stays true.
type Reader struct {
	Rest []byte
	Bad  bool
}

// Uvarint reads an unsigned varint that is minimal.
func (r *Reader) Uvarint() uint64 {
	v, n := binary.Uvarint(r.Rest)
	if n <= 0 || n > 1 && r.Rest[n-1] == 0 { // truncated, too large, or longer than necessary
		r.Bad, r.Rest = true, nil
		return 0
	}
	r.Rest = r.Rest[n:]
	return v
}

// Varint reads a signed varint, as binary.Varint does.
func (r *Reader) Varint() int64 {
	v := r.Uvarint()
	if v&1 != 0 {
		return ^int64(v >> 1)
	}
	return int64(v >> 1)
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if len(r.Rest) == 0 {
		r.Bad = true
		return 0
	}
	b := r.Rest[0]
	r.Rest = r.Rest[1:]
	return b
}

// Count reads a length: no element is shorter than a byte, so that a false length never allocates
// more than the size of the payload.
func (r *Reader) Count() int {
	n := r.Uvarint()
	if n > uint64(len(r.Rest)) {
		r.Bad, r.Rest = true, nil
		return 0
	}
	return int(n)
}

// Text reads a text.
func (r *Reader) Text() string {
	n := r.Count()
	s := string(r.Rest[:n])
	r.Rest = r.Rest[n:]
	return s
}

// Time reads milliseconds up to the year 9999.
func (r *Reader) Time() time.Time {
	ms := r.Uvarint()
	if ms > 253402300799999 {
		r.Bad, r.Rest = true, nil
	}
	if ms == 0 || r.Bad {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC()
}

// IDs reads a list of ids.
func (r *Reader) IDs() []int64 {
	n := r.Count()
	if n == 0 {
		return nil
	}
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = r.Varint()
	}
	return ids
}
