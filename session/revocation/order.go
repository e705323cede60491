package revocation

import (
	"time"

	"dinggate/internal/identity"
)

// Order returns the time that a session begun now has to carry as its sign-in. since is a time
// before the provider was called, by the clock of this process.
//
// The revocations that may end the session carry times of other replicas' clocks. The order in
// which this process learned of them is certain: one that it knew before since does not end the
// session, and one that it has learned of since does, whatever the clocks say (threats K18, V18).
// Times more than apart from each other are not compared like this: the end is an old one, or the
// clock that it carries is wrong.
func (r *Set) Order(since time.Time, s Session, keys [3]identity.Key, apart time.Duration) time.Time {
	r.mu.RLock()
	defer r.mu.RUnlock()
	ends := []Revocation{r.revokedBefore}
	for _, key := range keys {
		if v, ok := r.people[key]; ok {
			ends = append(ends, v)
		}
	}
	begins := since
	for _, v := range ends {
		s.SignedIn = v.Before
		switch {
		case v.known.IsZero() || !v.ends(s) || v.Before.Sub(since).Abs() > apart:
		case !since.After(v.known):
			if v.Before.Before(since) {
				return v.Before
			}
			return since
		case !begins.After(v.Before):
			begins = v.Before.Add(time.Millisecond)
		}
	}
	return begins
}
