package differential

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// seeds are spellings that bypassed a rule in some product.
var seeds = []string{
	"/;%2Fx/admin/x", "/;%2Fx%2Fy/admin/x", "/admin;%2Fz/x/y", "/;%252Fx/admin/x", "/admin%3Bx/y", "/admin;x/y",
	"//admin/x", "//x/admin/y", "/ADMIN/x", "/Settings", "/settings/", "/settings;x",
	"/admin%2Fx", "/%2561dmin/x", "/%252561dmin/x", "/admin%3Fx", "/admin%253Fx", "/public/..;/admin/x",
	"/public/%2e%2e/admin/x", "/index.php/admin/x", "/x/../admin/x", "/admin%5cx", "/a%2F..%2Fadmin/x",
	"/public%2F..%2Fadmin", "/%70ublic/x", "/public%3F/x",
}

// scripts are spellings for which PHP-FPM behind nginx runs report.php.
var scripts = []string{"/report.php", "/report.php/", "/report.php/x", "/report.php/x/y.css", "/report.php/public/x",
	"/report.php//x", "//report.php/x", "/report.php%2fx", "/report%2ephp/x", "/report.php/x%2Fy",
	"/report.php/index.php/x"}

// bases are the paths that half of the corpus is derived from.
var bases = []string{"/admin/x", "/admin/", "/admin", "/settings", "/public/x", "/public/page", "/public/",
	"/public/x/page", "/page", "/x/a", "/a/page/x", "/x/public/a", "/page/admin", "/report.php", "/report.php/x"}

// words are the segments of the other half. Some of them name an area.
var words = []string{"admin", "admin", "settings", "public", "public", "page", "x", "a", "index.php", "report.php"}

// glue stands between segments. Most of the unusual separators contain an ordinary slash.
var glue = []string{"//", "///", "/./", "/x/../", "/x/%2e%2e/", "/..;/", "/;/", "/;x/", "/;%2Fx/", "/;x=1;y%2Fz/",
	"/%3b/", "/%3bx%2f", "/%253b%252fx/", "%2F", "%2f", "%252f", "%25252F", "/%2f", "%5c", `\`, "/.;x/", "/%20/",
	"/x/..%2f", "/x%2f..%2f", "/%252e%252e/", "/x/%25252e%25252e/", "/;/x/", "/%20x/", "//x/", "/(S(x))/",
	"/index.php/"}

// tails are appended to a segment.
var tails = []string{";", ";x", ";x=1", ";%2Fx", ";%2f..%2f", ";%2Fa%2Fx", ";%252Fa", ";/", "%3b", "%3Bx", "%253bx",
	"%3F", "%3fx", "%253F", "%23", "%2523x", ".", "..", "%20", "%2e", "%00", "%0a", "%09", "~", "::$DATA", ".json",
	"%c2%a0", "%E2%80%8B", "%", "%zz", "%25", ";%3F", "%3F%2Fx", ";.%2F", "/", "%2f", "+", "=x", ",x", "@x", ":x",
	"%41", "%2541"}

// path generates one path: a base or a few segments, then a few changes.
func path(r *rand.Rand) string {
	p := pick(r, bases)
	if r.IntN(2) == 0 {
		p = segments(r)
	}
	for range r.IntN(3) {
		switch r.IntN(4) {
		case 0: // glue instead of a slash
			p = replaceSlash(r, p, joint(r))
		case 1: // a tail after a segment
			p = replaceSlash(r, p, tail(r)+"/")
		case 2:
			p += tail(r)
		default:
			p = change(r, p)
		}
	}
	switch r.IntN(30) {
	case 0:
		p = "/" + parameter(r) + p
	case 1:
		p = pick(r, []string{"//x", "//x%2f", "/%2f", "//" + domain, "/.", "/(S(x))", "//u@h", "/index.php", "/;x"}) + p
	}
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	return clean(p)
}

func pick(r *rand.Rand, list []string) string { return list[r.IntN(len(list))] }

func joint(r *rand.Rand) string {
	if r.IntN(3) == 0 {
		return "/" + parameter(r) + "/"
	}
	return pick(r, glue)
}

func tail(r *rand.Rand) string {
	if r.IntN(3) == 0 {
		return parameter(r)
	}
	return pick(r, tails)
}

// parameter returns a parameter that a servlet container cuts, with characters that other servers
// interpret.
func parameter(r *rand.Rand) string {
	p := pick(r, []string{";", ";", ";", ";x", "%3b", "%253B"})
	for range r.IntN(4) {
		p += pick(r, []string{"%2F", "%2fa", "%2Fx", "%2fadmin", "a", "=1", ";", "%3b", "%252f", "%3F", ".", "%20"})
	}
	return p
}

// segments generates up to four segments.
func segments(r *rand.Rand) (p string) {
	for n := r.IntN(3); n >= 0; n-- {
		if r.IntN(5) == 0 {
			p += joint(r)
		} else {
			p += "/"
		}
		if p += pick(r, words); r.IntN(8) == 0 {
			p += tail(r)
		}
	}
	return p
}

// replaceSlash replaces one of a path's slashes.
func replaceSlash(r *rand.Rand, p, by string) string {
	parts := strings.Split(p, "/")
	i := 1 + r.IntN(len(parts))
	if i >= len(parts) {
		return p
	}
	return strings.Join(parts[:i], "/") + by + strings.Join(parts[i:], "/")
}

// change rewrites one letter: escaped up to five times, in the other case, or full-width.
func change(r *rand.Rand, p string) string {
	i := r.IntN(len(p))
	c := p[i]
	if c == '%' || c >= 0x80 || i > 0 && p[i-1] == '%' || i > 1 && p[i-2] == '%' {
		return p
	}
	letter := c|0x20 >= 'a' && c|0x20 <= 'z'
	var to string
	switch k := r.IntN(8); {
	case k < 3 && letter:
		to = string(c ^ 0x20)
	case k == 3 && letter:
		to = string(rune(c) + 'ａ' - 'a')
	default:
		to = fmt.Sprintf("%%%s%02X", strings.Repeat("25", r.IntN(r.IntN(5)+1)), c)
		if r.IntN(2) == 0 {
			to = strings.ToLower(to)
		}
	}
	return p[:i] + to + p[i+1:]
}

// clean removes the characters that cannot be part of a path in a request line.
func clean(p string) string {
	return strings.Map(func(c rune) rune {
		if c <= ' ' || c == 0x7f || c == '?' || c == '#' {
			return -1
		}
		return c
	}, p)
}
