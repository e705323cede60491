package mirror

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"time"
)

// What replicas share, each record sealed under its own key:
//
//	directory:<head>      {"v":1,"read":…,"salt":…,"id":…,"people":…}, written last
//	directory:<id> <n>    people 4096·n and on, 24 bytes each: digest of the unionid, digest of the rest
const (
	headVersion  = 1
	partPeople   = 4096
	entryLength  = 24
	shareTimeout = 2 * time.Second // for each record
)

type head struct {
	Version int    `json:"v"`
	Read    int64  `json:"read"` // Unix milliseconds
	Salt    []byte `json:"salt"`
	ID      string `json:"id"`
	People  int    `json:"people"`
}

// key includes the name of the directory: two organisations may share one store.
func (m *Mirror) key(part string) string {
	sum := sha256.Sum256([]byte(part + "\x00" + m.Name))
	return "directory:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// share writes e for the other replicas. If that fails, they look people up, and read
// the directory themselves when their reading is due.
func (m *Mirror) share(ctx context.Context, e *edition) {
	if m.Store == nil {
		return
	}
	h := head{Version: headVersion, Read: e.read.UnixMilli(), Salt: e.salt[:], ID: rand.Text(), People: len(e.people)}
	part, n := make([]byte, 0, partPeople*entryLength), 0
	for id, digest := range e.people {
		part = append(binary.BigEndian.AppendUint64(part, id), digest[:]...)
		if len(part) == cap(part) {
			if !m.put(ctx, h.ID+" "+strconv.Itoa(n), part) {
				return
			}
			part, n = part[:0], n+1
		}
	}
	if len(part) > 0 && !m.put(ctx, h.ID+" "+strconv.Itoa(n), part) {
		return
	}
	if text, err := json.Marshal(h); err == nil {
		m.put(ctx, "head", text)
	}
}

func (m *Mirror) put(ctx context.Context, part string, plain []byte) bool {
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	key := m.key(part)
	box, err := m.Keyring.SealRecord(key, plain)
	return err == nil && m.Store.Put(ctx, key, box, m.Life) == nil
}

// get returns nil for a record that is absent, or that we cannot open.
func (m *Mirror) get(ctx context.Context, part string) []byte {
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	key := m.key(part)
	box, err := m.Store.Get(ctx, key)
	if err != nil {
		return nil
	}
	plain, _, err := m.Keyring.OpenRecord(key, box)
	if err != nil {
		return nil
	}
	return plain
}

// fetch takes over another replica's reading, if it is newer than ours.
func (m *Mirror) fetch(ctx context.Context) (newer bool) {
	if m.Store == nil {
		return false
	}
	var h head
	text := m.get(ctx, "head")
	if text == nil || json.Unmarshal(text, &h) != nil || h.Version != headVersion {
		return false
	}
	read, now := time.UnixMilli(h.Read), m.now()
	ours := m.current.Load()
	if ours != nil && !read.After(ours.read) || read.Sub(now) > skew || now.Sub(read) > m.Life ||
		h.People < 0 || h.People > maxPeople || len(h.Salt) != 16 {
		return false
	}
	e := &edition{read: read, salt: [16]byte(h.Salt), people: make(map[uint64][16]byte, h.People)}
	for n := 0; n*partPeople < h.People; n++ {
		part := m.get(ctx, h.ID+" "+strconv.Itoa(n))
		if len(part) == 0 || len(part)%entryLength != 0 || len(part) > partPeople*entryLength {
			return false
		}
		for ; len(part) > 0; part = part[entryLength:] {
			e.people[binary.BigEndian.Uint64(part)] = [16]byte(part[8:entryLength])
		}
	}
	if len(e.people) != h.People {
		return false
	}
	m.current.Store(e)
	return true
}
