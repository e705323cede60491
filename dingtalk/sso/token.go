package sso

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"time"

	"dinggate/internal/clientauth"
	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
	"dinggate/store/grant"
)

// Token is step 3: a third party exchanges a code or a refresh token for tokens. Its
// backend makes the call, so every response is JSON with the error names of
// RFC 6749.
//
//	POST ─► type ─► size ─► Basic ─► body ─┬─ code ───► client, state, age ─► used once ─► tokens
//	                                       └─ refresh ─► client ─► taken once ──────────► tokens
func (s *Server) Token(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		w.Header()["Allow"] = []string{"POST"}
		return s.refuse(w, r, &refusal{status: http.StatusMethodNotAllowed, code: "invalid_request", text: "POST only"})
	}
	given, no := s.token(w, r)
	if no != nil {
		return s.refuse(w, r, no)
	}
	return web.JSON(w, r, http.StatusOK, given)
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) (tokenAnswer, *refusal) {
	if no := readable(r); no != nil {
		return tokenAnswer{}, no
	}
	app, no := s.client(w, r)
	if no != nil {
		return tokenAnswer{}, no
	}
	q, no := readBody(w, r)
	if no != nil {
		return tokenAnswer{}, no
	}
	if q.ClientID != "" && q.ClientID != app.ClientID {
		return tokenAnswer{}, badRequest("client_id is not that of the Authorization header")
	}
	x := web.From(w)
	switch q.GrantType {
	case "", "authorization_code":
		if q.Code == "" || !q.StateGiven {
			return tokenAnswer{}, badRequest("code and state are required")
		}
		return s.redeem(r.Context(), x, app, q)
	case "refresh_token":
		if q.RefreshToken == "" {
			return tokenAnswer{}, badRequest("refresh_token is required")
		}
		return s.renew(r.Context(), x, app, q.RefreshToken)
	}
	return tokenAnswer{},
		&refusal{
			status: http.StatusBadRequest,
			code:   "unsupported_grant_type",
			text:   "authorization_code or refresh_token",
		}
}

// readable checks the headers of a body (threats T11).
func readable(r *http.Request) *refusal {
	types := r.Header["Content-Type"]
	if len(types) > 1 || len(r.Header["Content-Encoding"]) > 0 {
		return &refusal{
			status: http.StatusUnsupportedMediaType,
			code:   "invalid_request",
			text:   "the body must be plain text, not compressed",
		}
	}
	if len(types) == 1 && types[0] != "" {
		kind, _, err := mime.ParseMediaType(types[0])
		if err != nil || kind != "text/plain" && kind != "application/x-www-form-urlencoded" {
			return &refusal{
				status: http.StatusUnsupportedMediaType,
				code:   "invalid_request",
				text:   "Content-Type must be text/plain or application/x-www-form-urlencoded",
			}
		}
	}
	if r.ContentLength > maxBody {
		return tooLarge()
	}
	return nil
}

// client returns the third party that the Basic header authenticates.
func (s *Server) client(w http.ResponseWriter, r *http.Request) (*App, *refusal) {
	x := web.From(w)
	wrong := &refusal{
		status: http.StatusUnauthorized,
		code:   "invalid_client",
		text:   "the Authorization header is not that of a registered client",
	}
	id, secret, err := parseBasic(r.Header)
	if err != nil {
		return nil, wrong
	}
	name := ""
	if s.apps.byID[id] != nil {
		name = id
	}
	who, now := clientauth.Guesser{Client: name, Network: ratelimit.Client(x.Client)}, s.now()
	if !s.counts().wrong.Wait(r.Context(), who, now) {
		return nil, &refusal{
			status: http.StatusTooManyRequests,
			code:   "temporarily_unavailable",
			text:   "too many wrong secrets from this address",
			retry:  true,
		}
	}
	app := s.apps.known(id, secret)
	if app == nil {
		// of a flood of them, one in a hundred is recorded (threats D9)
		if n := s.counts().wrong.Wrong(who, now); n <= clientauth.Free || n%100 == 0 {
			s.audit(x, Event{What: "wrong_secret", App: name})
		}
		return nil, wrong
	}
	return app, nil
}

