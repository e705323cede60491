package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"reflect"
	"time"

	"dinggate/internal/web"
	"dinggate/proxy/access"
	"dinggate/session"
)

// CredentialQuery is an Authorization header and where it came from.
type CredentialQuery struct {
	Client netip.Addr
	Lines  []string // all Authorization headers of the request, at least one

	// Local asks for what this process knows by itself: the route lets everybody
	// in, so that an invented token must not have a service asked, nor a
	// request wait for one (threats D12).
	Local bool
}

// Credential is what an Authorization header turned out to be. The zero value is
// one that was meant for us, or may have been: it does not travel on, since a
// password or a token that could not be judged now may be right (threats T31).
type Credential struct {
	Session *session.Session // nil: nobody

	// SignIn is how long ago the person behind the credential proved who they are: a
	// password did with this very request. The zero value is unknown.
	SignIn access.SignInAge

	Foreign bool // the application's own: it travels on wherever the request does
}

// identified is who a request comes from.
type identified struct {
	Credential
	sent bool // an Authorization header that is ours to judge came along
}

// withheld reports whether the Authorization header stays here.
func (i identified) withheld() bool { return i.sent && !i.Foreign }

// identify finds the person behind a request: by its credential, otherwise by
// its cookie. A wrong credential never falls through to another identity.
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
		c.SignIn = SignInAge(h.Sessions, s)
	}
	return identified{c, false}, err
}

// SignInAge is how a session began that a sign-in at one of our pages created.
func SignInAge(m *session.Manager, s *session.Session) access.SignInAge {
	return access.SignInAge{Known: true, Silent: s.Silent, Age: m.Time().Sub(s.SignedIn)}
}

// SignedInNow is that of a password which came with the request.
func SignedInNow() access.SignInAge { return access.SignInAge{Known: true} }

// credentialQuery is what Credentials is asked about a request for t.
func (h *Handler) credentialQuery(t access.Target, header http.Header) CredentialQuery {
	q := CredentialQuery{Client: t.Client, Lines: header["Authorization"]}
	if h.Credentials != nil && len(q.Lines) > 0 {
		d := h.Routes.policy.Decide(t, nil)
		q.Local = d.Everybody() || d.Verdict == access.Deny
	}
	return q
}

// An open stream's credential is judged again this often: it outlives neither its
// revocation nor the membership behind it, as a cookie's session does not
// (threats W2). What is fresh costs a look into memory.
const (
	credentialRecheckEvery   = time.Second
	credentialRecheckTimeout = 3 * time.Second
)

var (
	errCredentialEnded = errors.New("proxy: the credential that an open stream came with opens nothing any more")
	errPersonChanged   = errors.New("proxy: what is known of the person behind an open stream changed")
)

// recheckCredential returns why a stream that a credential opened has to end; nil: it goes on.
// A store that is ill, or a client that has tried too often meanwhile, ends
// nothing.
func (h *Handler) recheckCredential(p *proxiedRequest) *web.Error {
	ctx, cancel := context.WithTimeout(p.Context, credentialRecheckTimeout)
	defer cancel()
	var c Credential
	err := session.ErrNone // api_tokens is off now
	if h.Credentials != nil {
		c, err = h.Credentials(ctx, *p.credential)
	}
	switch {
	case p.Context.Err() != nil:
		return nil
	case c.Session != nil && !reflect.DeepEqual(c.Session.User, p.session.User):
		return &web.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Err: errPersonChanged}
	case err == nil && c.Session == nil, session.Absent(err):
		return &web.Error{Status: http.StatusUnauthorized, Code: "invalid_credentials", Err: errCredentialEnded}
	case errors.Is(err, session.ErrUnconfirmed):
		return &web.Error{Status: http.StatusUnauthorized, Code: "unconfirmed", Err: err}
	}
	return nil
}
