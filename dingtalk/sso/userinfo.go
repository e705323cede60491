package sso

import (
	"context"
	"errors"
	"net/http"
	"time"

	"dinggate/internal/web"
	"dinggate/store/grant"
)

// Userinfo is step 4: who the person behind an access token is. Whatever is
// wrong with a token has one answer (threats T16, T17). Somebody who signed
// out or left is nobody here within session.recheck; while DingTalk is away
// the last known facts stand for the grace, and then it is 503, not 401 (T21).
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

// Made reports whether a text is a token or a code that was made here, whatever it
// is worth by now. It asks nobody.
func (s *Server) Made(text string) bool {
	s.ready()
	return s.grants.Made(text)
}

// Ended moves whenever tokens are taken back in this process, so that what was
// remembered of them is asked again.
func (s *Server) Ended() uint64 { return s.ended.Load() }

// Identify finds the person behind an access token, the client it was given
// to, and when it expires. ErrNobody for one that is worth nothing; any other
// error says that this is unknown now.
func (s *Server) Identify(ctx context.Context,
	accessToken string) (p Person, client string, expires time.Time, err error) {
	s.ready()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout+recallTimeout)
	defer cancel()
	g, expires, err := s.grants.ByAccess(ctx, accessToken)
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
	case no != nil, s.apps.byID[client] == nil: // a client that was removed takes its tokens along
		return Person{}, "", time.Time{}, ErrNobody
	}
	return p, client, expires, nil
}
