package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// JSON answers r with v and our security headers; HEAD gets the headers alone. It
// returns an error, and writes nothing, if v cannot be encoded.
func JSON(w http.ResponseWriter, r *http.Request, status int, v any) error {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // it is not HTML, and nosniff is set; a URL stays readable
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("web: writing JSON: %w", err)
	}
	SecurityHeaders(w, "")
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(body.Len())}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body.Bytes()) // an error means that the client has gone
	}
	return nil
}
