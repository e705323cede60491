package web

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
)

var errHandshake = errors.New("web: malformed WebSocket handshake")

// Upgrade reports whether a request's Upgrade header is a WebSocket handshake. Any
// other upgrade is not: its header must be dropped, since nothing is checked inside
// the tunnel that it would open (threats M6). A WebSocket handshake has exactly one
// `websocket` token, on a GET over HTTP/1.1 without a body, with its key and version
// (RFC 6455 §4.2.1); a malformed one is an error (M7).
func Upgrade(r *http.Request) (websocket bool, err error) {
	if len(r.Header["Upgrade"]) == 0 {
		return false, nil
	}
	if len(r.Header["Upgrade"]) != 1 || !strings.EqualFold(strings.Trim(r.Header["Upgrade"][0], " \t"), "websocket") {
		return false, nil
	}
	key := r.Header["Sec-Websocket-Key"]
	version := r.Header["Sec-Websocket-Version"]
	if r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.ContentLength != 0 ||
		len(r.TransferEncoding) > 0 ||
		!HasToken(r.Header["Connection"], "upgrade") || len(key) != 1 || len(version) != 1 || version[0] != "13" {
		return false, errHandshake
	}
	if raw, err := base64.StdEncoding.DecodeString(key[0]); err != nil || len(raw) != 16 {
		return false, errHandshake
	}
	return true, nil
}
