package server

import (
	"context"
	"errors"
	"strings"
	"time"

	"dinggate/dingtalk/sso"
	"dinggate/oidc"
	"dinggate/proxy/login"
	"dinggate/session"
)

// applications lists the access of a person's applications and API clients, and revokes
// it, for login.Flow.
type applications struct {
	oidc   *oidc.Provider // nil: there is no provider
	sso    *sso.Server    // nil: there is no service
	issued issued
}

// newApplications returns the applications for a flow; nil if no application signs people
// in here.
func newApplications(c settings, st *State, provider *oidc.Provider, service *sso.Server) login.Applications {
	if provider == nil && service == nil {
		return nil
	}
	return applications{provider, service, newIssued(c, st)}
}

// Prefixes of an application's id, for End.
const (
	ofSession = "session\x00" // of the OpenID Connect provider: client and session follow
	ofDevice  = "device\x00"  // of the OpenID Connect provider: client and grant follow
	ofSSO     = "sso\x00"     // of the SSO service: the family of tokens follows
)

func (a applications) List(ctx context.Context, s *session.Session) (list []login.Application, err error) {
	if a.oidc != nil {
		held, err := oidc.Holdings(ctx, a.oidc, &s.User)
		if err != nil {
			return nil, err
		}
		for _, h := range held {
			one := login.Application{Name: h.Application, Kind: login.ApplicationOIDC, Session: h.Session, Since: h.Since,
				Until: h.Until, ID: ofSession + h.Application + "\x00" + h.Session}
			if h.Device != "" {
				one.Kind, one.ID = login.ApplicationDevice, ofDevice+h.Application+"\x00"+h.Device
			}
			list = append(list, one)
		}
	}
	if a.sso == nil {
		return list, nil
	}
	tokens, err := a.issued.of(ctx, &s.User, a.sso.Lives)
	for i := len(tokens) - 1; i >= 0; i-- {
		t := tokens[i]
		list = append(list, login.Application{Name: t.Client, Kind: login.ApplicationSSO, Session: t.Session,
			Since: time.Unix(t.Since, 0), Until: time.Unix(t.Until, 0), ID: ofSSO + t.Family})
	}
	return list, err
}

func (a applications) End(ctx context.Context, s *session.Session, id string) (found bool, err error) {
	if family, ok := strings.CutPrefix(id, ofSSO); ok && a.sso != nil {
		found, err := a.sso.EndFamily(ctx, family)
		if err != nil {
			return false, err
		}
		return found, a.issued.forget(ctx, &s.User, family)
	}
	if a.oidc == nil {
		return false, nil
	}
	var which oidc.Holding
	if rest, ok := strings.CutPrefix(id, ofSession); ok {
		which.Application, which.Session, _ = strings.Cut(rest, "\x00")
	} else if rest, ok := strings.CutPrefix(id, ofDevice); ok {
		which.Application, which.Device, _ = strings.Cut(rest, "\x00")
	}
	err = oidc.EndHolding(ctx, a.oidc, &s.User, which)
	if errors.Is(err, oidc.ErrNotHeld) {
		return false, nil
	}
	return err == nil, err
}
