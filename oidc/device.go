package oidc

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
	"dinggate/store/grant"
)

// device is a grant that a program without a browser waits for (RFC 8628).
type device struct {
	UserCode string
	Place    string // the address of the program, for the page
	Approved bool
	Denied   bool
	Polled   time.Time
	Interval time.Duration
}

const (
	deviceLife     = 10 * time.Minute
	deviceInterval = 5 * time.Second
	deviceSlower   = 5 * time.Second
	deviceFlood    = time.Second // polls at a shorter interval are not recorded
	userCodeLength = 8
	deviceSwaps    = 8

	// Letters without vowels and without similar ones: they form no words.
	userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"
)

// userCodeRecord maps a user code to its grant.
type userCodeRecord struct{ Family string }

func userCodeKey(code string) string { return recordKey("user_code", code) }

func newUserCode() string {
	code := make([]byte, 0, userCodeLength)
	for len(code) < userCodeLength {
		var b [1]byte
		rand.Read(b[:])
		if b[0] < 240 { // the largest multiple of 20, so that all letters are equally likely
			code = append(code, userCodeLetters[b[0]%20])
		}
	}
	return string(code)
}

// readUserCode parses a typed code: any letter case, with dashes and blanks.
func readUserCode(text string) (string, bool) {
	code := strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(text))
	if len(code) != userCodeLength || strings.Trim(code, userCodeLetters) != "" {
		return "", false
	}
	return code, true
}

func shownUserCode(code string) string { return code[:4] + "-" + code[4:] }

// DeviceAuthorization is the device authorization endpoint (RFC 8628): it issues a device code to a
// program without a browser, and the code that a person types at Device.
func (p *Provider) DeviceAuthorization(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "oidc_device_authorization"
	form, f := p.called(w, r)
	var c *client
	if f == nil {
		c, f = p.authenticate(w, r, form)
	}
	if f == nil && form.get("resource") != "" {
		f = fail(
			"invalid_target",
			"no resource is known",
			"the application requests a token for a resource; none is configured",
		)
	}
	if f == nil {
		if _, ok := p.counts().devices.Allow(devicesLimit, ratelimit.Client(x.Client), p.now()); !ok {
			f = tooMany("too many device codes from this address")
		}
	}
	if f != nil {
		return p.refuse(w, r, "device_authorization", c, f)
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	d := &device{UserCode: newUserCode(), Place: x.Client.String(), Interval: deviceInterval}
	code, family, err := p.Grants.Issue(
		ctx,
		given{Client: c.ClientID, Scope: knownScopes(strings.Fields(form.get("scope"))), Device: d},
		deviceLife,
	)
	if err == nil {
		err = p.records().write(ctx, userCodeKey(d.UserCode), nil, userCodeRecord{family.String()}, deviceLife)
	}
	if err != nil {
		return p.refuse(w, r, "device_authorization", c, unavailable(err))
	}
	p.measure(c.ClientID, "device_authorization", "ok")
	shown := shownUserCode(d.UserCode)
	return web.JSON(w, r, http.StatusOK, struct {
		DeviceCode string `json:"device_code"`
		UserCode   string `json:"user_code"`
		URI        string `json:"verification_uri"`
		Complete   string `json:"verification_uri_complete"`
		ExpiresIn  int64  `json:"expires_in"`
		Interval   int64  `json:"interval"`
	}{code, shown, p.Issuer + PathDevice, p.Issuer + PathDevice + "?user_code=" + shown, int64(deviceLife / time.Second),
		int64(deviceInterval / time.Second)})
}

// device answers a poll.
func (t *tokenCall) device() (tokenAnswer, *failure) {
	p, code := t.p, t.form.get("device_code")
	if code == "" {
		return tokenAnswer{}, invalidRequest("device_code is missing")
	}
	for range deviceSwaps {
		g, family, err := p.Grants.ByCode(t.ctx, code)
		switch {
		case errors.Is(err, grant.ErrForeign):
			return tokenAnswer{}, invalidGrant("not a device code of this provider")
		case errors.Is(err, grant.ErrNone):
			return tokenAnswer{}, fail(
				"expired_token",
				"the device code has expired",
				"it was not confirmed within %v, or it was used",
				deviceLife,
			)
		case err != nil:
			return tokenAnswer{}, unavailable(err)
		}
		var what given
		if err := g.Read(&what); err != nil || what.Device == nil || what.Client != t.c.ClientID {
			return tokenAnswer{}, invalidGrant("the device code is another client's, or an authorization code")
		}
		switch {
		case g.Live:
			return tokenAnswer{}, t.reused(family, &what, "device_code_reused")
		case what.Device.Denied:
			if _, err := p.Grants.End(t.ctx, family); err != nil {
				return tokenAnswer{}, unavailable(err)
			}
			return tokenAnswer{}, fail("access_denied", "the person refused", "the person refused")
		case what.Device.Approved:
			return t.redeem(g, &what)
		}
		f, err := t.polled(g, &what)
		if !errors.Is(err, grant.ErrReused) { // otherwise the person has just decided
			return tokenAnswer{}, f
		}
	}
	return tokenAnswer{}, unavailable(errors.New("the record changes all the time"))
}

// polled records a poll. A poll that is too early lengthens the interval.
func (t *tokenCall) polled(g *grant.Grant, what *given) (*failure, error) {
	d, now := what.Device, t.p.now()
	slow := fail("slow_down", "the device polls too often", "the program polls more often than every %v", d.Interval)
	age := now.Sub(d.Polled)
	if age >= 0 && age < deviceFlood {
		return slow, nil
	}
	f := fail("authorization_pending", "not confirmed yet", "not confirmed yet")
	if age >= 0 && age < d.Interval {
		d.Interval += deviceSlower
		f = slow
	}
	d.Polled = now
	err := t.p.Grants.Update(t.ctx, g, what)
	switch {
	case errors.Is(err, grant.ErrNone):
		return fail("expired_token", "the device code has expired", "it ended meanwhile"), nil
	case err != nil && !errors.Is(err, grant.ErrReused):
		return unavailable(err), nil
	}
	return f, err
}
