package simulator

import (
	"slices"
	"time"
)

const (
	tokenLife   = 7200 * time.Second
	refreshLife = 30 * 24 * time.Hour
	ticketLife  = 90 * time.Second
)

// code is a one-time authorization code: one person's consent for one app.
type code struct {
	kind    Kind
	app     string // client id
	person  string // Person.ID
	corp    string // the organisation chosen; "" if the scope had no corpid
	expires time.Time
}

// appToken authenticates an app.
type appToken struct {
	app     *App
	expires time.Time
	killed  bool
}

// userToken stands for one person at one app. grant is the personal grant that
// only the sign-in page with prompt=consent gives.
type userToken struct {
	app     *App
	person  string // Person.ID
	corp    string
	grant   bool
	agreed  []string // the permission points of that grant
	expires time.Time
}

// ticket opens one stream.
type ticket struct {
	app     string
	events  bool // EVENT was subscribed
	expires time.Time
}

// credentials holds what the platform issued: codes, tokens and tickets. The
// platform's mu guards it.
type credentials struct {
	codes      boundedMap[code]
	appTokens  boundedMap[*appToken]
	userTokens boundedMap[*userToken]
	refreshes  boundedMap[*userToken]
	tickets    boundedMap[ticket]
}

func newCredentials() credentials {
	var c credentials
	c.codes.max, c.tickets.max = codesMax, codesMax
	c.appTokens.max, c.userTokens.max, c.refreshes.max = tokensMax, tokensMax, tokensMax
	return c
}

func (c *credentials) issueCode(now time.Time, issued code) string {
	issued.expires = now.Add(CodeLife)
	text := random("code-" + string(issued.kind) + "-")
	c.codes.put(text, issued)
	return text
}

// redeemCode uses a code up. A code of another app or kind stays valid: the
// caller must not be able to use up codes that are not its own.
func (c *credentials) redeemCode(now time.Time, text string, a *App, kinds ...Kind) (code, bool) {
	got, ok := c.codes.get(text)
	if !ok || got.app != a.ClientID || !slices.Contains(kinds, got.kind) {
		return code{}, false
	}
	c.codes.delete(text)
	return got, now.Before(got.expires)
}

// issueAppToken returns the app's valid token with its life extended, or a new
// one if there is none.
func (c *credentials) issueAppToken(now time.Time, a *App) string {
	expires := now.Add(tokenLife)
	for text, t := range c.appTokens.items {
		if t.app == a && !t.killed && now.Before(t.expires) {
			t.expires = expires
			return text
		}
	}
	text := random("apptoken-")
	c.appTokens.put(text, &appToken{app: a, expires: expires})
	return text
}

func (c *credentials) killAppTokens(a *App) {
	for _, t := range c.appTokens.items {
		t.killed = t.killed || t.app == a
	}
}

// appTokenOwner returns the app that an app token belongs to. A user token is
// not accepted in its place.
func (c *credentials) appTokenOwner(now time.Time, text string) (*App, *apiError) {
	if text == "" {
		return nil, apiErrorFor("40000")
	}
	t, ok := c.appTokens.get(text)
	switch {
	case !ok || t.killed:
		return nil, apiErrorFor("40014")
	case !now.Before(t.expires):
		return nil, apiErrorFor("42001")
	}
	return t.app, nil
}

// userTokenOwner returns the user token with this text and its app. An app
// token in its place gets another error than an unknown token: it lacks the
// permission.
func (c *credentials) userTokenOwner(now time.Time, text string) (*App, *userToken, *apiError) {
	t, ok := c.userTokens.get(text)
	if !ok {
		a, err := c.appTokenOwner(now, text)
		if err == nil {
			err = deniedPermission(a, "Contact.User.Read")
		}
		return nil, nil, err
	}
	if !now.Before(t.expires) {
		return nil, nil, apiErrorFor("accesstoken.expired")
	}
	return t.app, t, nil
}
