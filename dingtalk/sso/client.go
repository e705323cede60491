package sso

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"dinggate/internal/httpclient"
	"dinggate/internal/identity"
)

// AttemptParameter is the parameter of our own callback that returns the attempt.
// The contract's authorize has no state, so the attempt is part of redirect_url;
// the `state` in the service's answer is the service's own.
const AttemptParameter = "attempt"

// Client signs people in at a service that implements the contract. Fields must
// not change after the first call. It is safe for concurrent use.
type Client struct {
	Config    ClientConfig
	Transport http.RoundTripper // nil: a transport with deadlines and a limit on idle connections
	Timeout   time.Duration     // of a whole sign-in or lookup; 0 = 8 s
	Now       func() time.Time  // nil = time.Now

	// Observe is called after every call, with the call's context, for metrics, traces and
	// the log. If nil, it is not called.
	Observe func(context.Context, Call)

	once sync.Once
	http httpclient.Clients
}

// Call is one call to the service, as passed to Client.Observe.
type Call struct {
	Name     string // PathToken or PathUserinfo
	Result   string // ok, refused, unavailable, bad_answer
	Duration time.Duration
	Err      error // nil if ok; contains no secret
}

const defaultTimeout = 8 * time.Second

func (c *Client) setUp() { c.once.Do(func() { c.http = httpclient.New(c.Transport) }) }

// CloseIdleConnections closes the idle connections.
func (c *Client) CloseIdleConnections() {
	c.setUp()
	c.http.CloseIdleConnections()
}

func (c *Client) url(path string) string { return strings.TrimSuffix(c.Config.URL, "/") + path }

// AuthURL is where the browser signs in. attempt is returned in redirectURI's query
// as AttemptParameter.
func (c *Client) AuthURL(redirectURI, attempt string) string {
	mark := "?"
	if strings.Contains(redirectURI, "?") {
		mark = "&"
	}
	back := redirectURI + mark + AttemptParameter + "=" + url.QueryEscape(attempt)
	return c.url(PathAuthorize) + "?redirect_url=" + url.QueryEscape(back) + "&client_id=" +
		url.QueryEscape(c.Config.ClientID)
}

// Exchange redeems the code and state of the service, once, and looks the person
// up. Every error is an *identity.Failure.
func (c *Client) Exchange(ctx context.Context, code, state string) (identity.User, identity.Token, error) {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	if state == "" {
		return identity.User{}, identity.Token{},
			failure(identity.Restart, "sso_code_rejected", "", errors.New("the service sent no state"))
	}
	token, err := c.token(ctx, TokenRequest{Code: code, State: state})
	if err != nil {
		return identity.User{}, identity.Token{}, err
	}
	if token.Refresh == "" {
		token.Expires = time.Time{} // the expiry is optional: userinfo reports an expired token
	}
	user, err := c.Person(ctx, token.Access)
	// the service just issued this token
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Class == identity.Refused {
		return identity.User{}, identity.Token{}, failure(identity.Internal, "sso_bad_answer", "", f.Err)
	} else if err != nil {
		return identity.User{}, identity.Token{}, err
	}
	return user, token, nil
}

// Refresh exchanges a refresh token for new tokens. The documented contract has no
// such call; this is the one that our own service offers. A service without it, in
// whatever form it answers, or a token that was used, is a failure of class Refused
// with code sso_over: the person must sign in again. Only an unavailable or
// throttling service is worth a retry.
func (c *Client) Refresh(ctx context.Context, refresh string) (identity.Token, error) {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	token, err := c.token(ctx, TokenRequest{GrantType: "refresh_token", RefreshToken: refresh})
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Class != identity.Later {
		over := *f
		over.Class, over.Code = identity.Refused, "sso_over"
		return identity.Token{}, &over
	}
	if err == nil && token.Refresh == "" {
		token.Refresh = refresh // the service does not rotate refresh tokens
	}
	return token, err
}

// Person looks up the owner of an access token. A token that the service rejects is
// a failure of class Refused with code sso_over.
func (c *Client) Person(ctx context.Context, access string) (identity.User, error) {
	user, _, err := c.Identify(ctx, access)
	return user, err
}

// Identify is Person, and also returns the clients that the token was issued to;
// nil if the service does not report them.
func (c *Client) Identify(ctx context.Context, access string) (user identity.User, audience []string, err error) {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	if !printable(access, maxToken) {
		return user, nil, failure(identity.Refused, "sso_over", "", errors.New("there is no access token"))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(PathUserinfo), nil)
	if err != nil {
		return user, nil, failure(identity.Operator, "sso_misconfigured", "", err)
	}
	r.Header["Authorization"] = []string{access} // without a scheme, as the documentation shows it
	err = c.call(r, PathUserinfo, func(body []byte) error {
		answer, err := readUser(body)
		if err == nil {
			user, audience = answer.user(), answer.audience
		}
		return err
	}, access)
	return user, audience, err
}

