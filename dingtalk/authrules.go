package dingtalk

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"dinggate/internal/identity"
)

// readsAccount is the permission point of users/me.
const readsAccount = "Contact.User.Read"

// consent determines the cause of a refusal of users/me: either the app lacks the
// permission point, or the person did not consent to its use. DingTalk's response is the
// same in both cases; another call lists the permission points that the person granted. If
// that list cannot be read, the refusal is returned unchanged. Only the error message of
// the failed sign-in depends on the result.
//
//	403 of users/me ─► authRules/user ─┬─ names the point ──────────► the app lacks it
//	                                   ├─ does not, others could ───► the person did not agree
//	                                   └─ does not, or no answer ───► either
func (c *Client) consent(ctx context.Context, token string, err error) error {
	f, ok := errors.AsType[*identity.Failure](err)
	if !ok || f.Code != "permission_missing" {
		return err
	}
	var rules any
	if c.do(ctx, request{host: hostNew, path: pathAuthRules, method: http.MethodGet, user: token}, &rules) != nil {
		return err
	}
	points, readable := grantedPoints(rules)
	about := *f
	switch {
	case !readable:
		return err
	case points[readsAccount]:
		c.readAccounts.Store(false)
		about.Hint += "；此人已同意授权，缺的是应用的权限 (this person has agreed: the app lacks the permission)"
	case c.readAccounts.Load():
		about.Class, about.Code, about.Hint = identity.Restart, "consent_missing", hints["consent_missing"]
	default:
		about.Hint += "；或者此人没有同意授权 (or this person has not agreed)"
	}
	return &about
}

// grantedPoints collects the permission points in an answer whose fields are not
// documented: every text that looks like one. readable is false for an answer that has
// neither one of them nor an empty list.
func grantedPoints(answer any) (points map[string]bool, readable bool) {
	points = map[string]bool{}
	lists, empty := 0, true
	var walk func(any)
	walk = func(v any) { // decode bounds the depth
		switch v := v.(type) {
		case []any:
			lists++
			empty = empty && len(v) == 0
			for _, one := range v {
				walk(one)
			}
		case map[string]any:
			for _, one := range v {
				walk(one)
			}
		case string:
			if permissionNames[v] != "" || strings.HasPrefix(v, "Contact.") {
				points[v] = true
			}
		}
	}
	walk(answer)
	return points, len(points) > 0 || lists > 0 && empty
}
