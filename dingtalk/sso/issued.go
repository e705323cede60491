package sso

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dinggate/store/grant"
)

// Issued is one family of tokens that a client received, for lists.
type Issued struct {
	Person Person
	Client string
	Family string // identifies the family for Lives and EndFamily; it grants nothing
	Since  time.Time
	Until  time.Time
}

// issued reports a new family. Its tokens are issued even if the list cannot be written:
// the end of the sign-in ends the family in any case.
func (s *Server) issued(ctx context.Context, g *grant.Grant, p Person, client string) {
	if s.Issued != nil {
		s.Issued(ctx, Issued{Person: p, Client: client, Family: g.Family.String(), Since: s.now(), Until: g.Expires})
	}
}

// Lives reports whether a family is valid: it was not revoked, and its sign-in has not
// ended.
func (s *Server) Lives(ctx context.Context, family string) (bool, error) {
	s.ready()
	f, ok := grant.ParseFamily(family)
	if !ok {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout+recallTimeout)
	defer cancel()
	g, err := s.grants.ByFamily(ctx, f)
	switch {
	case errors.Is(err, grant.ErrNone):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("sso: looking a family up: %w", err)
	}
	_, client, no := s.member(ctx, g)
	switch {
	case no != nil && no.retry:
		return false, no
	case no != nil:
		return false, nil
	}
	return s.apps.byID[client] != nil, nil
}

// EndFamily revokes a family and all its tokens. It returns false if there was none.
func (s *Server) EndFamily(ctx context.Context, family string) (bool, error) {
	s.ready()
	f, ok := grant.ParseFamily(family)
	if !ok {
		return false, nil
	}
	return s.end(ctx, f)
}
