package server

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
	"dinggate/session"
	"dinggate/store"
)

// budget is what the calls to DingTalk of all replicas share. With Redis it lies
// there; otherwise this process is the only one that has this state.
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

// overdueAfter is how much later than due a person is looked up before people who
// have only just become due.
const overdueAfter = 30 * time.Second

// recheck looks members up again, each as urgently as it is. A lookup whose turn
// did not come says nothing about the person.
func recheck(cfg *config.Config, client *dingtalk.Client) recheckFunc {
	directory := &dingtalk.Directory{Client: client, Username: cfg.DingTalk.Username, Ancestors: cfg.NamesDepartments()}
	return func(ctx context.Context, s *session.Session) (identity.User, error) {
		u, err := directory.Person(dingtalk.WithClass(ctx, urgency(s, cfg.Session.Recheck)), s.User.UnionID)
		if errors.Is(err, ratelimit.ErrNoTurn) || errors.Is(err, ratelimit.ErrFull) {
			return identity.User{}, errors.Join(store.ErrLimited, err)
		}
		if err == nil && u.UserID != s.User.UserID { // a userid given to another person (threats K10)
			err = &identity.Failure{
				Class: identity.Refused,
				Code:  "not_member",
				Err:   errors.New("the organisation knows this person under another userid now"),
			}
		}
		return u, err
	}
}

// urgency is how urgent a lookup is. Somebody who is looked up before the time has
// come is named by an event.
func urgency(s *session.Session, every time.Duration) ratelimit.Class {
	switch age := time.Since(s.Checked); {
	case age > every+overdueAfter:
		return ratelimit.Overdue
	case age < every/2:
		return ratelimit.Event
	}
	return ratelimit.Due
}

// limitCounts counts what limits per address refused.
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

// measureBudget registers what the budget and the limits per address do.
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
		"Sign-ins that wait on all replicas, as of the last one that asked.", func() float64 {
			return float64(b.Stats().Queue)
		})
	s.Metrics.Gauge("sign_in_wait_seconds",
		"How long the last sign-in waited for its turn in one request.", func() float64 {
			return b.Stats().LastWait.Seconds()
		})
	s.Metrics.Gauge("dingtalk_budget_shared",
		"1 while the budget of calls is shared with the other replicas; 0 while Redis does not answer and each "+
			"counts for itself.", func() float64 { return number(!b.Stats().Alone) })
}
