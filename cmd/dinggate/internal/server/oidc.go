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

// oidcRecords and pendingRecords bound the number of grants, and of requests that wait
// for a sign-in, which any client can create.
const (
	oidcRecords    = 1_000_000
	pendingRecords = 20_000
)

// refreshTolerance is how long a used refresh token returns its successor once more, for
// a lost response.
const refreshTolerance = 10 * time.Second

// oidcAdapter connects the OpenID Connect provider with the other packages.
type oidcAdapter struct {
	flow     *login.Flow
	sessions *session.Manager
	bindings account.Bindings // nil: there are no bindings
}

// newOIDC wires the OpenID Connect provider; nil if it is off.
func newOIDC(c settings, flow *login.Flow, sessions *session.Manager, client *dingtalk.Client, accounts Accounts,
	moves *migrations, st *State) (*oidc.Provider, error) {
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
		Ours:    c.origins.SameHost(c.origins.PublicHost()),
		Browser: oidc.Browser{Current: a.current, SignIn: a.signIn, SignOut: flow.EndSessions},
		People:  oidc.People{Member: a.member, Binding: a.binding, Revoke: sessions.Revoke},
		Audit:   st.auditOIDC,
		Measure: st.Metrics.OIDC,
		Report:  st.reportOIDC,
		Counts:  &st.oidcCounts,
	}
	if !c.SSO.On() { // an SSO service does not report migrated accounts
		p.People.Migrated = moves.from
		p.People.Department = oidcDepartment(client)
	}
	return p, p.Check()
}

// oidcDepartment reads the name of a department and its parent from DingTalk.
func oidcDepartment(client *dingtalk.Client) func(context.Context, int64) (oidc.Department, error) {
	return func(ctx context.Context, id int64) (oidc.Department, error) {
		name, parent, err := client.Department(ctx, id)
		if f, ok := errors.AsType[*identity.Failure](err); ok && f.Code == "department_unknown" {
			err = oidc.ErrNoDepartment
		}
		return oidc.Department{Name: name, Parent: parent}, err
	}
}

// oidcKeys returns the keys of the files, or those in the store.
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

// newMailboxes records DingTalk's e-mail addresses for the OpenID Connect provider; nil
// if it is off.
func newMailboxes(c settings, st *State) *oidc.Mailboxes {
	if !c.OIDC.On() {
		return nil
	}
	return &oidc.Mailboxes{Realm: c.Realm(), Store: st.Stores.OIDC, Sealer: c.keyring, Report: st.reportOIDC}
}

func (a *oidcAdapter) login(s *session.Session) oidc.Login {
	return oidc.Login{
		Session:     s.ID,
		User:        s.User,
		SignedIn:    s.SignedIn,
		Silent:      s.Silent,
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

// signIn makes a browser sign in on the host of public_url, where the provider is.
func (a *oidcAdapter) signIn(w http.ResponseWriter, r *http.Request, target string) error {
	return a.flow.RequireSignIn(w, r, target)
}

func (a *oidcAdapter) member(ctx context.Context, l oidc.Login, beyond bool) (identity.User, time.Time, error) {
	if !beyond && !a.sessions.Time().Before(l.Ends) {
		return identity.User{}, time.Time{}, oidc.ErrSignedOut
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

func oidcError(err error) error { return providerError(err, oidc.ErrSignedOut) }

// ended passes ended sessions on to the current OpenID Connect provider, if there is
// one.
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

// oidcEndpoints are below /oidc, and two paths that the specifications fix. On hosts
// other than public_url's they belong to the routes: the provider has one address.
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

// auditOIDC records sign-ins to applications and rejected attempts.
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
