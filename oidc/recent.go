package oidc

import "time"

// A client whose rule has `fresh` gets a code, or the confirmation of a device, only for
// a sign-in that is recent enough; otherwise the person signs in again first, and
// `auth_time` moves. Grants that were given are not judged by it: they are no sign-in.

// settles is how long a sign-in that began with a request is new enough for it, whatever
// `fresh` is: otherwise one shorter than the way back would have no end.
const settles = time.Minute

// wantsClick reports whether a silent sign-in is of no use for the client.
func (c *client) wantsClick() bool {
	return c.Access != nil && c.Access.Fresh > 0 && !c.Access.FreshSilent
}

// outdated reports whether a sign-in is too old for the client, or of a kind that does
// not count. since is when the request at hand sent the browser to sign in; zero: it
// did not.
func (c *client) outdated(in *Login, since, now time.Time) bool {
	switch {
	case c.Access == nil || c.Access.Fresh == 0:
		return false
	case in.Silent && !c.Access.FreshSilent:
		return true
	}
	limit := c.Access.Fresh
	if !since.IsZero() && !in.SignedIn.Before(since) {
		limit = max(limit, settles)
	}
	return now.Sub(in.SignedIn) > limit
}

func (a *attempt) outdated() bool {
	return a.in.Session != "" && a.q.client.outdated(&a.in, a.back.Since, a.p.now())
}
