package server

import (
	"context"
	"errors"
	"time"

	"dinggate/proxy/login"
	"dinggate/store/grant"
)

// tickets are single-use codes of store/grant from which no tokens are issued.
type tickets struct{ issuer *grant.Issuer }

var _ login.Tickets = tickets{}

func newTickets(c settings, st *State) (login.Tickets, error) {
	secrets, err := c.keyring.Derive("hand-over")
	if err != nil {
		return nil, err
	}
	issuer, err := grant.New("hand-over", st.Stores.Tickets, secrets)
	return tickets{issuer}, err
}

func (t tickets) Issue(ctx context.Context, data any, life time.Duration) (string, error) {
	ticket, _, err := t.issuer.Issue(ctx, data, life)
	return ticket, err
}

func (t tickets) Take(ctx context.Context, ticket string, data any) error {
	_, family, err := t.issuer.ByCode(ctx, ticket)
	var g *grant.Grant
	if err == nil {
		g, err = t.issuer.End(ctx, family)
	}
	switch {
	case errors.Is(err, grant.ErrForeign):
		return login.ErrTicketUnknown
	case errors.Is(err, grant.ErrNone):
		return login.ErrTicketExpired
	case err != nil:
		return err
	case g == nil:
		return login.ErrTicketUsed
	}
	return g.Read(data)
}
