package dingtalk

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"dinggate/internal/identity"
)

const (
	tokenLife = 7200 * time.Second // when the answer names none
	renewAt   = 10 * time.Minute   // before the end
	retryAt   = 30 * time.Second   // after a renewal that failed while the old token still lives
)

// appToken is the app's own token: one per app, the same for all people.
// DingTalk throttles an app that asks for it often, so it is cached and fetched by
// one call at a time.
type appToken struct {
	mu      sync.Mutex
	text    string
	renew   time.Time // from here on a new one is due
	expires time.Time
	group   singleflight.Group
}

// current gives the cached token. due says that a new one should be fetched;
// an expired token is "".
func (t *appToken) current(now time.Time) (text string, due bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text == "" || !now.Before(t.expires) {
		return "", true
	}
	return t.text, !now.Before(t.renew)
}

// TokenExpires is when the app token that is cached ends; zero while there is none.
func (c *Client) TokenExpires() time.Time {
	c.token.mu.Lock()
	defer c.token.mu.Unlock()
	if c.token.text == "" {
		return time.Time{}
	}
	return c.token.expires
}

// drop forgets a token that DingTalk refused, unless it was replaced meanwhile:
// of a hundred calls with the same dead token one causes a renewal.
func (t *appToken) drop(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text == text {
		t.text = ""
	}
}

func (t *appToken) keep(text string, now time.Time, life time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text, t.expires = text, now.Add(life)
	t.renew = now.Add(max(life-renewAt, life/2))
}

// postpone keeps a renewal that failed from being tried on every call.
func (t *appToken) postpone(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.renew = now.Add(retryAt)
}

// appToken gives the app's token, from the cache where it can. All who wait
// share one call, and that call goes on when one of them gives up. A renewal
// that fails early is no failure: the old token still works.
func (c *Client) appToken(ctx context.Context) (string, error) {
	old, due := c.token.current(c.now())
	if !due {
		return old, nil
	}
	shared := context.WithoutCancel(ctx)
	fetched := c.token.group.DoChan("", func() (any, error) { return c.fetchToken(shared) })
	select {
	case r := <-fetched:
		if r.Err == nil {
			return r.Val.(string), nil
		}
		if old != "" {
			c.token.postpone(c.now())
			return old, nil
		}
		return "", r.Err
	case <-ctx.Done():
		return "", noAnswer(transportError(ctx, pathAppToken, ctx.Err(), nil)).failure()
	}
}

func (c *Client) fetchToken(ctx context.Context) (string, error) {
	if text, due := c.token.current(c.now()); !due { // another call was quicker
		return text, nil
	}
	var got tokenAnswer
	body := map[string]string{"appKey": c.Config.ClientID, "appSecret": c.Config.ClientSecret.Reveal()}
	if err := c.do(ctx, request{host: hostNew, path: pathAppToken, body: body}, &got); err != nil {
		return "", err
	}
	if !validToken(got.AccessToken) {
		return "", badAnswer(pathAppToken, formatError("no usable accessToken")).failure()
	}
	c.token.keep(got.AccessToken, c.now(), got.life())
	return got.AccessToken, nil
}

// tokenAnswer is the answer of accessToken and of userAccessToken.
type tokenAnswer struct {
	AccessToken  string   `json:"accessToken"`
	RefreshToken string   `json:"refreshToken"`
	ExpireIn     *flexInt `json:"expireIn"`
	ExpiresIn    *flexInt `json:"expiresIn"` // DingTalk's own command line tool calls it so
	CorpID       string   `json:"corpId"`
}

// life is how long the token lives, in reason: a nonsense number must neither
// make a token eternal nor have it fetched on every call.
func (t tokenAnswer) life() time.Duration {
	for _, n := range []*flexInt{t.ExpireIn, t.ExpiresIn} {
		if n != nil && *n > 0 {
			return time.Duration(min(max(*n, 60), 86400)) * time.Second
		}
	}
	return tokenLife
}

func (t tokenAnswer) token(now time.Time) identity.Token {
	return identity.Token{Access: t.AccessToken, Refresh: t.RefreshToken, Expires: now.Add(t.life())}
}

// validToken reports whether s can travel in a header and a query.
func validToken(s string) bool {
	if s == "" || len(s) > 4096 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
