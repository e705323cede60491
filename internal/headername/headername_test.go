package headername

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Gateways write these names into their own configuration, where letters, digits
// and dashes need no quoting.
func TestNames(t *testing.T) {
	plain := regexp.MustCompile(`^[A-Z][A-Za-z0-9]*(-[A-Z][A-Za-z0-9]*)*$`)
	seen := map[string]string{}
	for _, name := range Names {
		if !plain.MatchString(name) {
			t.Errorf("%q is no plain name", name)
		}
		if other := seen[Fold(name)]; other != "" {
			t.Errorf("%s and %s are one name", name, other)
		}
		seen[Fold(name)] = name
	}
	for _, prefix := range Prefixes {
		if !plain.MatchString(strings.TrimSuffix(prefix, "-")) {
			t.Errorf("%q is no plain prefix", prefix)
		}
		if !slices.ContainsFunc(Names, func(name string) bool { return strings.HasPrefix(name, prefix) }) {
			t.Errorf("no name begins with %s: gateways that have no prefixes know none of the family", prefix)
		}
	}
}

func TestFold(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"X-Real-IP", "xrealip"}, {"x_real.IP", "xrealip"}, {"-X~Real!IP-", "xrealip"}, {"X-Réal", "xral"}, {"", ""},
		{Odd + "-", ""},
	} {
		if got := Fold(tt.in); got != tt.want {
			t.Errorf("Fold(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}