// readBody reads at most 8 KiB; the caller has set a deadline of ten seconds.
func readBody(w http.ResponseWriter, r *http.Request) (TokenRequest, *refusal) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if len(body) > maxBody {
		w.Header()["Connection"] = []string{"close"}
		return TokenRequest{}, tooLarge()
	}
	if err != nil {
		w.Header()["Connection"] = []string{"close"}
		if slow, ok := errors.AsType[net.Error](err); ok && slow.Timeout() {
			return TokenRequest{},
				&refusal{
					status: http.StatusRequestTimeout,
					code:   "invalid_request",
					text:   "the body did not come in time",
					err:    err,
				}
		}
		return TokenRequest{}, badRequest("the body cannot be read")
	}
	q, err := ParseTokenRequest(string(body))
	if err != nil {
		return TokenRequest{},
			badRequest("the body must be code=…&state=…, or grant_type=refresh_token&refresh_token=…")
	}
	return q, nil
}

// redeem issues the tokens of a code, once.
//
// Of concurrent uses on any replicas, one gets tokens: the use that adds the family
// and takes the code. Every other use of a code by its own client, at any time, ends
// the tokens that the first one got (threats T8, T9): an attacker uses a stolen
// code at once, so simultaneous uses are no exception. A wrong state uses nothing
// up (T10). Another client's attempt invalidates an unused code and ends no issued
// tokens (T7). An empty state is accepted if the authorize call had none: existing
// scripts send requests this way, and a state that the client did not choose
// protects it from nothing.
func (s *Server) redeem(ctx context.Context, x *web.Exchange, app *App, q TokenRequest) (tokenAnswer, *refusal) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout+recallTimeout)
	defer cancel()
	g, fam, err := s.grants.ByCode(ctx, q.Code)
	switch {
	case errors.Is(err, grant.ErrForeign):
		return tokenAnswer{}, invalidGrant("not a code of this service")
	case errors.Is(err, grant.ErrNone):
		return tokenAnswer{},
			invalidGrant("what the code gave has ended, nobody redeemed it in time, or the key is gone")
	case err != nil:
		return tokenAnswer{}, unavailable(err)
	}
	var what record
	if err := g.Read(&what); err != nil {
		return tokenAnswer{}, unavailable(err)
	}
	switch {
	case what.Client != app.ClientID:
		s.audit(x, Event{What: "code_of_another_client", App: app.ClientID, Owner: what.Client})
		if !g.Live {
			if _, err := s.end(ctx, fam); err != nil {
				return tokenAnswer{}, unavailable(err)
			}
		}
		return tokenAnswer{}, invalidGrant("the code is another client's")
	case g.Live:
		return s.reused(ctx, x, app, fam, "the code was used before")
	case q.State == "" && !what.Made:
		return tokenAnswer{}, badRequest("state is empty, and the authorize call had one")
	case q.State != "" && same(q.State, what.State)|same(q.RawState, what.State) != 1:
		return tokenAnswer{}, invalidGrant("the state is not the one that went with the code")
	}
	p, no := s.recall(ctx, what.Ref)
	if no != nil {
		return tokenAnswer{}, no
	}
	x.User = p.User.Username
	if p.Until.Sub(s.now()) < time.Second {
		return tokenAnswer{}, invalidGrant("the sign-in is over")
	}
	switch err := s.grants.Redeem(ctx, g, record{Client: app.ClientID, Ref: what.Ref}, p.Until); {
	case errors.Is(err, grant.ErrReused):
		return s.reused(ctx, x, app, fam, "the code was redeemed at the same moment")
	case errors.Is(err, grant.ErrNone):
		return tokenAnswer{}, invalidGrant("the code has ended meanwhile")
	case err != nil:
		return tokenAnswer{}, unavailable(err)
	}
	if err := s.audit(x, Event{What: "token", App: app.ClientID, User: p.User.Username}); err != nil {
		return tokenAnswer{}, unavailable(err)
	}
	s.issued(ctx, g, p, app.ClientID)
	return s.give(g)
}

// give issues the tokens of an active family.
func (s *Server) give(g *grant.Grant) (tokenAnswer, *refusal) {
	now := s.now()
	life := min(accessLife, g.Expires.Sub(now)).Truncate(time.Second)
	if life < time.Second {
		return tokenAnswer{}, invalidGrant("the sign-in is over")
	}
	n := int64(life / time.Second)
	return tokenAnswer{
		AccessToken:  s.grants.Access(g.Family, grant.Terms{Expires: now.Add(life)}),
		ExpiryIn:     n,
		ExpiresIn:    n,
		RefreshToken: s.grants.Refresh(g),
		TokenType:    "Bearer",
	}, nil
}

