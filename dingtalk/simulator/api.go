package simulator

import (
	"mime"
	"net/http"
	"strings"
)

const (
	mePath = "/v1.0/contact/users/{unionId}"

	leaveRecordsPath = "/v1.0/contact/empLeaveRecords"
	corpTokenPath    = "/v1.0/oauth2/{corpId}/token"
	authRulesPath    = "/v1.0/oauth2/authRules/user"
)

// requiredToken is the token that a call of the new host requires.
type requiredToken int

const (
	noToken requiredToken = iota
	needsAppToken
	needsUserToken
)

// newCall is a call of the new host.
type newCall struct {
	method string
	token  requiredToken
	do     func(*Platform, *call) (any, *apiError)
}

var newCalls = map[string]newCall{
	"/v1.0/oauth2/userAccessToken":   {http.MethodPost, noToken, userAccessToken},
	"/v1.0/oauth2/accessToken":       {http.MethodPost, noToken, accessToken},
	corpTokenPath:                    {http.MethodPost, noToken, corpToken},
	"/v1.0/oauth2/jsapiTickets":      {http.MethodPost, needsAppToken, jsapiTicket},
	"/v1.0/contact/users/me":         {http.MethodGet, needsUserToken, me},
	leaveRecordsPath:                 {http.MethodGet, needsAppToken, leaveRecords},
	migratedPath:                     {http.MethodGet, needsAppToken, migrations("unionId", true)},
	originalPath:                     {http.MethodGet, needsAppToken, migrations("migrationUnionId", false)},
	authRulesPath:                    {http.MethodGet, needsUserToken, authRules},
	mePath:                           {http.MethodGet, needsUserToken, me},
	"/v1.0/gateway/connections/open": {http.MethodPost, noToken, openConnection},
}

func isNew(path string) bool { return strings.HasPrefix(path, "/v1.0/") }

// newName finds the endpoint of a path, which may hold a variable segment.
func newName(path string) (string, bool) {
	if _, ok := newCalls[path]; ok && !strings.Contains(path, "{") {
		return path, true
	}
	switch s := strings.Split(path, "/"); {
	case len(s) == 5 && path == "/v1.0/oauth2/"+s[3]+"/token" && s[3] != "":
		return corpTokenPath, true
	case len(s) == 5 && path == "/v1.0/contact/users/"+s[4] && s[4] != "":
		return mePath, true
	}
	return "", false
}

func (n newCall) serve(p *Platform, w http.ResponseWriter, r *http.Request, body []byte) {
	if r.Method != n.method {
		unknownNew(p, w, r, body)
		return
	}
	result, apiErr := dispatchNew(p, n, r, body)
	if apiErr != nil {
		apiErr.writeNew(w)
		return
	}
	writeJSON(w, http.StatusOK, result)
}

// dispatchNew requires JSON, and the token in its own header: `Authorization: Bearer` is ignored.
func dispatchNew(p *Platform, n newCall, r *http.Request, body []byte) (any, *apiError) {
	c := &call{r: r}
	if n.method == http.MethodPost {
		kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if kind != "application/json" || len(body) == 0 {
			return nil, apiErrorFor("Missingbody")
		}
		var ok bool
		if c.args, ok = object(body); !ok {
			return nil, apiErrorFor("invalidParameter")
		}
	}
	if s := strings.Split(r.URL.Path, "/"); len(s) == 5 {
		c.segment = s[3]
		if s[2] == "contact" {
			c.segment = s[4]
		}
	}
	defer p.lock()()
	token := r.Header.Get("x-acs-dingtalk-access-token")
	if n.token != noToken && token == "" {
		return nil, apiErrorFor("AuthenticationFailed.MissingParameter").withText("缺少参数：x-acs-dingtalk-access-token")
	}
	var apiErr *apiError
	switch n.token {
	case needsAppToken:
		c.app, apiErr = p.credentials.appTokenOwner(p.now(), token)
	case needsUserToken:
		c.app, c.user, apiErr = p.credentials.userTokenOwner(p.now(), token)
	}
	if apiErr == nil && c.app != nil {
		apiErr = checkAPIAccess(p, c.app, r, "")
	}
	if apiErr != nil {
		return nil, apiErr
	}
	return n.do(p, c)
}

// me is GET /v1.0/contact/users/me: the account, whose data no organisation has verified.
func me(p *Platform, c *call) (any, *apiError) {
	if !c.app.hasPermission("Contact.User.Read") || !c.user.grant {
		return nil, deniedPermission(c.app, "Contact.User.Read")
	}
	who := p.org.person(c.user.person)
	if who == nil || c.segment != "me" && c.segment != who.UnionID {
		return nil, apiErrorFor("invalidParameter.user.notFound")
	}
	answer := map[string]any{"nick": who.Nick, "unionId": who.UnionID,
		"openId": digest("open", c.app.ClientID, who.UnionID), "visitor": who.Visitor}
	optional(answer, "avatarUrl", who.Avatar)
	optional(answer, "email", who.OwnEmail)
	optional(answer, "loginEmail", who.LoginEmail)
	if c.app.hasPermission("Contact.User.mobile") && who.Mobile != "" {
		answer["mobile"], answer["stateCode"] = who.Mobile, "86"
	}
	return answer, nil
}

// personalPoints are the permission points that a person grants on the page of prompt=consent.
var personalPoints = []string{"Contact.User.Read", "Contact.User.mobile"}

// authRules is GET /v1.0/oauth2/authRules/user: what the token's owner has granted this app.
// The fields of the real answer are not documented.
func authRules(_ *Platform, c *call) (any, *apiError) {
	rules := []map[string]string{}
	for _, point := range c.user.agreed {
		rules = append(rules, map[string]string{"scope": point})
	}
	return map[string]any{"authRules": rules}, nil
}

// optional leaves a field out that has no value, as DingTalk does.
func optional(m map[string]any, name, value string) {
	if value != "" {
		m[name] = value
	}
}

func unknownNew(_ *Platform, w http.ResponseWriter, _ *http.Request, _ []byte) {
	writeJSON(w, http.StatusOK, map[string]any{"errcode": 404, "errmsg": "请求的URI地址不存在"})
}
