package web

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
)

// requestID accepts the id of a trusted peer if it consists of [A-Za-z0-9._-]{1,64};
// otherwise, it generates one, since a client's id could forge log lines (threats L4).
func requestID(r *http.Request, trusted bool) string {
	if trusted {
		if ids := r.Header["X-Request-Id"]; len(ids) == 1 && plainID(ids[0]) {
			return ids[0]
		}
	}
	var raw [12]byte
	rand.Read(raw[:]) // never fails: crypto/rand would end the process
	var text [24]byte
	hex.Encode(text[:], raw[:])
	return string(text[:])
}

func plainID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
