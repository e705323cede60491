package dingtalk

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"dinggate/internal/identity"
)

const (
	tokenLife = 7200 * time.Second // if the response has no expiry
	renewAt   = 10 * time.Minute   // before the expiry
	retryAt   = 30 * time.Second   // after a renewal failed while the old token is valid

	renewPatience = 500 * time.Millisecond // for a renewal while the old token is valid
)

// appToken is the app's own token: one per app, for all people. DingTalk throttles an
// app that requests it often, so it is cached, and one call at a time fetches it.
type appToken struct {
	mu      sync.Mutex
	text    string
	renew   time.Time // when to fetch a new one
	expires time.Time
	group   singleflight.Group
}

// current returns the cached token, "" if it has expired. due reports that a new one
// should be fetched.
func (t *appToken) current(now time.Time) (text string, due bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text == "" || !now.Before(t.expires) {
		return "", true
	}
	return t.text, !now.Before(t.renew)
}

// TokenExpires is the expiry of the cached app token; zero if there is none.
func (c *Client) TokenExpires() time.Time {
	c.token.mu.Lock()
	defer c.token.mu.Unlock()
	if c.token.text == "" {
		return time.Time{}
	}
	return c.token.expires
}

// drop forgets a token that DingTalk refused, unless it was replaced meanwhile: of a
// hundred calls with the same expired token, one causes a renewal.
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

// postpone delays the next attempt after a failed renewal; a token that has expired or
// was dropped is fetched again in any case.
func (t *appToken) postpone(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.renew = now.Add(retryAt)
}

// appToken returns the app's token, from the cache if possible. Concurrent callers
// share one call, which continues if one of them gives up. A failed renewal before
// the expiry is not an error, and a slow one delays no call: the old token is still
// valid.
func (c *Client) appToken(ctx context.Context) (string, error) {
	old, due := c.token.current(c.now())
	if !due {
		return old, nil
	}
	shared := context.WithoutCancel(ctx)
	fetched := c.token.group.DoChan("", func() (any, error) {
		text, err := c.fetchToken(shared)
		if err != nil {
			c.token.postpone(c.now())
		}
		return text, err
	})
	var patience <-chan time.Time // never, without an old token
	if old != "" {
		timer := time.NewTimer(renewPatience)
		defer timer.Stop()
		patience = timer.C
	}
	select {
	case r := <-fetched:
		if r.Err == nil {
			return r.Val.(string), nil
		}
		if old != "" {
			return old, nil
		}
		return "", r.Err
	case <-patience:
		return old, nil
	case <-ctx.Done():
		return "", noAnswer(transportError(ctx, pathAppToken, ctx.Err(), nil)).failure()
	}
}

func (c *Client) fetchToken(ctx context.Context) (string, error) {
	if text, due := c.token.current(c.now()); !due { // another call fetched it
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

// tokenAnswer is the response of accessToken and userAccessToken.
type tokenAnswer struct {
	AccessToken  string   `json:"accessToken"`
	RefreshToken string   `json:"refreshToken"`
	ExpireIn     *flexInt `json:"expireIn"`
	ExpiresIn    *flexInt `json:"expiresIn"` // the name in DingTalk's own command-line tool
	CorpID       string   `json:"corpId"`
}

// life bounds the token's lifetime: an absurd number must neither make a token
// permanent nor cause a fetch on every call.
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

// validToken reports whether s is safe in a header and a query.
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
