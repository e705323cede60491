package main

import (
	"dinggate/internal/conf"
	"fmt"
	"io"
	"slices"
	"strings"
)

func mistakes(problems []conf.Problem) (n int) {
	for _, p := range problems {
		if !p.Warning {
			n++
		}
	}
	return n
}

// tell prints every problem, one a line, below a sentence that counts them.
func tell(out io.Writer, in language, problems []conf.Problem) {
	n := mistakes(problems)
	warnings := len(problems) - n
	switch {
	case len(problems) == 0:
		return
	case in == chinese && n > 0:
		fmt.Fprintf(out, "配置有 %d 处错误、%d 处警告：\n", n, warnings)
	case in == chinese:
		fmt.Fprintf(out, "配置没有错误，有 %d 处警告：\n", warnings)
	case n > 0:
		fmt.Fprintf(out, "The configuration has %s and %s:\n", count(n, "mistake"), count(warnings, "warning"))
	default:
		fmt.Fprintf(out, "The configuration has no mistakes, but %s:\n", count(warnings, "warning"))
	}
	for _, p := range problems {
		fmt.Fprintln(out, in.problem(p))
	}
}

func count(n int, what string) string {
	switch n {
	case 0:
		return "no " + what + "s"
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// problems are why a configuration is not taken.
type problems []conf.Problem

// refusing leaves the warnings out.
func refusing(all []conf.Problem) (wrong problems) {
	for _, p := range all {
		if !p.Warning {
			wrong = append(wrong, p)
		}
	}
	return wrong
}

// staying parts the mistakes that keep something as it was from those that keep
// the whole configuration out.
func (p problems) staying() (stay, wrong problems) {
	for _, one := range p {
		if one.Stays {
			stay = append(stay, one)
		} else {
			wrong = append(wrong, one)
		}
	}
	return stay, wrong
}

// keys are what the mistakes are about.
func (p problems) keys() string {
	var keys []string
	for _, one := range p {
		if !slices.Contains(keys, one.Key) {
			keys = append(keys, one.Key)
		}
	}
	return strings.Join(keys, ", ")
}

// Error is one mistake a line.
func (p problems) Error() string { return strings.Join(p.lines(english), "\n") }

func (p problems) lines(in language) (lines []string) {
	for _, one := range p {
		lines = append(lines, in.problem(one))
	}
	return lines
}

// reachesSnippet leaves out mistakes that `check` tells and a snippet does not
// show: the secrets lie on the server, not where the gateway is set up.
func reachesSnippet(key string) bool {
	for _, section := range []string{"dingtalk", "cookie.secrets", "session", "sign_in", "admin", "tls", "log"} {
		if key == section || strings.HasPrefix(key, section+".") || strings.HasPrefix(key, section+"_") || strings.HasPrefix(key, section+"[") {
			return false
		}
	}
	return true
}

// exitCode is the exit code that the problems call for: 0 without a mistake, 2 when
// the command was called wrongly, otherwise 1.
func exitCode(problems []conf.Problem) int {
	switch {
	case slices.ContainsFunc(problems, func(p conf.Problem) bool { return p.Usage }):
		return 2
	case mistakes(problems) > 0:
		return 1
	}
	return 0
}
