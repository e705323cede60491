package dingtalk

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"dinggate/internal/identity"
)

// WebLogin is the sign-in of a browser: DingTalk's page, then a code. It is safe for
// concurrent use.
type WebLogin struct {
	Client    *Client
	Directory *Directory
}

// AuthURL is where the browser signs in. redirectURI must equal the registered one
// exactly. prompt=consent is required: without it the sign-in lacks the personal
// grant, and users/me answers 403. A person can edit the other parameters; no
// decision depends on them (threats K13).
func (l *WebLogin) AuthURL(redirectURI, state string) string {
	c := &l.Client.Config
	return address(c.LoginURL, defaultLoginURL) + "/oauth2/auth" +
		"?redirect_uri=" + escape(redirectURI) +
		"&response_type=code" +
		"&client_id=" + escape(c.ClientID) +
		"&scope=openid%20corpid" + // a space; not every version accepts a comma or a plus
		"&corpId=" + escape(c.CorpID) +
		"&prompt=consent" +
		"&state=" + escape(state)
}

// escape is url.QueryEscape with %20 for a space.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// Exchange turns the browser's code into a member of the organisation. The code is
// sent once. The caller has compared the state; DingTalk does not need it. The
// returned token is the person's own; it does not prove membership.
//
// Any error is an *identity.Failure; the user is complete or absent. All calls
// together take at most Client.Timeout. With a Client.Budget, call Enter first.
func (l *WebLogin) Exchange(ctx context.Context, code, _ string) (identity.User, identity.Token, error) {
	ctx, cancel := l.Client.deadline(ctx)
	defer cancel()
	u, t, err := l.exchange(reserved(ctx), code)
	if err != nil {
		return identity.User{}, identity.Token{}, signIn(err)
	}
	return u, t, nil
}

func (l *WebLogin) exchange(ctx context.Context, code string) (identity.User, identity.Token, error) {
	var none identity.User
	got, err := l.Client.userToken(ctx, code)
	if err != nil {
		return none, identity.Token{}, err
	}
	// People choose the organisation on DingTalk's page. An absent corpId only means
	// that the scope did not request it: the membership check decides (threats K3).
	if got.CorpID != "" && got.CorpID != l.Client.Config.CorpID {
		stranger := identity.Subject{}
		if unionID, err := l.Client.me(ctx, got.AccessToken); err == nil { // only for the record of the refusal
			stranger.UnionID = unionID
		}
		return none, identity.Token{},
			identity.About(refuse("wrong_organisation", "signed in for another organisation"), stranger)
	}
	token := got.token(l.Client.now())
	unionID, err := l.Client.me(ctx, got.AccessToken)
	if err != nil {
		return none, identity.Token{}, l.Client.consent(ctx, got.AccessToken, err)
	}
	u, err := l.Directory.Person(ctx, unionID)
	return u, token, err
}

// userToken spends the code.
func (c *Client) userToken(ctx context.Context, code string) (tokenAnswer, error) {
	if !validCode(code) {
		return tokenAnswer{}, codeRejected()
	}
	var got tokenAnswer
	body := map[string]string{"clientId": c.Config.ClientID, "clientSecret": c.Config.ClientSecret.Reveal(),
		"grantType": "authorization_code", "code": code}
	err := c.do(ctx,
		request{host: hostNew, path: pathUserToken, body: body, single: true, secrets: secretForms(code)}, &got)
	if err == nil && (!validToken(got.AccessToken) || got.RefreshToken != "" && !validToken(got.RefreshToken)) {
		err = badAnswer(pathUserToken, formatError("no usable accessToken")).failure()
	}
	return got, err
}

// me returns the owner of a token. It reads unionId only: the e-mail address and phone
// number in this answer belong to the account, not to the organisation, and the
// person chooses the nickname (threats K8, K9).
func (c *Client) me(ctx context.Context, token string) (unionID string, err error) {
	var got struct {
		UnionID string `json:"unionId"`
	}
	err = c.do(ctx, request{host: hostNew, path: pathMe, method: "GET", user: token}, &got)
	if err == nil && !validID(got.UnionID) {
		err = badAnswer(pathMe, formatError("no unionId")).failure()
	}
	if err == nil {
		c.readAccounts.Store(true)
	}
	return got.UnionID, err
}

// signIn makes err final for a sign-in: an unknown code refuses the sign-in, whereas a
// recheck is retried.
func signIn(err error) error {
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Code == unrecognized {
		final := *f
		final.Class = identity.Refused
		return &final
	}
	return err
}

// refuse returns a definite refusal by this program, not by DingTalk.
func refuse(code, why string) *identity.Failure {
	return &identity.Failure{
		Class: identity.Refused,
		Code:  code,
		Hint:  hints[code],
		Err:   fmt.Errorf("dingtalk: %s", why),
	}
}

// codeRejected refuses a malformed code without a call (threats D6).
func codeRejected() *identity.Failure {
	return &identity.Failure{
		Class: identity.Restart,
		Code:  "code_rejected",
		Err:   errors.New("dingtalk: the code is empty, too long or unprintable"),
	}
}

func validCode(code string) bool { return validToken(code) && len(code) <= 1024 }

// secretForms lists the encodings in which an answer may echo a secret.
func secretForms(secret string) redactor { return redactor{secret, url.QueryEscape(secret)} }
