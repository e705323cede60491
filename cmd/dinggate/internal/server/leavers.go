package server

import (
	"context"
	"errors"
	"time"

	"dinggate/dingtalk"
	"dinggate/session"
)

// leavers ends the sessions of people who left while no event could arrive: from a
// moment on until now. The records of leavers say whom to ask about, the directory
// decides: somebody may have come back.
type leavers struct {
	directory *dingtalk.Directory
	sessions  *session.Manager
	grants    func(ctx context.Context, userID string) error // ends what a leaver was granted
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
