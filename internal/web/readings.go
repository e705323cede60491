package web

import (
	"slices"
	"strings"
	"unicode/utf8"

	"dinggate/internal/scriptname"
)

// A server reads a path in steps: it cuts parameters, decodes, collapses slashes,
// drops what its file system ignores. Servers differ in the steps and in their
// order, and a chain of two takes the steps of both. The readings of a path are
// what all of these steps make of it, in any order:
//
//	raw ─┬─ cutParameters ── Tomcat, Jetty: /;%2Fx/admin is /admin
//	     ├─ cutFrom ';' ──── proxies that end a path there
//	     ├─ dropAuthority ── new URL of Node.js, parse_url of PHP: //x/admin is /admin
//	     ├─ collapse ─────── nginx, Apache, file systems
//	     └─► decode (%2F as a slash, and as a letter) ─┬─ the same four steps
//	                                                   ├─ cutFrom '?', '#' ─ a hop that hands the decoded path on
//	                                                   ├─ decodeAgain ────── as often as it changes something
//	                                                   ├─ narrow ─────────── best fit of Windows, Unicode folding
//	                                                   └─ trimTails, dropStreams ─ file names of Windows
//
// Letter case is handled by the access policy, which has the routes as written.

// Bounds of the work for one path; a path that exceeds them is refused.
const (
	maxReadings     = 96
	maxReadingBytes = 64 << 10 // of all together, beyond four times the path's length
)

var rawSteps = []func(string) string{
	cutParameters, dropAuthority, collapse,
	func(s string) string { return cutFrom(s, ";") },
}

var plainSteps = append(slices.Clone(rawSteps), narrow, trimTails, dropStreams,
	func(s string) string { return cutFrom(s, "?#") },
)

// read computes Readings and Variants; false means that the path is ambiguous.
func (p *Path) read() bool {
	most := maxReadingBytes + 4*len(p.Raw)
	found := readings{list: []string{p.Plain}, left: most}
	if dotSegment(p.Plain) {
		return false
	}
	raws := readings{list: []string{p.Raw}, left: most}
	for i := 0; i < len(raws.list); i++ {
		for _, step := range rawSteps {
			if !raws.add(step(raws.list[i])) {
				return false
			}
		}
		if !found.addDecoded(decode, raws.list[i]) {
			return false
		}
	}
	for i := 0; i < len(found.list); i++ {
		s := found.list[i]
		for _, step := range plainSteps {
			if !found.add(step(s)) {
				return false
			}
		}
		if strings.IndexByte(s, '%') >= 0 && !found.addDecoded(decodeAgain, s) {
			return false
		}
	}
	if len(found.list) > 1 {
		p.Readings = found.list[1:]
	}
	return p.vary(found.list)
}

// vary computes Variants: of the raw path, and of each reading.
func (p *Path) vary(all []string) bool {
	found := readings{left: maxReadingBytes + 4*len(p.Raw)}
	for i := -1; i < len(all)+len(found.list); i++ {
		var steps []string
		switch {
		case i < 0:
			steps = []string{keepNeedless(p.Raw)}
		case i < len(all):
			steps = []string{dropScript(all[i]), dropCookieless(all[i])}
		default:
			s := found.list[i-len(all)]
			steps = []string{dropScript(s), dropCookieless(s), collapse(s)}
		}
		for _, s := range steps {
			if !slices.Contains(all, s) && !found.add(s) {
				return false
			}
		}
	}
	p.Variants = found.list
	return true
}

// readings is a set of paths within the bounds, none with a dot segment.
type readings struct {
	list []string
	left int // bytes that may be added
}

// add reports whether s may be a reading at all.
func (r *readings) add(s string) bool {
	if slices.Contains(r.list, s) {
		return true
	}
	r.list, r.left = append(r.list, s), r.left-len(s)
	return len(r.list) <= maxReadings && r.left >= 0 && !dotSegment(s)
}

func (r *readings) addDecoded(decode func(string, bool) (string, bool), s string) bool {
	whole, ok := decode(s, false)
	if !ok || !r.add(whole) {
		return false
	}
	if !encodesSlash(s) {
		return true
	}
	opaque, ok := decode(s, true)
	return ok && r.add(opaque)
}

func dotSegment(path string) bool {
	if !strings.Contains(path, "/.") {
		return false
	}
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "." || seg == ".." {
			return true
		}
	}
	return false
}

func collapse(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// cutParameters removes `;` and the parameter after it from each segment, as servlet
// containers do: they read `..;x` as `..`.
func cutParameters(path string) string {
	if strings.IndexByte(path, ';') < 0 {
		return path
	}
	segments := strings.Split(path, "/")
	for i, seg := range segments {
		segments[i], _, _ = strings.Cut(seg, ";")
	}
	return strings.Join(segments, "/")
}

// cutFrom truncates a path before the first of these bytes.
func cutFrom(path, bytes string) string {
	if i := strings.IndexAny(path, bytes); i > 0 {
		return path[:i]
	}
	return path
}

// dropAuthority reads the first segment as a host if two slashes precede it, as URL
// parsers do with a bare path.
func dropAuthority(path string) string {
	if !strings.HasPrefix(path, "//") {
		return path
	}
	rest := strings.TrimLeft(path, "/")
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:]
	}
	return "/"
}

