package main

import (
	"crypto/rand"
	"encoding/base64"
)

// newSecret makes a secret for cookie.secrets: 32 random bytes in base64.
func newSecret() string {
	var raw [32]byte
	rand.Read(raw[:]) // never fails: it ends the process first
	return base64.StdEncoding.EncodeToString(raw[:])
}
