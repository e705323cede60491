package server

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
	"dinggate/session"
	"dinggate/session/membership"
)

// budget is the limit on calls to DingTalk that all replicas share. With Redis it is
// stored there; otherwise this process is the only replica.
func (s *State) budget(cfg *config.Config) *ratelimit.Budget {
	if cfg.SSO.On() {
		return nil
	}
	b := &ratelimit.Budget{Shared: s.calls, Rate: cfg.DingTalk.Rate}
	if s.Stores.Redis != nil {
		b.Shared = s.Stores.Redis.Allowance(cfg.DingTalk.ClientID)
	}
	return b
}

// overdueAfter is how long after it is due a recheck takes precedence over those that an
// event requests and over those that became due lately: in the last third of the grace
// period. A request of that person waits, or soon will. If it were shorter and DingTalk's
// limit too low for everyone, all people would be overdue, and a person who returns after
// half an hour would be behind all lookups of all replicas. With 10,000 people, individual
// lookups and 30 s here, 129 of 400 returning people were refused: their turn came after
// 2 s, and a request waits 0.8 s.
func overdueAfter(grace time.Duration) time.Duration { return max(30*time.Second, grace/3*2) }

// recheck looks members up with the priority of each. A lookup without a turn in the
// budget is no evidence about the person.
func recheck(cfg *config.Config, client *dingtalk.Client) recheckFunc {
	directory := &dingtalk.Directory{Client: client, Username: cfg.DingTalk.Username, Ancestors: cfg.NamesDepartments()}
	return func(ctx context.Context, s *session.Session) (identity.User, error) {
		u, err := directory.Person(inTurn(ctx, s, cfg.Session), s.User.UnionID)
		if errors.Is(err, ratelimit.ErrNoTurn) || errors.Is(err, ratelimit.ErrFull) {
			return identity.User{}, errors.Join(membership.ErrPostponed, err)
		}
		if err == nil && u.UserID != s.User.UserID { // the userid was assigned to another person (threats K10)
			err = &identity.Failure{
				Class: identity.Refused,
				Code:  "not_member",
				Err:   errors.New("the organisation knows this person under another userid now"),
			}
		}
		if f, ok := errors.AsType[*identity.Failure](err); ok && f.Code == "not_member" && s.User.UserID != "" {
			err = other(ctx, directory, s.User, f)
		}
		return u, err
	}
}

// other determines why a person is no longer a member, before the person's grants end. A
// migrated account has another unionId, under which the same person signs in again. The
// session ends in every case.
func other(ctx context.Context, d *dingtalk.Directory, u identity.User, refused *identity.Failure) error {
	moved, err := d.Moved(ctx, u.UserID, u.UnionID)
	about := *refused
	switch {
	case err != nil:
		about.Code, about.Err = "account_unsettled", errors.Join(refused.Err, err)
	case moved:
		about.Code, about.Err = "account_migrated", fmt.Errorf("the account was migrated: %w", refused.Err)
	default:
		return refused
	}
	return &about
}

// inTurn gives the calls of a lookup their priority. A person whom an event names precedes
// others of the class: if many are overdue, or everybody is looked up, a lookup that waits
// for all of them times out before its turn.
func inTurn(ctx context.Context, s *session.Session, c session.Config) context.Context {
	named := membership.Named(ctx)
	class := urgency(s, c, named || membership.InRound(ctx))
	if named {
		return dingtalk.WithFirst(ctx, class)
	}
	return dingtalk.WithClass(ctx, class)
}

// urgency returns the priority of a lookup; named means that an event asked for it.
func urgency(s *session.Session, c session.Config, named bool) ratelimit.Class {
	switch {
	case time.Since(s.Checked) > c.Recheck+overdueAfter(c.Grace):
		return ratelimit.Overdue
	case named:
		return ratelimit.Event
	}
	return ratelimit.Due
}

// limitCounts counts the refusals by limits per address.
type limitCounts struct{ starts, exchanges, signIns, passwords atomic.Uint64 }

func (l *limitCounts) of(limit string) *atomic.Uint64 {
	switch limit {
	case "starts":
		return &l.starts
	case "exchanges":
		return &l.exchanges
	case "passwords":
		return &l.passwords
	}
	return &l.signIns
}

func (l *limitCounts) refused(limit string) { l.of(limit).Add(1) }

// measureBudget registers the metrics of the budget and the limits per address.
func (s *State) measureBudget(b *ratelimit.Budget) {
	refused := "Requests that a limit per address or person refused."
	for _, limit := range []string{"starts", "exchanges", "sign_ins", "passwords"} {
		n := s.limited.of(limit)
		s.Metrics.Count("limited_total", refused, "limit", limit, func() float64 { return float64(n.Load()) })
	}
	waiting := "Calls to DingTalk that wait for their turn in this process, by class; sign_in are people in " +
		"front of a page."
	for class, name := range map[ratelimit.Class]string{ratelimit.SignIn: "sign_in", ratelimit.Overdue: "overdue",
		ratelimit.Event: "event", ratelimit.Due: "due"} {
		s.Metrics.GaugeOf("dingtalk_waiting", waiting, "class",
			name, func() float64 { return float64(b.Stats().Waiting[class]) })
	}
	s.Metrics.Gauge("sign_in_queue",
		"Sign-ins waiting on all replicas, at the time of the last sign-in.", func() float64 {
			return float64(b.Stats().Queue)
		})
	s.Metrics.Gauge("sign_in_wait_seconds",
		"How long the last sign-in waited for its turn in one request.", func() float64 {
			return b.Stats().LastWait.Seconds()
		})
	s.Metrics.Gauge("dingtalk_budget_shared",
		"1 while the budget of calls is shared with the other replicas; 0 while Redis does not answer and each "+
			"counts for itself.", func() float64 { return number(s.Stores.sharesBudget(b.Stats())) })
}

// sharesBudget combines the last draw with the health of the store: a replica without
// calls draws nothing, and would report the state of its last call for hours.
func (s *Stores) sharesBudget(b ratelimit.BudgetStats) bool {
	if s.Redis != nil && s.watch.reads() == 0 {
		return false
	}
	return !b.Alone || b.FailedAt.UnixNano() < s.watch.recovered.Load()
}
