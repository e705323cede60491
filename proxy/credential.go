package proxy

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"dinggate/internal/web"
	"dinggate/proxy/access"
	"dinggate/session"
)

// CredentialQuery is an Authorization header and where it came from.
type CredentialQuery struct {
	Client netip.Addr
	Lines  []string // all Authorization headers of the request, at least one

	// Local restricts the lookup to what this process has in memory: the route is
	// public, so that an invented token must not cause a call to a service, nor a
	// request wait for one (threats D12).
	Local bool
}

// Credential is the result of checking an Authorization header. The zero value is one
// that was meant for us, or may have been: it is not forwarded, since a password or a
// token that could not be verified now may be valid (threats T31).
type Credential struct {
	Session *session.Session // nil: no valid credential

	// SignIn is how long ago the user authenticated: with a password, by this very
	// request. The zero value is unknown.
	SignIn access.SignInAge

	Foreign bool // the application's own: it is forwarded with the request
}

// identified is the identity of a request.
type identified struct {
	Credential
	sent bool // the request has an Authorization header that is ours to verify
}

// withheld reports whether the Authorization header is removed before forwarding.
func (i identified) withheld() bool { return i.sent && !i.Foreign }

// identify determines the identity of a request: by its credential, otherwise by its
// cookie. A wrong credential never falls through to another identity.
func (h *Handler) identify(ctx context.Context, q CredentialQuery, host string, header http.Header,
	maxWait time.Duration) (identified, error) {
	if h.Credentials != nil && len(q.Lines) > 0 {
		c, err := h.Credentials(ctx, q)
		if c.Session != nil || err != nil || !c.Foreign {
			return identified{c, true}, err
		}
	}
	var buf [1]string
	place := h.Origins.Place(host)
	texts := session.TextsAt(place, web.AppendCookieValues(buf[:0], header, h.Sessions.At(place).Name()))
	s, err := h.Sessions.Load(ctx, texts, maxWait)
	c := Credential{Session: s, Foreign: true}
	if err == nil {
		s.SeenFrom(q.Client)
		if h.Routes.recent {
			c.SignIn = SignInAge(h.Sessions, s)
		}
	}
	return identified{c, false}, err
}

// SignInAge is the age and kind of the sign-in at one of our pages that created a
// session.
func SignInAge(m *session.Manager, s *session.Session) access.SignInAge {
	return access.SignInAge{Known: true, Silent: s.Silent, Age: m.Time().Sub(s.SignedIn)}
}

// SignedInNow is the SignInAge of a password that was sent with the request.
func SignedInNow() access.SignInAge { return access.SignInAge{Known: true} }

// credentialQuery is the query to Credentials for a request for t.
func (h *Handler) credentialQuery(t access.Target, header http.Header) CredentialQuery {
	q := CredentialQuery{Client: t.Client, Lines: header["Authorization"]}
	if h.Credentials != nil && len(q.Lines) > 0 {
		d := h.Routes.policy.Decide(t, nil)
		q.Local = d.Everybody() || d.Verdict == access.Deny
	}
	return q
}
