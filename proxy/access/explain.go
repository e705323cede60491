package access

import (
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
)

// Step is one line of an explanation: a route that did not match, or a part of a rule that was
// evaluated. Text continues after the route's name.
type Step struct {
	Route int // index; -1 is the request as a whole
	Name  string
	Text  conf.Text
}

// Explain is Decide with a record of each step. Both use the same evaluation, so that an
// explanation always agrees with the decision.
func (p *Policy) Explain(t Target, u *identity.User) (Decision, []Step) {
	var steps trace
	d := p.decide(&t, u, &steps)
	for i, step := range steps {
		if step.Route >= 0 {
			steps[i].Name = p.routes[step.Route].name
		}
	}
	return d, steps
}

// trace collects steps; the nil trace, which Decide uses, costs a comparison.
type trace []Step

func (s *trace) add(route int, text string) {
	if s != nil {
		*s = append(*s, Step{Route: route, Text: conf.Text{Format: text}})
	}
}

// quote adds a step that quotes a part of the rule. Like the next two it has fixed parameters: a
// variadic parameter would cost every Decide an allocation.
func (s *trace) quote(route int, format, text string) {
	if s != nil {
		*s = append(*s, Step{Route: route, Text: conf.Text{Format: format, Args: []any{text}}})
	}
}

// entry adds a step about all[n]; text may be empty.
func (s *trace) entry(route int, format string, n int, text string) {
	if s == nil {
		return
	}
	args := []any{n}
	if text != "" {
		args = append(args, text)
	}
	*s = append(*s, Step{Route: route, Text: conf.Text{Format: format, Args: args}})
}

// fresh adds a step about a rule's Fresh; an age of 0 is omitted.
func (s *trace) fresh(route int, format string, fresh, age time.Duration) {
	if s == nil {
		return
	}
	args := []any{fresh}
	if age > 0 {
		args = append(args, age.Truncate(time.Second))
	}
	*s = append(*s, Step{Route: route, Text: conf.Text{Format: format, Args: args}})
}

func (s *trace) reading(path string) {
	if s != nil {
		*s = append(*s, Step{Route: -1, Text: conf.Text{Format: "may be read as %s", Args: []any{path}}})
	}
}

func (s *trace) variant(path string) {
	if s != nil {
		*s = append(*s, Step{
			Route: -1,
			Text:  conf.Text{Format: "the stricter rule decides, since it may also mean %s", Args: []any{path}},
		})
	}
}

func (s *trace) folded(path string) {
	if s != nil {
		*s = append(*s, Step{Route: -1, Text: conf.Text{
			Format: "is served without regard to letter case by many applications, as %s", Args: []any{lower(path)},
		}})
	}
}
