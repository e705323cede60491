package sso

import (
	"errors"
	"time"

	"dinggate/store/grant"
)

// record is what a code, and the family of tokens issued for it, represents.
type record struct {
	Client string
	State  string // of the code's redirect; "" in a family
	Made   bool   `json:",omitempty"` // State was generated here: the client's authorize call had none
	Ref    string // Person.Ref
}

// newGrants issues codes and tokens. A reused refresh token ends its family at
// once: third parties of the contract do not need a tolerance.
func (s *Server) newGrants() (*grant.Issuer, error) {
	if s.Codes == nil {
		return nil, errors.New("sso: making codes: there is no store")
	}
	g, err := grant.New("sso", s.Codes, s.Keys)
	if err == nil {
		g.Now = func() time.Time { return s.now() }
	}
	return g, err
}
