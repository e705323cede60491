package membership

import (
	"time"

	"dinggate/internal/identity"
)

// mirrorMargin is the part of Checker.Recheck by which a confirmation by the mirror may
// be older before the person is looked up: the next reading is about to come.
const mirrorMargin = 10

// Consult has the mirror of the directory confirm p, where it says the same as
// what is known; a profile never changes by it. soon reports that p lives on the
// mirror and that its next reading is in time, so that no lookup is wanted yet.
func (c *Checker[S]) Consult(p *Member, now time.Time) (soon bool) {
	known := p.profile.Load()
	if c.Mirrored == nil || known == nil || known.User.Local {
		return false
	}
	read := c.Mirrored(&known.User)
	// What an event named since is looked up: the mirror may be of before.
	if read.IsZero() || read.UnixMilli() < p.invalidated.Load() || read.Before(p.since()) || read.Sub(now) > skew {
		return false
	}
	if Newer(read, known.Checked, now) {
		c.learn(p, Profile{known.User, read}, false)
	}
	return now.Sub(read) < c.Recheck+c.Recheck/mirrorMargin
}

// ConsultAll has the mirror confirm everybody who is known: it was read anew.
func (c *Checker[S]) ConsultAll(now time.Time) {
	for _, p := range c.Members.Matching(func(identity.User) bool { return true }) {
		c.Consult(p, now)
	}
}
