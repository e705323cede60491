package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"dinggate/dingtalk"
	"dinggate/proxy/accessrequest"
	"dinggate/session"
)

// leavers ends the sessions of people who left between a given time and now, without an
// event. The leave records name candidates and the directory decides, because a person
// may have rejoined.
type leavers struct {
	directory *dingtalk.Directory
	sessions  *session.Manager
	grants    func(ctx context.Context, userID string) error // ends a leaver's grants
}

const leaversWithin = 5 * time.Minute

// signOut is called after each connection of the event stream.
func (l *leavers) signOut(ctx context.Context, since time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, leaversWithin)
	defer cancel()
	all, err := l.directory.Client.Leavers(ctx, since)
	if err != nil {
		return err
	}
	var failed []error
	for _, one := range all {
		who := session.Person{UserID: one.UserID}
		id := "left " + one.UserID + " " + one.Left.UTC().Format(time.RFC3339)
		err := l.sessions.Once(ctx, id, func() error { return l.end(ctx, who) })
		if err != nil {
			l.sessions.RecheckUser(who)
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (l *leavers) end(ctx context.Context, who session.Person) error {
	gone, err := l.directory.Gone(ctx, who.UserID)
	if err != nil || !gone {
		return err
	}
	return errors.Join(l.sessions.RevokeUser(ctx, who, "left"), l.grants(ctx, who.UserID))
}

// leaversGrants ends the grants of a person who left the organisation.
func (s *State) leaversGrants(ctx context.Context, userID string) error {
	if g := s.Serving(); g == nil || g.requests == nil || userID == "" {
		return nil
	}
	if err := s.book.EndPerson(ctx, accessrequest.Person{UserID: userID}, accessrequest.EndLeft); err != nil {
		return fmt.Errorf("ending a leaver's grants: %w", err)
	}
	return nil
}

// leaverReasons are the reasons why a session ended that mean that its person left, or is
// not in good standing.
var leaverReasons = []string{"left", "not_member", "disabled", "inactive", "external_contact", "out_of_scope"}

// revoked counts a session that ended before its expiry, and ends the grants of a person
// who left. A leaver's sessions on other replicas end there, and find no grants left.
func (s *State) revoked(one *session.Session, reason string) {
	s.auditEnded(one, reason)
	if !slices.Contains(leaverReasons, reason) {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.leaversGrants(ctx, one.User.UserID); err != nil {
			s.Log.Warn("the grants of a leaver could not be ended", "err", err.Error())
		}
	}()
}
