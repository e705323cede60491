package config

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"dinggate/internal/conf"
	"dinggate/internal/i18n"
)

func Mistakes(problems []conf.Problem) (n int) {
	for _, p := range problems {
		if !p.Warning {
			n++
		}
	}
	return n
}

// PrintProblems prints every problem, one per line, after a line with their number.
func PrintProblems(out io.Writer, in i18n.Language, problems []conf.Problem) {
	n := Mistakes(problems)
	warnings := len(problems) - n
	switch {
	case len(problems) == 0:
		return
	case in == i18n.Chinese && n > 0:
		fmt.Fprintf(out, "配置有 %d 处错误、%d 处警告：\n", n, warnings)
	case in == i18n.Chinese:
		fmt.Fprintf(out, "配置没有错误，有 %d 处警告：\n", warnings)
	case n > 0:
		fmt.Fprintf(out, "The configuration has %s and %s:\n", count(n, "mistake"), count(warnings, "warning"))
	default:
		fmt.Fprintf(out, "The configuration has no mistakes, but %s:\n", count(warnings, "warning"))
	}
	for _, p := range problems {
		fmt.Fprintln(out, in.Problem(p))
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

// Problems are the reasons why a configuration is refused, and warnings.
type Problems []conf.Problem

// Refusing returns the mistakes without the warnings.
func Refusing(all []conf.Problem) (wrong Problems) {
	for _, p := range all {
		if !p.Warning {
			wrong = append(wrong, p)
		}
	}
	return wrong
}

// Staying splits the mistakes into those that keep only a part as it was and those that
// refuse the whole configuration.
func (p Problems) Staying() (stay, wrong Problems) {
	for _, one := range p {
		if one.Stays {
			stay = append(stay, one)
		} else {
			wrong = append(wrong, one)
		}
	}
	return stay, wrong
}

// Keys returns the keys of the mistakes.
func (p Problems) Keys() string {
	var keys []string
	for _, one := range p {
		if !slices.Contains(keys, one.Key) {
			keys = append(keys, one.Key)
		}
	}
	return strings.Join(keys, ", ")
}

// Error returns one mistake per line.
func (p Problems) Error() string { return strings.Join(p.Lines(i18n.English), "\n") }

func (p Problems) Lines(in i18n.Language) (lines []string) {
	for _, one := range p {
		lines = append(lines, in.Problem(one))
	}
	return lines
}

// AffectsGateway drops mistakes that `check` reports and that do not affect a gateway
// snippet: the secrets are on the server, not where the gateway is set up.
func AffectsGateway(key string) bool {
	for _, section := range []string{"dingtalk", "cookie.secrets", "session", "sign_in", "admin", "tls", "log"} {
		if key == section || strings.HasPrefix(key, section+".") || strings.HasPrefix(key, section+"_") ||
			strings.HasPrefix(key, section+"[") {
			return false
		}
	}
	return true
}

// ExitCode returns 0 without a mistake, 2 for a wrong command line, otherwise 1.
func ExitCode(problems []conf.Problem) int {
	switch {
	case slices.ContainsFunc(problems, func(p conf.Problem) bool { return p.Usage }):
		return 2
	case Mistakes(problems) > 0:
		return 1
	}
	return 0
}
