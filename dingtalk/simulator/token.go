package simulator

import "fmt"

// KillAppToken makes the app's token invalid before its time, as DingTalk
// does after a change of secret. "" = the first app.
func (p *Platform) KillAppToken(clientID string) error {
	defer p.lock()()
	a := p.apps.get(clientID)
	if a == nil {
		return fmt.Errorf("simulator: killing the token of %q: no such app", clientID)
	}
	p.credentials.killAppTokens(a)
	return nil
}

// oldToken is GET /gettoken; it reads the query only.
func oldToken(p *Platform, c *call) (any, *apiError) {
	q := c.r.URL.Query()
	if q.Get("appkey") == "" {
		return nil, apiErrorFor("40035")
	}
	a := p.apps.authenticate(q.Get("appkey"), q.Get("appsecret"))
	if a == nil {
		return nil, apiErrorFor("40096")
	}
	return flat{"access_token": p.credentials.issueAppToken(p.now(), a), "expires_in": int(tokenLife.Seconds())}, nil
}

// accessToken is POST /v1.0/oauth2/accessToken.
func accessToken(p *Platform, c *call) (any, *apiError) {
	a, apiErr := p.authenticated(c, "appKey", "appSecret")
	if apiErr != nil {
		return nil, apiErr
	}
	return map[string]any{"accessToken": p.credentials.issueAppToken(p.now(), a),
		"expireIn": int(tokenLife.Seconds())}, nil
}

// corpToken is POST /v1.0/oauth2/{corpId}/token, the one call of the new host in snake_case.
func corpToken(p *Platform, c *call) (any, *apiError) {
	a := p.apps.authenticate(c.text("client_id"), c.text("client_secret"))
	switch {
	case c.text("grant_type") != "client_credentials":
		return nil, apiErrorFor("unsupported.grant.type")
	case a == nil:
		return nil, apiErrorFor("invalid.client")
	case c.segment != p.org.corpID:
		return nil, apiErrorFor("unknownError")
	}
	if p.apps.throttled(a, corpTokenPath, p.now()) {
		return nil, apiErrorFor("90018")
	}
	return map[string]any{"access_token": p.credentials.issueAppToken(p.now(), a),
		"expires_in": int(tokenLife.Seconds())}, nil
}

// authenticated returns the app that a token call identifies by these arguments. The
// rate limit applies here too.
func (p *Platform) authenticated(c *call, id, secret string) (*App, *apiError) {
	a := p.apps.authenticate(c.text(id), c.text(secret))
	switch {
	case a == nil:
		return nil, apiErrorFor("invalidClientIdOrSecret").withText("无效的clientId或者clientSecret")
	case p.apps.throttled(a, c.r.URL.Path, p.now()):
		return nil, apiErrorFor("90018")
	}
	return a, nil
}

// userAccessToken is POST /v1.0/oauth2/userAccessToken. A silent code gets a token
// too, but without the personal grant: users/me then answers 403.
func userAccessToken(p *Platform, c *call) (any, *apiError) {
	a, apiErr := p.authenticated(c, "clientId", "clientSecret")
	if apiErr != nil {
		return nil, apiErr
	}
	var t userToken
	switch c.text("grantType") {
	case "authorization_code":
		got, ok := p.credentials.redeemCode(p.now(), c.text("code"), a, Browser, Silent)
		if !ok {
			return nil, codeNotFound()
		}
		t = userToken{app: a, person: got.person, corp: got.corp, grant: got.kind == Browser}
		t.grant = t.grant && !p.org.withholds[got.person]
		for _, point := range personalPoints {
			if t.grant && a.hasPermission(point) {
				t.agreed = append(t.agreed, point)
			}
		}
	case "refresh_token":
		old, ok := p.credentials.refreshes.get(c.text("refreshToken"))
		if !ok || old.app != a || !p.now().Before(old.expires) {
			return nil, codeNotFound()
		}
		p.credentials.refreshes.delete(c.text("refreshToken")) // rotated: the old one is invalid after use
		t = *old
	default:
		return nil, apiErrorFor("invalidParameter")
	}
	access, refresh := t, t
	access.expires, refresh.expires = p.now().Add(tokenLife), p.now().Add(refreshLife)
	result := map[string]any{"accessToken": random("usertoken-"), "refreshToken": random("refreshtoken-"),
		"expireIn": int(tokenLife.Seconds())}
	p.credentials.userTokens.put(result["accessToken"].(string), &access)
	p.credentials.refreshes.put(result["refreshToken"].(string), &refresh)
	if t.corp != "" {
		result["corpId"] = t.corp
	}
	return result, nil
}

func codeNotFound() *apiError {
	return apiErrorFor("invalidParameter.authCode.notFound").withText("不合法的临时授权码")
}

// jsapiTicket is POST /v1.0/oauth2/jsapiTickets.
func jsapiTicket(*Platform, *call) (any, *apiError) {
	return map[string]any{"jsapiTicket": random("jsapiticket-"), "expireIn": int(tokenLife.Seconds())}, nil
}