// reused ends a family: its own client reused a code or a refresh token, so another
// program has it. Another client's attempt is refused and recorded and ends
// nothing: codes occur in URLs that people paste and logs store, and otherwise any
// client could sign people out of all others (T7).
func (s *Server) reused(ctx context.Context, x *web.Exchange, app *App, fam grant.Family,
	why string) (tokenAnswer, *refusal) {
	ended, err := s.end(ctx, fam)
	if err != nil {
		return tokenAnswer{}, unavailable(err)
	}
	if ended {
		s.audit(x, Event{What: "code_reused", App: app.ClientID})
	}
	return tokenAnswer{}, invalidGrant(why)
}

// end revokes a family and all its tokens. It returns false if there was none.
func (s *Server) end(ctx context.Context, fam grant.Family) (bool, error) {
	defer s.ended.Add(1)
	g, err := s.grants.End(ctx, fam)
	return g != nil, err
}

// recall looks up the sign-in of a code or a family.
func (s *Server) recall(ctx context.Context, ref string) (Person, *refusal) {
	p, err := s.Recall(ctx, ref)
	switch {
	case errors.Is(err, ErrNobody):
		return Person{}, invalidGrant("the sign-in is over")
	case err != nil:
		return Person{}, unavailable(err)
	}
	return p, nil
}

// renew exchanges a refresh token for new tokens, once. A second use ends the family
// (threats T20, CVE-2026-9097). Another client's attempt issues nothing and ends
// nothing.
func (s *Server) renew(ctx context.Context, x *web.Exchange, app *App, refresh string) (tokenAnswer, *refusal) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout+recallTimeout)
	defer cancel()
	g, generation, err := s.grants.ByRefresh(ctx, refresh)
	switch {
	case errors.Is(err, grant.ErrForeign):
		return tokenAnswer{}, invalidGrant("not a refresh token of this service")
	case errors.Is(err, grant.ErrNone):
		return tokenAnswer{}, invalidGrant("taken back, or over")
	case err != nil:
		return tokenAnswer{}, unavailable(err)
	}
	p, client, no := s.member(ctx, g)
	if no != nil {
		return tokenAnswer{}, no
	}
	if client != app.ClientID {
		s.audit(x, Event{What: "refresh_of_another_client", App: app.ClientID, Owner: client})
		return tokenAnswer{}, invalidGrant("the refresh token is another client's")
	}
	x.User = p.User.Username
	switch _, err := s.grants.Rotate(ctx, g, generation); {
	case errors.Is(err, grant.ErrReused):
		if _, err := s.end(ctx, g.Family); err != nil {
			return tokenAnswer{}, unavailable(err)
		}
		s.audit(x, Event{What: "refresh_reused", App: app.ClientID, User: p.User.Username})
		return tokenAnswer{}, invalidGrant("the refresh token was used before")
	case errors.Is(err, grant.ErrNone):
		return tokenAnswer{}, invalidGrant("taken back meanwhile")
	case err != nil:
		return tokenAnswer{}, unavailable(err)
	}
	if err := s.audit(x, Event{What: "refresh", App: app.ClientID, User: p.User.Username}); err != nil {
		return tokenAnswer{}, unavailable(err)
	}
	return s.give(g)
}

// member returns the person of an active family and the client that it belongs to. A
// family whose sign-in has ended is removed.
func (s *Server) member(ctx context.Context, g *grant.Grant) (Person, string, *refusal) {
	var what record
	if err := g.Read(&what); err != nil {
		return Person{}, "", invalidGrant("the record does not read")
	}
	p, no := s.recall(ctx, what.Ref)
	if no != nil && !no.retry {
		if _, err := s.end(ctx, g.Family); err != nil {
			return Person{}, "", unavailable(err)
		}
	}
	return p, what.Client, no
}

// challenges maps an error to the WWW-Authenticate of a 401.
var challenges = map[string]string{
	"invalid_client": `Basic realm="dinggate", charset="UTF-8"`,
	"invalid_token":  `Bearer realm="dinggate", error="invalid_token"`,
}
