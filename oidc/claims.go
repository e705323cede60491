package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"time"

	"dinggate/internal/identity"
	"dinggate/oidc/keys"
)

// personal are the claims about a person that scopes and the claims parameter can request.
var personal = []string{"name", "preferred_username", "username", "email", "email_verified", "groups"}

var byScope = map[string][]string{
	scopeProfile: {"name", "preferred_username", "username"},
	scopeEmail:   {"email", "email_verified"},
	scopeGroups:  {"groups"},
}

const (
	acrValue    = "1"
	amrDingTalk = "dingtalk" // by DingTalk, or by an SSO service in its place
	amrPassword = "pwd"      // RFC 8176
)

// given is the caller's data of a grant: what was granted to an application, and for whom.
type given struct {
	Client    string
	Redirect  string   `json:",omitempty"`
	Nonce     string   `json:",omitempty"`
	Challenge string   `json:",omitempty"`
	Scope     []string `json:",omitempty"`
	Userinfo  []string `json:",omitempty"` // claims besides those of the scopes
	IDToken   []string `json:",omitempty"`

	Sub    string
	Login  Login   // the sign-in that it was made from
	SID    string  `json:",omitempty"` // the session id that the application receives; "" for a device
	Device *device `json:",omitempty"` // the grant is that of a device
}

// narrow takes from the grant the scopes that are not in to, and their claims, however these were
// requested (RFC 6749 §6).
func (g *given) narrow(to []string) {
	var kept []string
	for _, scope := range g.Scope {
		if slices.Contains(to, scope) {
			kept = append(kept, scope)
			continue
		}
		left := func(claim string) bool { return slices.Contains(byScope[scope], claim) }
		g.Userinfo, g.IDToken = slices.DeleteFunc(g.Userinfo, left), slices.DeleteFunc(g.IDToken, left)
	}
	g.Scope = kept
}

func (g *given) has(scope string) bool { return slices.Contains(g.Scope, scope) }

// sidOf is the session id that applications receive: none of our ids is revealed.
func sidOf(session string) string {
	if session == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("dinggate sid\x00" + session))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// claims are the claims about a person that an application receives: those of the scopes, and
// those in more. Text is UTF-8, never percent-encoded.
func (p disclosure) claims(
	ctx context.Context, c *client, g *given, u *identity.User, more []string,
) (map[string]any, error) {
	wanted := func(name string) bool {
		if slices.Contains(more, name) {
			return true
		}
		for _, scope := range g.Scope {
			if slices.Contains(byScope[scope], name) {
				return true
			}
		}
		return false
	}
	out := map[string]any{"sub": g.Sub}
	put := func(name string, value any) {
		if wanted(name) {
			out[name] = value
		}
	}
	put("preferred_username", u.Username)
	put("username", u.Username)
	if name := u.Name; name != "" {
		put("name", name)
	} else {
		put("name", u.Username)
	}
	if u.Email != "" {
		put("email", u.Email)
		put("email_verified", u.OrgEmail)
	}
	if wanted("groups") {
		groups, err := p.groups(ctx, c, u)
		if err != nil {
			return nil, err
		}
		out["groups"] = groups
	}
	return out, nil
}

// groups is never nil: an application that requests the claim expects a list.
func (p disclosure) groups(ctx context.Context, c *client, u *identity.User) ([]string, error) {
	list := []string{}
	add := func(text string) {
		if text != "" && !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	for _, kind := range c.groups() {
		switch kind {
		case GroupRoles:
			for _, name := range u.RoleNames() {
				add(name)
			}
		case GroupDepartments:
			for _, ids := range [...][]int64{u.Departments, u.Ancestors} {
				for _, id := range ids {
					add(strconv.FormatInt(id, 10))
				}
			}
		case GroupDepartmentPaths:
			paths, err := p.paths(ctx, u.Departments, false)
			if err != nil {
				return nil, err
			}
			for _, path := range paths {
				add(path)
			}
		}
	}
	return list, nil
}

// idToken signs an ID token (OpenID Connect Core §2).
func (p disclosure) idToken(ctx context.Context, c *client, g *given, u *identity.User, access, nonce string,
	now time.Time) (string, error) {
	set, err := p.Keys.Set(ctx)
	if err != nil {
		return "", err
	}
	out, err := p.claims(ctx, c, g, u, g.IDToken)
	if err != nil {
		return "", err
	}
	out["iss"], out["aud"], out["azp"] = p.Issuer, c.ClientID, c.ClientID
	out["iat"], out["exp"], out["auth_time"] = now.Unix(), now.Add(p.Config.IDToken).Unix(), g.Login.SignedIn.Unix()
	out["acr"], out["amr"] = acrValue, []string{methodOf(u)}
	if g.SID != "" {
		out["sid"] = g.SID
	}
	if nonce != "" {
		out["nonce"] = nonce
	}
	if access != "" {
		sum := sha256.Sum256([]byte(access)) // both algorithms use SHA-256
		out["at_hash"] = base64.RawURLEncoding.EncodeToString(sum[:16])
	}
	return set.Sign(c.algorithm(), keys.TypeID, out)
}

func methodOf(u *identity.User) string {
	if u.Local {
		return amrPassword
	}
	return amrDingTalk
}
