package web

import (
	"net/http"
	"strings"
	"time"

	"dinggate/internal/headername"
)

// Protected is a set of header names that only we may set: those of headername,
// X-Request-Id and what the configuration adds. Names are compared folded, as
// headername.Fold does.
// Immutable after NewProtected; safe for concurrent use.
type Protected struct{ names map[string]string } // folded name → the one spelling that may pass, or ""

// protectedFamilies are headername.Prefixes, folded.
var protectedFamilies = func() (folded []string) {
	for _, prefix := range headername.Prefixes {
		folded = append(folded, headername.Fold(prefix))
	}
	return folded
}()

// framing are names by which programs find a message's end and its connection's
// fate. They pass as themselves alone: Content_Length is a header like any other
// to us, and the length of the body to an upstream that folds names.
var framing = []string{"Content-Length", "Transfer-Encoding", "Host", "Connection", "Keep-Alive", "Upgrade", "Te",
	"Trailer", "Expect", "Content-Encoding"}

// NewProtected protects the given names beside those that are always ours.
func NewProtected(names ...string) *Protected {
	p := &Protected{names: make(map[string]string)}
	for _, name := range framing {
		p.names[headername.Fold(name)] = name
	}
	for _, list := range [][]string{headername.Names, {"X-Request-Id"}, names} {
		for _, name := range list {
			p.names[headername.Fold(name)] = ""
		}
	}
	return p
}

// Has reports whether name, in canonical form, folds to a protected one.
func (p *Protected) Has(name string) bool {
	var buf [64]byte
	folded := headername.AppendFold(buf[:0], name)
	if spelling, ok := p.names[string(folded)]; ok { // no allocation: the compiler knows this form
		return name != spelling
	}
	for _, family := range protectedFamilies {
		if len(folded) >= len(family) && string(folded[:len(family)]) == family {
			return true
		}
	}
	return false
}

// Drop deletes every header whose name folds to a protected one.
func (p *Protected) Drop(h http.Header) {
	for name := range h {
		if p.Has(name) {
			delete(h, name)
		}
	}
}

// unreadBody is how long an answer of our own waits for a body that was
// announced and that nobody here reads. net/http takes up to 256 KiB of it
// before it answers: without a limit, a body that never comes would hold the
// refusal and the connection for ever (threats D2, V23).
const unreadBody = 300 * time.Millisecond

// SecurityHeaders go on every answer of our own, after whatever it wanted to
// read of the request. csp is the page's policy; "" is the strictest one, which
// allows nothing at all.
func SecurityHeaders(w http.ResponseWriter, csp string) {
	h := plainHeaders(w)
	h["X-Content-Type-Options"] = nosniff
	h["Referrer-Policy"] = noReferrer
	if h["Content-Security-Policy"] = strictest; csp != "" {
		h["Content-Security-Policy"] = []string{csp}
	}
}

// BareHeaders go on an answer without a body to a gateway's question. A program
// reads it, which may copy it whole to a client: what browsers receive about a
// page would be said of the application's page then.
func BareHeaders(w http.ResponseWriter) {
	h := plainHeaders(w)
	delete(h, "Strict-Transport-Security")
}

// plainHeaders are those of every answer of our own.
func plainHeaders(w http.ResponseWriter) http.Header {
	x, h := From(w), w.Header()
	if x.body { // the server sets the deadline anew for the next request
		http.NewResponseController(x).SetReadDeadline(time.Now().Add(unreadBody))
	}
	h["Cache-Control"] = noStore
	if x.ID != "" {
		x.id[0] = x.ID
		h["X-Request-Id"] = x.id[:]
	}
	return h
}

// Shared values of answer headers: one slice for all answers, written by nobody.
var (
	noStore    = []string{"no-store"}
	nosniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	strictest  = []string{"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}
)

// HasToken reports whether a comma-separated header holds token, in any letter case.
func HasToken(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(t, " \t"), token) {
				return true
			}
		}
	}
	return false
}
