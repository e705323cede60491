package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"dinggate/account"
	"dinggate/dingtalk"
	"dinggate/internal/identity"
	"dinggate/internal/web"
	"dinggate/oidc"
	"dinggate/oidc/keys"
	"dinggate/proxy/login"
	"dinggate/session"
	"dinggate/store"
	"dinggate/store/grant"
)

// oidcRecords and pendingRecords bound what is kept of grants, and of requests that
// wait for a sign-in; the latter anybody can make.
const (
	oidcRecords    = 1_000_000
	pendingRecords = 20_000
)

// refreshTolerance is how long a refresh token that was used gives its successor
// once more, for an answer that was lost.
const refreshTolerance = 10 * time.Second

// oidcAdapter gives the OpenID Connect provider what it needs of the other packages.
type oidcAdapter struct {
	flow     *login.Flow
	sessions *session.Manager
	bindings account.Bindings // nil: nobody is bound
}

// newOIDC wires the OpenID Connect provider; nil when it is off.
func newOIDC(c settings, flow *login.Flow, sessions *session.Manager, client *dingtalk.Client, accounts Accounts,
	st *State) (*oidc.Provider, error) {
	if !c.OIDC.On() {
		return nil, nil
	}
	secrets, err := c.keyring.Derive("oidc")
	if err != nil {
		return nil, err
	}
	grants, err := grant.New("oidc", st.Stores.OIDC, secrets)
	if err != nil {
		return nil, err
	}
	grants.Tolerance = refreshTolerance
	keeper, err := oidcKeys(c, st.Stores.OIDC)
	if err != nil {
		return nil, err
	}
	a := &oidcAdapter{flow: flow, sessions: sessions}
	if accounts.policy != nil {
		a.bindings = accounts.policy.Bindings
	}
	p := &oidc.Provider{
		Config:  c.OIDC,
		Issuer:  c.origins.Public(),
		Realm:   c.Realm(),
		Store:   st.Stores.OIDC,
		Pending: st.Stores.Pending,
		Sealer:  c.keyring,
		Grants:  grants,
		Keys:    keeper,
		Pages:   c.pages,
		Ours:    c.origins.Ours,
		Browser: oidc.Browser{Current: a.current, SignIn: a.signIn, SignOut: flow.EndSessions},
		People:  oidc.People{Member: a.member, Binding: a.binding, Revoke: sessions.Revoke},
		Audit:   st.auditOIDC,
		Measure: st.Metrics.OIDC,
		Report:  st.reportOIDC,
		Counts:  &st.oidcCounts,
	}
	if !c.SSO.On() { // an SSO service says nothing of migrated accounts
		p.People.Migrated = client.MigratedFrom
	}
	flow.Provider = learning{flow.Provider, p}
	sessions.Recheck = learns(sessions.Recheck, p)
	return p, p.Check()
}

// oidcKeys are those of the files, or those that the store keeps.
func oidcKeys(c settings, s store.Swapper) (*keys.Keeper, error) {
	if len(c.OIDC.KeyFiles) == 0 {
		k := &keys.Keeper{Retain: c.OIDC.IDToken + time.Hour}
		k.Read, k.Write = oidc.KeyRecord(c.Realm(), s, c.keyring)
		return k, nil
	}
	var list []keys.Key
	for i, name := range c.OIDC.KeyFiles {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("oidc.key_files[%d]: %w", i, err)
		}
		key, err := keys.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("oidc.key_files[%d] %w", i, err)
		}
		list = append(list, key)
	}
	set, err := keys.New(list)
	if err != nil {
		return nil, err
	}
	for _, client := range c.OIDC.Clients {
		algorithm := client.SigningAlg
		if algorithm == "" {
			algorithm = keys.RS256
		}
		if !set.Has(algorithm) {
			return nil, fmt.Errorf(
				"oidc.key_files: none is a key for %s, which client %q wants; add one, or change its signing_alg",
				algorithm, client.ClientID,
			)
		}
	}
	return &keys.Keeper{Fixed: set}, nil
}

// learning lets the provider know who has just proved who they are.
type learning struct {
	login.Provider
	to *oidc.Provider
}

func (l learning) Exchange(ctx context.Context, code, state string) (identity.User, identity.Token, error) {
	u, token, err := l.Provider.Exchange(ctx, code, state)
	if err == nil {
		l.to.Learn(ctx, u)
	}
	return u, token, err
}

