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

// framing are names by which programs determine a message's end and whether its
// connection persists. Only the exact spelling is forwarded: Content_Length is an
// ordinary header to us, but the length of the body to an upstream that folds names.
var framing = []string{"Content-Length", "Transfer-Encoding", "Host", "Connection", "Keep-Alive", "Upgrade", "Te",
	"Trailer", "Expect", "Content-Encoding"}

// NewProtected protects the given names in addition to those that are always ours.
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

// unreadBody is how long an answer of our own waits for a request body that no handler
// reads. net/http reads up to 256 KiB of it before it answers: without a limit, a body
// that never arrives would block the answer and the connection (threats D2,
// V23).
const unreadBody = 300 * time.Millisecond

// SecurityHeaders sets the headers of every answer of our own; call it after the body
// of the request has been read. csp is the page's policy; "" is the strictest one,
// which allows nothing at all.
func SecurityHeaders(w http.ResponseWriter, csp string) {
	h := plainHeaders(w)
	h["X-Content-Type-Options"] = nosniff
	h["Referrer-Policy"] = noReferrer
	if h["Content-Security-Policy"] = strictest; csp != "" {
		h["Content-Security-Policy"] = []string{csp}
	}
}

// BareHeaders sets the headers of an answer without a body to an authorization
// subrequest. A gateway may copy them all to the client: a page's headers, such as the
// CSP, would then apply to the application's page.
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

// Shared values of answer headers: one slice for all answers, never written to.
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
