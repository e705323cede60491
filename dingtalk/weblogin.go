package dingtalk

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"dinggate/internal/identity"
)

// WebLogin is the sign-in of a browser: DingTalk's page, then a code.
// Safe for concurrent use.
type WebLogin struct {
	Client    *Client
	Directory *Directory
}

// AuthURL is where the browser signs in. redirectURI must be the registered
// one to the letter. prompt=consent is not optional: without it the login comes
// back without the personal grant, and users/me answers 403. The parameters are
// hints that the person can edit; nothing is decided by them (threats K13).
func (l *WebLogin) AuthURL(redirectURI, state string) string {
	c := &l.Client.Config
	return address(c.LoginURL, defaultLoginURL) + "/oauth2/auth" +
		"?redirect_uri=" + escape(redirectURI) +
		"&response_type=code" +
		"&client_id=" + escape(c.ClientID) +
		"&scope=openid%20corpid" + // a blank; neither comma nor plus is understood everywhere
		"&corpId=" + escape(c.CorpID) +
		"&prompt=consent" +
		"&state=" + escape(state)
}

// escape is url.QueryEscape with %20 for a blank.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// Exchange turns the browser's code into a person of the organisation. The
// code is sent once. The caller has compared the state; DingTalk wants it no
// more. The returned token is the person's own; it proves nothing about
// membership.
//
// Any error is an *identity.Failure; the user is complete or absent. All calls
// together take Client.Timeout at most. With a Client.Budget the caller had its
// turn from Enter.
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
	var nobody identity.User
	got, err := l.Client.userToken(ctx, code)
	if err != nil {
		return nobody, identity.Token{}, err
	}
	// The people choose the organisation on DingTalk's page. Absent means only
	// that the scope did not ask: the membership check decides (threats K3).
	if got.CorpID != "" && got.CorpID != l.Client.Config.CorpID {
		stranger := identity.Subject{}
		if unionID, err := l.Client.me(ctx, got.AccessToken); err == nil { // for the record of the refusal alone
			stranger.UnionID = unionID
		}
		return nobody, identity.Token{},
			identity.About(refuse("wrong_organisation", "signed in for another organisation"), stranger)
	}
	token := got.token(l.Client.now())
	unionID, err := l.Client.me(ctx, got.AccessToken)
	if err != nil {
		return nobody, identity.Token{}, err
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

// me asks whose token it is. Only unionId is read: mail and number of this
// answer belong to the account, not to the organisation, and the person chooses
// the nickname (threats K8, K9).
func (c *Client) me(ctx context.Context, token string) (unionID string, err error) {
	var got struct {
		UnionID string `json:"unionId"`
	}
	err = c.do(ctx, request{host: hostNew, path: pathMe, method: "GET", user: token}, &got)
	if err == nil && !validID(got.UnionID) {
		err = badAnswer(pathMe, formatError("no unionId")).failure()
	}
	return got.UnionID, err
}

// signIn makes err final for a sign-in: what no table knows refuses there,
// where a recheck would only wait.
func signIn(err error) error {
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Code == unrecognized {
		final := *f
		final.Class = identity.Refused
		return &final
	}
	return err
}

// refuse is a definite refusal by this program, not by DingTalk.
func refuse(code, why string) *identity.Failure {
	return &identity.Failure{
		Class: identity.Refused,
		Code:  code,
		Hint:  hints[code],
		Err:   fmt.Errorf("dingtalk: %s", why),
	}
}

// codeRejected refuses a code that cannot be one, without a call (threats D6).
func codeRejected() *identity.Failure {
	return &identity.Failure{
		Class: identity.Restart,
		Code:  "code_rejected",
		Err:   errors.New("dingtalk: the code is empty, too long or unprintable"),
	}
}

func validCode(code string) bool { return validToken(code) && len(code) <= 1024 }

// secretForms lists the spellings in which an answer may echo a secret.
func secretForms(secret string) redactor { return redactor{secret, url.QueryEscape(secret)} }
