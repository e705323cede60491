package oidc

import "encoding/base64"

// encodeField encodes a sealed value for a hidden field of a form.
func encodeField(box []byte) string { return base64.RawURLEncoding.EncodeToString(box) }

func decodeField(text string) ([]byte, bool) {
	box, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return box, err == nil
}
