package login

import (
	"net/netip"
	"time"

	"dinggate/internal/ratelimit"
)

// Counts is who began and who ended how many sign-ins lately. It outlives a
// Flow: were it made anew with the configuration, each reload would give
// everybody their allowance back. The zero value is nobody; safe for concurrent
// use.
type Counts struct {
	starts, exchanges ratelimit.Keyed[netip.Prefix]
	signIns           ratelimit.Keyed[signInKey]
}

// signInKey is who signs in, as sign-ins are counted.
type signInKey struct {
	local             bool
	unionID, username string
}

func (f *Flow) counts() *Counts {
	if f.Counts != nil {
		return f.Counts
	}
	return &f.own
}

// The usual limits. Many people share one address (an office, a proxy nobody
// was told to trust), and a start costs nothing but a seal. An exchange calls
// DingTalk, which answers one app about 20 times a second: one address must not
// be able to use that up (threats D6). One that signs somebody in is given back.
var (
	startsLimit    = ratelimit.Rate{Every: time.Second / 20, Burst: 600}
	exchangesLimit = ratelimit.Rate{Every: time.Second / 5, Burst: 60}

	// Of one person or account: each session that is signed out is remembered for
	// as long as it could have lived (threats D14).
	signInsLimit = ratelimit.Rate{Every: 10 * time.Second, Burst: 3000}
)
