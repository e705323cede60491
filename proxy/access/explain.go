package access

import (
	"dinggate/internal/conf"
	"dinggate/internal/identity"
)

// Step is one line of an explanation: a route that was passed over, or a part of
// a rule that was tried. Text reads on after the route's name.
type Step struct {
	Route int // index; -1 = the request as a whole
	Name  string
	Text  conf.Text
}

// Explain is Decide, telling each step: the same evaluation, so that it cannot
// explain what would not happen.
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

func (s *trace) reading(path string) {
	if s != nil {
		*s = append(*s, Step{Route: -1, Text: conf.Text{Format: "may be read as %s", Args: []any{path}}})
	}
}

func (s *trace) variant(path string) {
	if s != nil {
		*s = append(*s, Step{
			Route: -1,
			Text:  conf.Text{Format: "the sterner rule decides, since it may be meant as %s", Args: []any{path}},
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
