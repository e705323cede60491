package login

import (
	"net/http"
	"net/netip"
	"time"

	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
)

// Limits bounds how often sign-ins begin and end. The zero value has the usual
// limits.
type Limits struct {
	Starts    ratelimit.Rate // attempts begun per client address; zero: 20 a second, 600 at once
	Exchanges ratelimit.Rate // codes redeemed per client address without a sign-in; zero: 5 a second, 60 at once
	SignIns   ratelimit.Rate // sessions begun per person or account; zero: one in 10 s, 3,000 at once

	// Limited is called with the name of the limit that refused a request, for
	// metrics: starts, exchanges, sign_ins. If nil, it is not called.
	Limited func(limit string)

	Counts *Counts // shared with the Flow before this one; nil: counting begins at zero
	own    Counts
}

// Counts holds how many sign-ins each client and each person began and ended
// lately. It outlives a Flow: a new one with each configuration would give
// everybody their allowance back at every reload. The zero value is ready to
// use; safe for concurrent use.
type Counts struct {
	starts, exchanges ratelimit.Keyed[netip.Prefix]
	signIns           ratelimit.Keyed[signInKey]
	leaves            ratelimit.Keyed[string] // by session
}

// signInKey is the person or account whose sign-ins are counted together.
type signInKey struct {
	local             bool
	unionID, username string
}

// limited is the refusal by a limit.
func (l *Limits) limited(name string, wait time.Duration) *web.Error {
	if l.Limited != nil {
		l.Limited(name)
	}
	return &web.Error{Status: http.StatusTooManyRequests, Code: "too_many_attempts", RetryAfter: wait}
}

func (l *Limits) counts() *Counts {
	if l.Counts != nil {
		return l.Counts
	}
	return &l.own
}

// The usual limits. Many people share one address (an office, a proxy that is
// not among the trusted ones), and a start costs nothing but a seal. An exchange calls
// DingTalk, which answers one app about 20 times a second: one address must not
// be able to use that up (threats D6). One that signs somebody in is given back.
var (
	startsLimit    = ratelimit.Rate{Every: time.Second / 20, Burst: 600}
	exchangesLimit = ratelimit.Rate{Every: time.Second / 5, Burst: 60}

	// Of one person or account: each session that is signed out is remembered for
	// as long as it could have lived (threats D14).
	signInsLimit = ratelimit.Rate{Every: 10 * time.Second, Burst: 3000}
)

// mayExchange refuses an address that has brought too many codes or people that
// were refused (threats D6). It counts nothing: see person.
func (f completion) mayExchange(x *web.Exchange) error {
	wait, ok := f.counts().exchanges.Left(f.Exchanges.Or(exchangesLimit), ratelimit.Client(x.Client), f.now())
	if ok {
		return nil
	}
	return f.limited("exchanges", wait)
}
