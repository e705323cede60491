package simulator

import (
	"fmt"
	"time"
)

const (
	tokenLife   = 7200 * time.Second
	refreshLife = 30 * 24 * time.Hour
)

// appToken is what an app proves itself with.
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
	expires time.Time
}

// issueAppToken is the app's living token with its life extended, else a fresh one.
func (p *Platform) issueAppToken(a *App) string {
	expires := p.now().Add(tokenLife)
	for text, t := range p.appTokens.items {
		if t.app == a && !t.killed && p.now().Before(t.expires) {
			t.expires = expires
			return text
		}
	}
	text := random("apptoken-")
	p.appTokens.put(text, &appToken{app: a, expires: expires})
	return text
}

// KillAppToken makes the app's token invalid before its time, as DingTalk
// does after a change of secret. "" = the first app.
func (p *Platform) KillAppToken(clientID string) error {
	defer p.lock()()
	a := p.app(clientID)
	if a == nil {
		return fmt.Errorf("simulator: killing the token of %q: no such app", clientID)
	}
	for _, t := range p.appTokens.items {
		t.killed = t.killed || t.app == a
	}
	return nil
}

// appTokenOwner is the app that an app token belongs to. A user token is none.
func (p *Platform) appTokenOwner(text string) (*App, *apiError) {
	if text == "" {
		return nil, apiErrorFor("40000")
	}
	t, ok := p.appTokens.get(text)
	switch {
	case !ok || t.killed:
		return nil, apiErrorFor("40014")
	case !p.now().Before(t.expires):
		return nil, apiErrorFor("42001")
	}
	return t.app, nil
}

// oldToken is GET /gettoken; it reads the query alone.
func (p *Platform) oldToken(c *call) (any, *apiError) {
	q := c.r.URL.Query()
	if q.Get("appkey") == "" {
		return nil, apiErrorFor("40035")
	}
	a := p.authenticateApp(q.Get("appkey"), q.Get("appsecret"))
	if a == nil {
		return nil, apiErrorFor("40096")
	}
	return flat{"access_token": p.issueAppToken(a), "expires_in": int(tokenLife.Seconds())}, nil
}

// accessToken is POST /v1.0/oauth2/accessToken.
func (p *Platform) accessToken(c *call) (any, *apiError) {
	a := p.authenticateApp(c.text("appKey"), c.text("appSecret"))
	if a == nil {
		return nil, apiErrorFor("invalidClientIdOrSecret").withText("无效的clientId或者clientSecret")
	}
	return map[string]any{"accessToken": p.issueAppToken(a), "expireIn": int(tokenLife.Seconds())}, nil
}

// corpToken is POST /v1.0/oauth2/{corpId}/token, the one call of the new host in snake_case.
func (p *Platform) corpToken(c *call) (any, *apiError) {
	a := p.authenticateApp(c.text("client_id"), c.text("client_secret"))
	switch {
	case c.text("grant_type") != "client_credentials":
		return nil, apiErrorFor("unsupported.grant.type")
	case a == nil:
		return nil, apiErrorFor("invalid.client")
	case c.segment != p.corp:
		return nil, apiErrorFor("unknownError")
	}
	return map[string]any{"access_token": p.issueAppToken(a), "expires_in": int(tokenLife.Seconds())}, nil
}

// userAccessToken is POST /v1.0/oauth2/userAccessToken. A silent code gets a
// token as well, one without the personal grant: users/me then answers 403.
func (p *Platform) userAccessToken(c *call) (any, *apiError) {
	a := p.authenticateApp(c.text("clientId"), c.text("clientSecret"))
	if a == nil {
		return nil, apiErrorFor("invalidClientIdOrSecret").withText("无效的clientId或者clientSecret")
	}
	var t userToken
	switch c.text("grantType") {
	case "authorization_code":
		got, ok := p.redeemCode(c.text("code"), a, Browser, Silent)
		if !ok {
			return nil, codeNotFound()
		}
		t = userToken{app: a, person: got.person, corp: got.corp, grant: got.kind == Browser}
	case "refresh_token":
		old, ok := p.refreshes.get(c.text("refreshToken"))
		if !ok || old.app != a || !p.now().Before(old.expires) {
			return nil, codeNotFound()
		}
		p.refreshes.delete(c.text("refreshToken")) // rotates: the old one is dead after use
		t = *old
	default:
		return nil, apiErrorFor("invalidParameter")
	}
	access, refresh := t, t
	access.expires, refresh.expires = p.now().Add(tokenLife), p.now().Add(refreshLife)
	result := map[string]any{"accessToken": random("usertoken-"), "refreshToken": random("refreshtoken-"), "expireIn": int(tokenLife.Seconds())}
	p.userTokens.put(result["accessToken"].(string), &access)
	p.refreshes.put(result["refreshToken"].(string), &refresh)
	if t.corp != "" {
		result["corpId"] = t.corp
	}
	return result, nil
}

func codeNotFound() *apiError {
	return apiErrorFor("invalidParameter.authCode.notFound").withText("不合法的临时授权码")
}

// jsapiTicket is POST /v1.0/oauth2/jsapiTickets.
func (p *Platform) jsapiTicket(*call) (any, *apiError) {
	return map[string]any{"jsapiTicket": random("jsapiticket-"), "expireIn": int(tokenLife.Seconds())}, nil
}