// learns lets the provider know what a recheck found.
func learns(recheck recheckFunc, to *oidc.Provider) recheckFunc {
	return func(ctx context.Context, s *session.Session) (identity.User, error) {
		u, err := recheck(ctx, s)
		if err == nil && u.OrgEmail {
			to.Learn(ctx, u)
		}
		return u, err
	}
}

func (a *oidcAdapter) login(s *session.Session) oidc.Login {
	return oidc.Login{
		Session:     s.ID,
		User:        s.User,
		SignedIn:    s.SignedIn,
		Checked:     s.Checked,
		Ends:        session.Ends(a.sessions, s.SignedIn),
		Fingerprint: s.Fingerprint,
	}
}

func (a *oidcAdapter) current(r *http.Request) (oidc.Login, error) {
	s, err := a.flow.CurrentSession(r)
	if err != nil {
		return oidc.Login{}, oidcError(err)
	}
	return a.login(s), nil
}

// signIn has a browser sign in on the host of public_url, where the provider is.
func (a *oidcAdapter) signIn(w http.ResponseWriter, r *http.Request, target string) error {
	return a.flow.RequireSignIn(w, r, target)
}

func (a *oidcAdapter) member(ctx context.Context, l oidc.Login, beyond bool) (identity.User, time.Time, error) {
	if !beyond && !a.sessions.Time().Before(l.Ends) {
		return identity.User{}, time.Time{}, oidc.ErrNobody
	}
	s := &session.Session{
		ID:          l.Session,
		Realm:       a.sessions.Realm,
		User:        l.User,
		SignedIn:    l.SignedIn,
		Checked:     l.Checked,
		Fingerprint: l.Fingerprint,
	}
	s, err := session.Confirm(ctx, a.sessions, s)
	if err != nil {
		return identity.User{}, time.Time{}, oidcError(err)
	}
	return s.User, s.Checked, nil
}

func (a *oidcAdapter) binding(ctx context.Context, u *identity.User) (string, error) {
	if a.bindings == nil {
		return "", nil
	}
	by := account.Binding{UnionID: u.UnionID}
	if u.Local {
		by = account.Binding{Username: u.Username}
	}
	found, err := a.bindings.Find(ctx, by)
	switch {
	case errors.Is(err, account.ErrNone):
		return "", nil
	case err != nil:
		return "", err
	case u.Local:
		return found.UnionID, nil
	}
	return found.Username, nil
}

func oidcError(err error) error { return providerError(err, oidc.ErrNobody) }

// ended passes an end of sessions on to the OpenID Connect provider that serves, if
// there is one.
func (s *State) ended(e session.End) {
	g := s.Serving()
	if g == nil || g.OIDC == nil {
		return
	}
	g.OIDC.Ended(oidc.End{
		Session: e.Session,
		UnionID: e.Person.UnionID,
		UserID:  e.Person.UserID,
		Account: e.Person.Account,
		All:     e.All,
	})
}

// oidcEndpoints are below /oidc, and two addresses that the specifications fix. On
// other hosts than that of public_url they are the routes': the provider has one
// address.
func oidcEndpoints(p *oidc.Provider) []family {
	if p == nil {
		return nil
	}
	below := family{root: oidc.Root, publicHost: true, paths: map[string]web.HandlerFunc{}}
	families := []family{below}
	for path, h := range p.Handlers() {
		if path == oidc.PathConfiguration || path == oidc.PathMetadata {
			families = append(families, family{
				root:       path,
				publicHost: true,
				paths:      map[string]web.HandlerFunc{path: h},
			})
			continue
		}
		below.paths[path] = h
	}
	return families
}

// auditOIDC writes who signed in to which application, and who tried what.
func (t Observability) auditOIDC(e oidc.Event) error {
	level := slog.LevelWarn
	if e.What == "oidc_sign_in" || e.Reason == "agreed" || e.Reason == "ok" {
		level = slog.LevelInfo
	}
	client, detail := "", ""
	if e.Client.IsValid() {
		client = e.Client.String()
	}
	if e.Err != nil {
		detail = e.Err.Error()
	}
	return t.Note(level, "oidc", e.What,
		pairs([2]string{"req", e.RequestID}, [2]string{"client", client}, [2]string{"application", e.Application},
			[2]string{"user", e.User}, [2]string{"userid", e.UserID}, [2]string{"reason", e.Reason},
			[2]string{"err", detail})...)
}

func (t Observability) reportOIDC(err error) { t.Log.Warn("oidc", "err", err.Error()) }
