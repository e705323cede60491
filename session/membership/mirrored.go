package membership

import (
	"time"

	"dinggate/internal/identity"
)

// mirrorMargin is the part of Checker.Recheck by which a confirmation by the mirror
// may be older before a lookup: the next reading is expected soon.
const mirrorMargin = 10

// Consult confirms p by the mirror of the directory if it has the same record; it
// never changes a profile. soon reports that p is confirmed by the mirror and that its
// next reading is in time, so that no lookup is needed yet.
func (c *Checker[S]) Consult(p *Member, now time.Time) (soon bool) {
	known := p.profile.Load()
	if c.Mirrored == nil || known == nil || known.User.Local {
		return false
	}
	read := c.Mirrored(&known.User)
	// A person whom an event named since is looked up: the mirror may be older.
	if read.IsZero() || read.UnixMilli() < p.invalidated.Load() || read.Before(p.since()) || read.Sub(now) > skew {
		return false
	}
	if Newer(read, known.Checked, now) {
		c.learn(p, Profile{User: known.User, Checked: read}, false)
	}
	return now.Sub(read) < c.Recheck+c.Recheck/mirrorMargin
}

// ConsultAll confirms every known member by a new reading of the mirror.
func (c *Checker[S]) ConsultAll(now time.Time) {
	for _, p := range c.Members.Matching(func(identity.User) bool { return true }) {
		c.Consult(p, now)
	}
}
