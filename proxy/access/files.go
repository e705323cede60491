package access

import (
	"fmt"

	"dinggate/internal/conf"
)

// Place is file:line, or "" if all routes are in one file.
func (c RouteConfig) Place() string {
	if c.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", c.File, c.Line)
}

// checkFiles compares c[i] with the routes of other files before it. The files belong to different
// teams, which do not see that a route of theirs is unreachable, or is reached by other requests
// than intended. A route for "/" receives the remaining requests.
func (c Config) checkFiles(at conf.Place, key string, i int, earlier []*route) {
	for j, before := range earlier[:i] {
		switch {
		case before == nil || c[j].File == c[i].File:
		case before.shadows(earlier[i]):
			at.If(true, "is never reached: %s[%d] (%s) at %s covers all of it; a path belongs to one file", key, j,
				c[j].Path, c[j].Place())
			return
		case before.overlaps(earlier[i]) && c[i].Path != "/":
			at.Warn(true, "shares requests with %s[%d] (%s) at %s, which comes first and decides about them", key, j,
				c[j].Path, c[j].Place())
		}
	}
}

// overlaps reports whether some requests match both.
func (r *route) overlaps(s *route) bool {
	return r.meets(s) && (covers(r.path, s.path, false) || covers(s.path, r.path, false))
}
