package web

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// Path is a request path, decided once and used for rules and for forwarding.
type Path struct {
	Raw   string // as sent: what is forwarded, byte for byte
	Plain string // decoded once: what rules and routes see

	// Readings are other paths that a lenient upstream might take Raw for:
	// slashes collapsed, `;` parameters dropped, an encoded slash kept as a
	// letter, a second decoding, full-width letters narrowed, dots and blanks at a
	// segment's end lost. A rule must hold for every one of them.
	Readings []string

	// Odd marks a path with such a second reading inside a segment; it is never public.
	Odd bool
}

var errPath = errors.New("web: path cannot be made plain")

// CleanPath reads a path that begins with `/` and has no query. What cannot be
// made plain is an error: control bytes, blanks, `\` in any coding, a bad `%`,
// invalid UTF-8, dot segments in any coding (CVE-2021-32637, CVE-2025-66490,
// CVE-2026-48020). Idempotent: Plain, escaped and read again, is itself.
func CleanPath(raw string) (Path, error) {
	if !strings.HasPrefix(raw, "/") {
		return Path{}, errPath
	}
	if plain(raw) {
		return Path{Raw: raw, Plain: raw}, nil
	}
	decoded, opaque, ok := decode(raw)
	if !ok {
		return Path{}, errPath
	}
	p := Path{Raw: raw, Plain: decoded}
	dots := false
	read := func(s string) {
		dots = dots || dotSegment(s)
		for _, r := range []string{s, narrow(s), trimTails(s), trimTails(narrow(s))} {
			dots = dots || dotSegment(r)
			for _, r := range []string{r, collapse(r)} {
				if r != decoded && !slices.Contains(p.Readings, r) {
					p.Readings = append(p.Readings, r)
				}
			}
		}
	}
	read(decoded)
	if opaque != decoded { // %2F: one letter of a segment to some, a slash to others
		p.Odd = true
		read(opaque)
	}
	if strings.IndexByte(decoded, ';') >= 0 {
		p.Odd = true
		read(dropParameters(decoded)) // `..;x` is `..` to a servlet container
	}
	if strings.IndexByte(decoded, '%') >= 0 {
		p.Odd = true
		twice, _, ok := decode(strings.ReplaceAll(decoded, " ", "%20"))
		switch {
		case ok && !dotSegment(twice):
			read(twice)
		case ok || escapes(decoded): // a second decoding would give what the first may not
			return Path{}, errPath
		}
	}
	if dots {
		return Path{}, errPath
	}
	return p, nil
}

// UnderFold reports whether path is prefix or below it, in any letter case.
func UnderFold(path, prefix string) bool {
	return len(path) >= len(prefix) && strings.EqualFold(path[:len(prefix)], prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}

// plain reports whether a path has one reading only and needs no decoding.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '/':
			if i+1 < len(s) && s[i+1] == '/' {
				return false
			}
		case c == '.': // a dot segment, or a dot at a segment's end
			if i+1 == len(s) || s[i+1] == '/' {
				return false
			}
		case c <= ' ', c >= 0x7f, c == '%', c == ';', c == '\\', c == '#', c == '?':
			return false
		}
	}
	return true
}

// decode undoes percent-encoding once. opaque is the same with encoded slashes
// left as %2F.
func decode(raw string) (decoded, opaque string, ok bool) {
	out := make([]byte, 0, len(raw))
	var kept []byte // set at the first encoded slash
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c <= ' ', c == 0x7f, c == '\\', c == '#', c == '?':
			return "", "", false
		case c == '%':
			if i+2 >= len(raw) {
				return "", "", false
			}
			hi, lo := unhex(raw[i+1]), unhex(raw[i+2])
			if hi < 0 || lo < 0 {
				return "", "", false
			}
			c = byte(hi<<4 | lo)
			i += 2
			if c < ' ' || c == 0x7f || c == '\\' {
				return "", "", false
			}
			if c == '/' {
				if kept == nil {
					kept = slices.Clone(out)
				}
				out, kept = append(out, '/'), append(kept, "%2F"...)
				continue
			}
		}
		out = append(out, c)
		if kept != nil {
			kept = append(kept, c)
		}
	}
	if !utf8.Valid(out) {
		return "", "", false
	}
	decoded = string(out)
	if kept == nil {
		return decoded, decoded, true
	}
	return decoded, string(kept), true
}

// escapes reports whether every `%` begins an escape: 100% has only one reading.
func escapes(s string) bool {
	for i := strings.IndexByte(s, '%'); i >= 0 && i < len(s); i++ {
		if s[i] == '%' && (i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0) {
			return false
		}
	}
	return true
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func dotSegment(path string) bool {
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

// narrow reads full-width letters, dots and slashes as a server does that fits
// names to its own alphabet: ．．／ is ../ there. Punctuation that Chinese file
// names are full of stays, since no such server gives it a meaning.
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
		}
		return r
	}, path), "\u2025", "..")
}

// trimTails drops dots and blanks at the end of each segment, as Windows does
// with file names: /admin. is /admin there, and `.. ` is `..` (threats P9).
func trimTails(path string) string {
	if !strings.Contains(path, "./") && !strings.Contains(path, " /") && !strings.HasSuffix(path, ".") && !strings.HasSuffix(path, " ") {
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

func dropParameters(path string) string {
	segments := strings.Split(path, "/")
	for i, seg := range segments {
		segments[i], _, _ = strings.Cut(seg, ";")
	}
	return strings.Join(segments, "/")
}
