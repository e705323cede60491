package sso

import (
	"context"
	"errors"
	"net/http"
	"time"

	"dinggate/internal/web"
	"dinggate/store/grant"
)

// Userinfo is step 4: it returns the owner of an access token. Every invalid token
// gets the same answer (threats T16, T17). Sign-outs and leavers take effect within
// session.recheck. While DingTalk is unavailable, the last known data is used
// during the grace period; after that the answer is 503, not 401 (T21).
func (s *Server) Userinfo(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header()["Allow"] = []string{"GET, HEAD"}
		return s.refuse(w, r, &refusal{status: http.StatusMethodNotAllowed, code: "invalid_request", text: "GET only"})
	}
	text, ok := bearer(r.Header)
	if !ok {
		return s.refuse(w, r, invalidToken(grant.ErrForeign))
	}
	p, client, _, err := s.Identify(r.Context(), text)
	switch {
	case errors.Is(err, ErrNobody):
		return s.refuse(w, r, invalidToken(err))
	case err != nil:
		return s.refuse(w, r, unavailable(err))
	}
	u := &p.User
	web.From(w).User = u.Username
	return web.JSON(w, r,
		http.StatusOK, userAnswer{
			Username:    u.Username,
			Email:       u.Email,
			UserID:      u.UserID,
			UnionID:     u.UnionID,
			Name:        u.Name,
			Departments: append([]int64{}, u.Departments...),
			Roles:       u.RoleNames(),
			Audience:    client,
		})
}

func invalidToken(err error) *refusal {
	return &refusal{
		status: http.StatusUnauthorized,
		code:   "invalid_token",
		text:   "the access token is unknown, expired or taken back",
		err:    err,
	}
}

// Made reports whether text is a token or a code that this service issued, whether
// or not it is still valid. It makes no lookup.
func (s *Server) Made(text string) bool {
	s.ready()
	return s.grants.Made(text)
}

// Ended changes whenever this process revokes tokens, which invalidates cached
// results of Identify.
func (s *Server) Ended() uint64 { return s.ended.Load() }

// Identify returns the owner of an access token, the client that it was issued to,
// and its expiry. ErrNobody means that the token is not valid; any other error means
// that this is unknown.
func (s *Server) Identify(ctx context.Context,
	accessToken string) (p Person, client string, expires time.Time, err error) {
	s.ready()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout+recallTimeout)
	defer cancel()
	g, terms, err := s.grants.ByAccess(ctx, accessToken)
	switch {
	case errors.Is(err, grant.ErrForeign), errors.Is(err, grant.ErrNone):
		return Person{}, "", time.Time{}, ErrNobody
	case err != nil:
		return Person{}, "", time.Time{}, unavailable(err)
	}
	p, client, no := s.member(ctx, g)
	switch {
	case no != nil && no.retry:
		return Person{}, "", time.Time{}, no
	case no != nil, s.apps.byID[client] == nil: // removing a client invalidates its tokens
		return Person{}, "", time.Time{}, ErrNobody
	}
	return p, client, terms.Expires, nil
}
