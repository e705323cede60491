package access

import "strings"

// indexed is the number of routes from which an index is faster.
const indexed = 16

// index finds the routes that may match by the first segment of their path and by their host, so
// that a thousand routes cost no more than a few. It omits only routes that match would exclude:
// those for another host, and those whose first segment differs also in lower case. No kind of
// match (equal, below, a final slash, path info) changes the first segment.
type index struct {
	hosts map[string]*segments // by host, a wildcard's without its star
	any   *segments            // of routes without a host
	wild  bool                 // some route has a wildcard
}

// segments are indexes of routes in their order.
type segments struct {
	first map[string][]int // by the first segment, in lower case
	every []int            // of routes that match any first segment
}

func newIndex(routes []route) *index {
	x := &index{hosts: map[string]*segments{}, any: &segments{first: map[string][]int{}}}
	for i := range routes {
		r := &routes[i]
		s := x.any
		if r.host != "" {
			if s = x.hosts[r.host]; s == nil {
				s = &segments{first: map[string][]int{}}
				x.hosts[r.host] = s
			}
			x.wild = x.wild || r.wild
		}
		if segment, ok := firstSegment(r.folded); ok && segment != "" {
			s.first[segment] = append(s.first[segment], i)
		} else {
			s.every = append(s.every, i)
		}
	}
	return x
}

// firstSegment is the text between the slash that begins path and the next one.
func firstSegment(path string) (segment string, ok bool) {
	if path == "" || path[0] != '/' {
		return "", false
	}
	segment, _, _ = strings.Cut(path[1:], "/")
	return segment, true
}

// ownRoutes reports whether routes for a host, in lower case, may match paths with a first
// segment, beside the routes for every host; true without an index.
func (x *index) ownRoutes(host, segment string) bool {
	if x == nil {
		return true
	}
	may := func(s *segments) bool { return s != nil && (len(s.first[segment]) > 0 || len(s.every) > 0) }
	if may(x.hosts[host]) {
		return true
	}
	dot := strings.IndexByte(host, '.')
	return x.wild && dot >= 0 && may(x.hosts[host[dot:]])
}

// candidates iterates over the routes that may match, in their order.
type candidates struct {
	lists [6][]int
	n     int // of lists; -1: all routes
	next  int
	end   int
}

// candidates returns the routes that may match path.
func (p *Policy) candidates(q *query, path string) candidates {
	segment, ok := firstSegment(path)
	// The trace of an explanation names every route, and an unknown path or host may match any.
	if p.index == nil || !ok || q.steps != nil || q.target.Unknown || q.host == "" {
		return candidates{n: -1, end: len(p.routes)}
	}
	var c candidates
	var name [64]byte
	host := appendLower(name[:0], q.host)
	var text [128]byte
	lowered := appendLower(text[:0], segment)
	c.add(p.index.any, lowered)
	c.add(p.index.hosts[string(host)], lowered)
	if dot := strings.IndexByte(q.host, '.'); p.index.wild && dot >= 0 {
		c.add(p.index.hosts[string(host[dot:])], lowered)
	}
	return c
}

func (c *candidates) add(s *segments, segment []byte) {
	if s == nil {
		return
	}
	for _, list := range [2][]int{s.first[string(segment)], s.every} {
		if len(list) > 0 {
			c.lists[c.n] = list
			c.n++
		}
	}
}

// pop returns the next index; -1 after the last.
func (c *candidates) pop() int {
	if c.n < 0 {
		if c.next++; c.next > c.end {
			return -1
		}
		return c.next - 1
	}
	from := -1
	for i := range c.n {
		if len(c.lists[i]) > 0 && (from < 0 || c.lists[i][0] < c.lists[from][0]) {
			from = i
		}
	}
	if from < 0 {
		return -1
	}
	found := c.lists[from][0]
	c.lists[from] = c.lists[from][1:]
	return found
}

// appendLower appends s with ASCII letters in lower case, as sameFold compares.
func appendLower(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}