func (u *userAnswer) user() identity.User {
	user := identity.User{
		Username:    u.Username,
		Email:       identity.NormalizeEmail(u.Email),
		UserID:      u.UserID,
		UnionID:     u.UnionID,
		Name:        u.Name,
		Departments: u.Departments,
		Ancestors:   u.Departments,
	} // a service does not report the departments above a person's own
	for _, role := range u.Roles {
		if role != "" {
			user.Roles = append(user.Roles, identity.Role{Name: role})
		}
	}
	return user
}

func (c *Client) token(ctx context.Context, q TokenRequest) (identity.Token, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url(PathToken), strings.NewReader(q.String()))
	if err != nil {
		return identity.Token{}, failure(identity.Operator, "sso_misconfigured", "", err)
	}
	r.GetBody = nil // a code is sent once, even if the connection fails
	secret := c.Config.ClientSecret.Reveal()
	r.Header["Authorization"] = []string{basic(c.Config.ClientID, secret)}
	r.Header["Content-Type"] = []string{"text/plain"}
	var token identity.Token
	err = c.call(r, PathToken, func(body []byte) error {
		access, refresh, life, err := readToken(body)
		if err != nil {
			return err
		}
		token = identity.Token{Access: access, Refresh: refresh}
		if life > 0 {
			token.Expires = c.now().Add(life)
		}
		return nil
	}, secret, q.Code, q.State, q.RefreshToken)
	return token, err
}

// call sends a request and reads the whole answer. No error contains one of secrets.
func (c *Client) call(r *http.Request, name string, read func(body []byte) error, secrets ...string) error {
	c.setUp()
	began := time.Now()
	result, f := c.send(r, name, read)
	if f != nil {
		text := f.Err.Error()
		for _, secret := range secrets {
			if secret != "" {
				text = strings.ReplaceAll(strings.ReplaceAll(text, secret, "…"), url.QueryEscape(secret), "…")
			}
		}
		f.Err = fmt.Errorf("sso: calling %s: %s", name, text)
	}
	if c.Observe != nil {
		call := Call{Name: name, Result: result, Duration: time.Since(began)}
		if f != nil {
			call.Err = f
		}
		c.Observe(r.Context(), call)
	}
	if f != nil {
		return f
	}
	return nil
}

func (c *Client) send(r *http.Request, name string, read func(body []byte) error) (result string, f *identity.Failure) {
	r.Header["Accept"] = []string{"application/json"}
	client := c.http.Pooled
	if r.Method == http.MethodPost {
		client = c.http.Fresh
	}
	answer, err := client.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok { // its text contains the whole URL
			err = u.Err
		}
		return "unavailable", failure(identity.Later, "sso_unavailable", "", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return "unavailable", failure(identity.Later, "sso_unavailable", "", err)
	case len(body) > maxAnswer:
		return "bad_answer",
			failure(identity.Internal, "sso_bad_answer", "", errors.New("the answer is larger than 1 MiB"))
	case answer.StatusCode == http.StatusOK:
		if err := read(body); err != nil {
			return "bad_answer", failure(identity.Internal, "sso_bad_answer", hintAnswer, err)
		}
		return "ok", nil
	}
	return refused(name, answer.StatusCode, body)
}

// Hints for the operator: what to check if the service's answers violate the
// contract.
const (
	hintAnswer = "检查 sso.url 是否指向 SSO 服务本身 (is sso.url the SSO service itself, and not a page before it?)"
	hintClient = "检查 sso.client_id 和 sso.client_secret (the SSO service does not know this client_id with this secret)"
)

// refused classifies an answer other than 200.
func refused(name string, status int, body []byte) (string, *identity.Failure) {
	err := fmt.Errorf("status %d%s", status, oauthError(body))
	switch {
	case status == http.StatusTooManyRequests || status >= 500:
		return "unavailable", failure(identity.Later, "sso_unavailable", "", err)
	case name == PathToken && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return "refused", failure(identity.Operator, "sso_misconfigured", hintClient, err)
	case name == PathToken && status == http.StatusBadRequest:
		return "refused", failure(identity.Restart, "sso_code_rejected", "", err)
	case name == PathUserinfo && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return "refused", failure(identity.Refused, "sso_over", "", err)
	}
	return "bad_answer", failure(identity.Internal, "sso_bad_answer", hintAnswer, err)
}

// oauthError returns the `error` of a refusal if it is a plain word. The description
// comes from the service and is not logged.
func oauthError(body []byte) string {
	fields, err := object(body)
	if err != nil {
		return ""
	}
	word, err := text(fields["error"])
	if err != nil || word == "" || len(word) > 40 || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return ""
	}
	return ", " + word
}

func failure(class identity.Class, code, hint string, err error) *identity.Failure {
	return &identity.Failure{Class: class, Code: code, Hint: hint, Err: err}
}

func (c *Client) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Timeout > 0 {
		return context.WithTimeout(ctx, c.Timeout)
	}
	return context.WithTimeout(ctx, defaultTimeout)
}

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}
