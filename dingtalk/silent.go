package dingtalk

import (
	"context"
	"strings"

	"dinggate/internal/identity"
)

// SilentLogin is the sign-in inside the DingTalk client (免登): the page gets a
// code without interaction. Codes of this kind and of WebLogin are never mixed.
// It is safe for concurrent use.
type SilentLogin struct {
	Client    *Client
	Directory *Directory
}

// Exchange turns the client's code into a member of the organisation. The same
// membership check follows, because DingTalk also identifies external contacts.
// The code is sent once.
//
// Any error is an *identity.Failure; the user is complete or absent.
func (l *SilentLogin) Exchange(ctx context.Context, code string) (identity.User, error) {
	ctx, cancel := l.Client.deadline(ctx)
	defer cancel()
	u, err := l.exchange(reserved(ctx), code)
	if err != nil {
		return identity.User{}, signIn(err)
	}
	return u, nil
}

func (l *SilentLogin) exchange(ctx context.Context, code string) (identity.User, error) {
	if !validCode(code) {
		return identity.User{}, codeRejected()
	}
	var got struct {
		UserID  string `json:"userid"`
		UnionID string `json:"unionid"`
		Name    string `json:"name"` // for the log only: the organisation's record has the name
	}
	q := request{
		host:    hostOld,
		path:    pathGetUserInfo,
		body:    map[string]string{"code": code},
		single:  true,
		secrets: secretForms(code),
	}
	if err := l.Client.do(ctx, q, &got); err != nil {
		return identity.User{}, err
	}
	if !validID(got.UserID) || !validID(got.UnionID) {
		return identity.User{}, badAnswer(pathGetUserInfo, formatError("no userid or unionid")).failure()
	}
	subject := identity.Subject{UserID: got.UserID, Name: strings.TrimSpace(got.Name), UnionID: got.UnionID}
	u, err := l.Directory.Person(ctx, got.UnionID)
	if err != nil {
		return identity.User{}, identity.About(err, subject)
	}
	if u.UserID != got.UserID {
		return identity.User{}, identity.About(refuse("not_member", "the code's userid is another person's"), subject)
	}
	return u, nil
}
