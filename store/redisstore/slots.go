package redisstore

import (
	"strconv"
	"strings"
)

// slotCount is the number of slots of every cluster.
const slotCount = 16384

// slotOf is the slot of a key, as Redis computes it: CRC16 (XMODEM) of its hash
// tag, or of the whole key without one.
func slotOf(key string) int {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slotCount
}

// tagNear finds a hash tag whose slot is at most 64 from slot: always the same tag for the same
// slot.
func tagNear(slot int) string {
	for i := 0; ; i++ {
		tag := strconv.Itoa(i)
		if away := (slotOf(tag) - slot + slotCount) % slotCount; away <= 64 || away >= slotCount-64 {
			return tag
		}
	}
}
