package login

import (
	"net/http"
	"net/netip"
	"time"

	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
)

// Limits bounds how often sign-ins begin and end. The zero value applies the defaults.
type Limits struct {
	Starts    ratelimit.Rate // attempts begun per client address; 0: 20 a second, 600 at once
	Exchanges ratelimit.Rate // codes redeemed per client address without a sign-in; 0: 5 a second, 60 at once
	SignIns   ratelimit.Rate // sessions begun per person or account; 0: one in 10 s, 3,000 at once

	// Limited is called with the name of the limit that refused a request, for
	// metrics: starts, exchanges, sign_ins. If nil, it is not called.
	Limited func(limit string)

	Counts *Counts // shared with the previous Flow; if nil, counting begins at zero
	own    Counts
}

// Counts counts the recent sign-ins that each client and each person began and completed. It
// outlives a Flow: a new one with each configuration would reset all allowances at every reload.
// The zero value is ready to use; safe for concurrent use.
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

// limited is the answer to a request over a limit.
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

// Default limits. Many people share one address (an office, or a proxy that is not trusted), and a
// start costs only a seal. An exchange calls DingTalk, which answers one app about 20 times a
// second: one address must not be able to use that up (threats D6). An exchange that signs a
// person in is not counted.
var (
	startsLimit    = ratelimit.Rate{Every: time.Second / 20, Burst: 600}
	exchangesLimit = ratelimit.Rate{Every: time.Second / 5, Burst: 60}

	// Per person or account: each session that is signed out is remembered for as long as it could
	// have lived (threats D14).
	signInsLimit = ratelimit.Rate{Every: 10 * time.Second, Burst: 3000}
)

// mayExchange refuses an address that has sent too many codes or people that were refused (threats
// D6). It counts nothing: see person.
func (f completion) mayExchange(x *web.Exchange) error {
	wait, ok := f.counts().exchanges.Left(f.Exchanges.Or(exchangesLimit), ratelimit.Client(x.Client), f.now())
	if ok {
		return nil
	}
	return f.limited("exchanges", wait)
}
