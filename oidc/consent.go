package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"dinggate/internal/page"
	"dinggate/internal/web"
)

const (
	consentField = "consent"
	decision     = "decision"
	allow        = "allow"
	consentLife  = 400 * 24 * time.Hour
	questionLife = 15 * time.Minute
)

// consentRecord is a person's consent for one client.
type consentRecord struct{ Scopes []string }

func (p authorization) consentKey(sub, client string) string {
	return recordKey("consent", p.Realm, sub, client)
}

// consented shows the consent form if the application requires it, and otherwise issues the code.
func (a *attempt) consented(ctx context.Context) error {
	if !a.q.client.Consent && !a.q.prompts(promptConsent) {
		return a.code(ctx)
	}
	if !a.q.prompts(promptConsent) {
		var r consentRecord
		if _, _, err := a.p.records().read(ctx, a.p.authorization().consentKey(a.sub, a.q.client.ClientID), &r); err != nil {
			return a.fail(unavailable(err))
		}
		if !slices.ContainsFunc(a.wanted(), func(s string) bool { return !slices.Contains(r.Scopes, s) }) &&
			len(r.Scopes) > 0 {
			return a.code(ctx)
		}
	}
	if a.q.prompts(promptNone) {
		return a.fail(
			fail(
				"consent_required",
				"the person has not agreed yet",
				"prompt=none for a client with consent: true; let the application navigate once",
			),
		)
	}
	return a.showConsent()
}

// wanted are the scopes to consent to; the claims parameter is treated as the scope that contains
// its claims.
func (a *attempt) wanted() []string {
	list := slices.Clone(a.q.scope)
	userinfo, idToken := a.q.claims.names()
	for _, name := range append(userinfo, idToken...) {
		for scope, claims := range byScope {
			if slices.Contains(claims, name) && !slices.Contains(list, scope) {
				list = append(list, scope)
			}
		}
	}
	if len(list) == 0 {
		list = append(list, scopeOpenID)
	}
	slices.Sort(list)
	return list
}

// formState is the hidden, sealed field of our form: an answer is valid for this request in this
// session only.
type formState struct {
	Query   string
	Back    pending
	Session string
	Until   time.Time
	Kind    string
	Device  string `json:",omitempty"` // a user code
}

const (
	askConsent = "consent"
	askDevice  = "device"
	askLogout  = "logout"
)

// sealForm seals the hidden field. It is long, and never part of a URL.
func (p *Provider) sealForm(q formState) (string, error) {
	q.Until = p.now().Add(questionLife)
	plain, err := json.Marshal(q)
	if err != nil {
		return "", err
	}
	box, err := p.Sealer.SealRecord("oidc question "+q.Kind, plain)
	if err != nil {
		return "", err
	}
	return encodeField(box), nil
}

var errQuestion = errors.New("oidc: an answer to none of our questions, or of another session, or too late")

func (p *Provider) openForm(kind, field, session string) (q formState, err error) {
	box, ok := decodeField(field)
	if !ok {
		return q, errQuestion
	}
	plain, _, err := p.Sealer.OpenRecord("oidc question "+kind, box)
	if err != nil || json.Unmarshal(plain, &q) != nil || q.Kind != kind || q.Session != session || p.now().After(q.Until) {
		return formState{}, errQuestion
	}
	return q, nil
}

func (a *attempt) showConsent() error {
	back := a.back
	back.Query = "" // it is that of the form
	field, err := a.p.sealForm(formState{Query: a.q.raw, Back: back, Session: a.in.Session, Kind: askConsent})
	if err != nil {
		return err
	}
	data := page.AskData{
		Kind:        page.AskConsent,
		Application: a.q.client.ClientID,
		Who:         a.in.User.FullName(),
		Action:      PathAuthorize,
		Fields:      [][2]string{{consentField, field}},
		Learns:      learns(a.wanted()),
		Next:        a.q.redirect,
	}
	a.p.measure(a.q.client.ClientID, "authorize", "asked")
	a.p.Pages.Ask(a.w, a.r, data)
	return nil
}

// learns names what an application receives, for the page.
func learns(scopes []string) (list []string) {
	for _, s := range []string{scopeProfile, scopeEmail, scopeGroups, scopeOffline} {
		if slices.Contains(scopes, s) {
			list = append(list, s)
		}
	}
	return list
}

// decided handles the answer of our page. A form of another site is refused (threats E7).
func (p authorization) decided(w http.ResponseWriter, r *http.Request, form params) error {
	if !web.SameOrigin(r, p.Ours) {
		return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
	}
	in, err := p.Browser.Current(r)
	if err != nil && !errors.Is(err, ErrSignedOut) {
		return err
	}
	state, bad := p.openForm(askConsent, form.get(consentField), in.Session)
	if err != nil || bad != nil {
		return pageError(http.StatusBadRequest, "oidc_expired", "%w", errors.Join(err, bad))
	}
	q, params, err := p.identify(state.Query)
	if err != nil {
		return err
	}
	a := &attempt{p: p.Provider, w: w, r: r, q: q, back: state.Back, in: in}
	if f := q.read(params); f != nil {
		return a.fail(f)
	}
	agreed := form.get(decision) == allow
	e := Event{
		What:        "oidc_consent",
		Application: q.client.ClientID,
		User:        in.User.Username,
		UserID:      in.User.UserID,
		Reason:      "agreed",
	}
	if !agreed {
		e.Reason = "refused"
		p.audit(web.From(w), e)
		return a.fail(fail("access_denied", "the person refused", "the person refused"))
	}
	ctx, cancel := context.WithTimeout(r.Context(), memberTimeout)
	defer cancel()
	if a.sub, err = p.subjects().of(ctx, &in.User); err != nil {
		return a.noSubject(err)
	}
	err = update(
		ctx,
		p.records(),
		p.consentKey(a.sub, q.client.ClientID),
		consentLife,
		func(r *consentRecord, _ bool) (bool, error) {
			for _, s := range a.wanted() {
				if !slices.Contains(r.Scopes, s) {
					r.Scopes = append(r.Scopes, s)
				}
			}
			return true, nil
		},
	)
	if err != nil {
		return a.fail(unavailable(err))
	}
	if err := p.audit(web.From(w), e); err != nil {
		return &web.Error{Status: http.StatusServiceUnavailable, Code: "audit_unavailable", RetryAfter: retryAfter, Err: err}
	}
	// The rule and the person are checked again: the page may be a quarter of an hour old.
	q.prompt = slices.DeleteFunc(q.prompt, func(s string) bool { return s == promptConsent })
	if a.back.Since.IsZero() {
		a.back.Since = in.SignedIn // the session was recent enough when the form was shown
	}
	if a.outdated() {
		return a.signIn()
	}
	return a.person()
}
