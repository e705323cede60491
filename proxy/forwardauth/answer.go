package forwardauth

import (
	"net/http"
	"slices"
	"strings"

	"dinggate/internal/web"
	"dinggate/proxy"
)

// maxAnswer bounds the headers of a 200 together: nginx reads them into one page of 4 KB and
// answers 502 if they are longer. A renewed cookie that does not fit is left for a later answer.
const maxAnswer = 3500

// assertionHeader carries the signed identity assertion.
const assertionHeader = "X-Dinggate-Assertion"

// unknown is the value of a header without a value; read-only.
var unknown = []string{""}

// allow answers 200 without a body. A script on any of our pages can request these endpoints and
// read the answer with the cookie of the person who views the page. Headers that prove this person
// to another application are therefore sent to trusted peers only (threats W14). A withheld header
// is sent empty, like every header whose value is unknown.
func (h *Handler) allow(q OriginalRequest, x *web.Exchange, r *http.Request, d *proxy.Decision) {
	header := x.Header()
	web.BareHeaders(x)
	size := 0
	add := func(name string, value []string) {
		header[name] = value
		size += len(name) + len(value[0]) + 4
	}
	for _, one := range d.Headers {
		if !x.Trusted && slices.Contains(h.Proofs, one.Name) {
			add(one.Name, unknown)
			continue
		}
		add(one.Name, one.Value)
	}
	if d.Assertion != nil && x.Trusted {
		add(assertionHeader, d.Assertion)
	}
	if d.Cookie != nil && web.IsPageLoad(q.method(r), r.Header) {
		if text := d.Cookie.String(); size+len(text) < maxAnswer {
			header["Set-Cookie"] = []string{text}
		}
	}
	x.WriteHeader(http.StatusOK)
}

// wrongCredential answers an API client, which cannot sign in as a browser does, with 401 and the
// scheme to retry with (RFC 9110 §15.5.2).
func (d Dialect) wrongCredential(x *web.Exchange, r *http.Request) error {
	scheme, _, _ := strings.Cut(strings.TrimLeft(r.Header.Get("Authorization"), " \t"), " ")
	switch h := x.Header(); strings.ToLower(scheme) {
	case "basic":
		h["Www-Authenticate"] = basicChallenge
	case "bearer":
		h["Www-Authenticate"] = bearerChallenge
	}
	web.AsJSON(r)
	x.Header()["X-Dinggate-Reason"] = []string{"invalid_credentials"}
	return &web.Error{Status: http.StatusUnauthorized, Code: "invalid_credentials"}
}

// Shared values of WWW-Authenticate, read-only (RFC 7617, RFC 6750 §3).
var (
	basicChallenge  = []string{`Basic realm="dinggate", charset="UTF-8"`}
	bearerChallenge = []string{`Bearer realm="dinggate", error="invalid_token"`}
)
