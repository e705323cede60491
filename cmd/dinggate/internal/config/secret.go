package config

import (
	"crypto/rand"
	"encoding/base64"
)

// NewSecret generates a secret for cookie.secrets: 32 random bytes in base64.
func NewSecret() string {
	var raw [32]byte
	rand.Read(raw[:]) // never fails: it ends the process instead
	return base64.StdEncoding.EncodeToString(raw[:])
}
