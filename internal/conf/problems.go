package conf

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake (or, with Warning, a legal setting that is rarely intended), at a key
// path such as `cookie.secrets` or `routes[2].access.emails`. The command adds File and Line.
type Problem struct {
	Key     string
	Text    Text // continues after the key, so it begins with a verb
	Warning bool
	Usage   bool // the command line is wrong
	Stays   bool // refused at the start; a reload keeps the previous value and applies the rest
	Missing bool // the configuration file cannot be read
	File    string
	Line    int
}

// String returns `config.yaml:12: cookie.secrets is empty …`.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + " ")
	}
	return b.String() + p.Text.String()
}

// Problems collects all mistakes of a configuration. The zero value is ready to use; not safe for
// concurrent use.
type Problems struct{ list []Problem }

// Place is the key of a problem.
type Place struct {
	p   *Problems
	key string
}

// At returns the place of a key.
func (p *Problems) At(key string, args ...any) Place {
	if len(args) > 0 {
		key = fmt.Sprintf(key, args...)
	}
	return Place{p, key}
}

// Key is the key of the place.
func (at Place) Key() string { return at.key }

// If records a mistake if bad is true. The text continues after the key, so it begins with a verb:
// "is empty; generate one with …". The format must be a constant, see Textf. It must not quote a
// secret.
func (at Place) If(bad bool, format string, args ...any) {
	if bad {
		at.p.Add(Problem{Key: at.key, Text: Text{format, args}})
	}
}

// Fault records err as a mistake, unless it is nil.
func (at Place) Fault(err error) {
	if err != nil {
		at.p.Add(Problem{Key: at.key, Text: TextOf(err)})
	}
}

// Keep records a mistake that a reload tolerates (Problem.Stays) if bad is true.
func (at Place) Keep(bad bool, format string, args ...any) {
	if bad {
		at.p.Add(Problem{Key: at.key, Text: Text{format, args}, Stays: true})
	}
}

// Warn records a warning if odd is true.
func (at Place) Warn(odd bool, format string, args ...any) {
	if odd {
		at.p.Add(Problem{Key: at.key, Text: Text{format, args}, Warning: true})
	}
}

// Add records a problem unchanged.
func (p *Problems) Add(problem Problem) { p.list = append(p.list, problem) }

// All lists the problems, sorted by file, line and key.
func (p *Problems) All() []Problem {
	sorted := slices.Clone(p.list)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return strings.Compare(a.Key, b.Key)
	})
	return sorted
}

// Mistakes counts the problems that prevent a start.
func (p *Problems) Mistakes() int {
	n := 0
	for _, problem := range p.list {
		if !problem.Warning {
			n++
		}
	}
	return n
}