// narrow maps letters, dots and slashes to ASCII as a server with best-fit conversion
// does: ．．／ becomes ../ there. Invisible characters are dropped. Punctuation that is
// common in Chinese file names is not mapped, since no such server gives it a meaning.
func narrow(path string) string {
	for i := 0; ; i++ {
		if i == len(path) {
			return path
		}
		if path[i] >= utf8.RuneSelf {
			break
		}
	}
	return strings.ReplaceAll(strings.Map(func(r rune) rune {
		switch {
		case r == '．' || r == '\u2024':
			return '.'
		case r == '／' || r == '＼' || r == '\u2215' || r == '\u2044':
			return '/'
		case r >= '０' && r <= '９', r >= 'Ａ' && r <= 'Ｚ', r >= 'ａ' && r <= 'ｚ', r == '－', r == '＿':
			return r - '０' + '0'
		case r == 'ſ':
			return 's'
		case r == '\u212a': // Kelvin
			return 'k'
		case r >= '\u200b' && r <= '\u200f', r >= '\u202a' && r <= '\u202e', r >= '\u2060' && r <= '\u206f',
			r == '\ufeff', r == '\u00ad':
			return -1
		}
		return r
	}, path), "\u2025", "..")
}

// trimTails drops dots and blanks at the end of each segment, as Windows does
// with file names: /admin. is /admin there, and `.. ` is `..` (threats P9).
func trimTails(path string) string {
	if !strings.Contains(path, "./") && !strings.Contains(path, " /") && !strings.HasSuffix(path, ".") &&
		!strings.HasSuffix(path, " ") {
		return path
	}
	segments := strings.Split(path, "/")
	for i, seg := range segments {
		if seg = strings.TrimRight(seg, " "); seg != "." && seg != ".." {
			seg = strings.TrimRight(seg, ". ")
		}
		segments[i] = seg
	}
	return strings.Join(segments, "/")
}

// dropStreams takes the name of a stream off each segment: admin::$DATA and
// admin:$I30:$INDEX_ALLOCATION are admin to NTFS (CVE-2010-2731).
func dropStreams(path string) string {
	if !strings.Contains(path, ":$") {
		return path
	}
	segments := strings.Split(path, "/")
	for i, seg := range segments {
		if strings.Contains(seg, ":$") {
			segments[i], _, _ = strings.Cut(seg, ":")
		}
	}
	return strings.Join(segments, "/")
}

// keepNeedless decodes everything but the characters that must be escaped in a path:
// the path as a server sees it that compares paths without decoding them, such as
// Express.
func keepNeedless(raw string) string {
	if strings.IndexByte(raw, '%') < 0 {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c, escaped := unescape(raw[i:])
		switch {
		case !escaped:
			out = append(out, raw[i])
			continue
		case c == '/' || isPathChar(c):
			out = append(out, raw[i:i+3]...)
		default:
			out = append(out, c)
		}
		i += 2
	}
	return string(out)
}

// isPathChar reports whether a byte is in a path as it is (RFC 3986, pchar).
func isPathChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("-._~!$&'()*+,;=:@", c) >= 0
}

// dropScript removes the name of the first script that has path info after it:
// /index.php/admin/x is routed as /admin/x by most PHP frameworks, and by a CGI
// script. That the script itself is executed is considered by the access policy, which
// has the exact routes of scripts.
func dropScript(path string) string {
	for i := 0; i < len(path); i++ {
		if path[i] == '.' && isScript(path[i+1:]) {
			end := i + strings.IndexByte(path[i:], '/')
			return path[:strings.LastIndexByte(path[:i], '/')] + path[end:]
		}
	}
	return path
}

// isScript reports whether s, behind a dot, begins with the ending of a script's
// name, a slash and more.
func isScript(s string) bool {
	i := strings.IndexByte(s[:min(len(s), scriptname.MaxEnding+1)], '/')
	return i > 0 && i+1 < len(s) && scriptname.Ending(s[:i])
}

// dropCookieless removes ASP.NET's cookieless session from the path: /(S(x))/admin is
// read as /admin, and so is /ad/(S(x))min (CVE-2023-36899).
func dropCookieless(path string) string {
	if !strings.Contains(path, "/(") {
		return path
	}
	out := make([]byte, 0, len(path))
	for path != "" {
		if strings.HasPrefix(path, "/(") {
			segment, _, _ := strings.Cut(path[1:], "/")
			if end := strings.Index(segment, "))"); end > 0 {
				path = path[1+end+2:]
				continue
			}
		}
		out, path = append(out, path[0]), path[1:]
	}
	if len(out) == 0 || out[0] != '/' {
		return "/" + string(out)
	}
	return string(out)
}
