package explain

import (
	"context"
	"fmt"
	"slices"
	"time"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/i18n"
	"dinggate/internal/identity"
	"dinggate/proxy/access"
)

// Grant admits a person to a route for a limited time.
type Grant struct {
	ID    string
	Route string // host, where the route has one, and path
	Until time.Time
}

// GrantsOf reads a person's grants, by userid, from the process that serves.
type GrantsOf func(ctx context.Context, cfg *config.Config, environ []string, userID string) ([]Grant, error)

// granted adds a person's grants to a target, if the route supports requests for access.
// The func returns the notes about them, once the decision is known.
func granted(ctx context.Context, c cli.Invocation, cfg *config.Config, ask GrantsOf, t *access.Target,
	user *identity.User) func(rule string) []i18n.Message {
	none := func(string) []i18n.Message { return nil }
	routes := cfg.AllRoutes()
	if user == nil || ask == nil || !cfg.AccessRequests.On() ||
		!slices.ContainsFunc(routes, func(r config.Route) bool { return r.Request != nil }) {
		return none
	}
	grants, err := ask(ctx, cfg, c.Environ, user.UserID)
	if err != nil {
		return func(string) []i18n.Message {
			cause := cli.Localized(err)
			return []i18n.Message{{"the grants could not be read: " + cause[i18n.English], "无法读取访问授权：" + cause[i18n.Chinese]}}
		}
	}
	var used *Grant
	t.Granted = func(route int) bool {
		if route < 0 || route >= len(routes) || routes[route].Request == nil {
			return false
		}
		for i := range grants {
			if grants[i].Route == routes[route].Host+routes[route].Path {
				used = &grants[i]
				return true
			}
		}
		return false
	}
	return func(rule string) []i18n.Message {
		if used == nil || rule != "grant" {
			return nil
		}
		until := used.Until.Local().Format(time.DateTime)
		return []i18n.Message{{fmt.Sprintf("the grant %s allows the request until %s", used.ID, until),
			fmt.Sprintf("由授权 %s 放行，有效至 %s", used.ID, until)}}
	}
}
