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
	// letter, a second decoding. A rule must hold for every one of them.
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
	if !ok || dotSegment(decoded) {
		return Path{}, errPath
	}
	p := Path{Raw: raw, Plain: decoded}
	read := func(s string) {
		for _, r := range []string{s, collapse(s)} {
			if r != decoded && !slices.Contains(p.Readings, r) {
				p.Readings = append(p.Readings, r)
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
		bare := dropParameters(decoded)
		if dotSegment(bare) { // `..;x` is `..` to a servlet container
			return Path{}, errPath
		}
		read(bare)
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
	return p, nil
}

// plain reports whether a path has one reading only and needs no decoding.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '/':
			if i+1 < len(s) && (s[i+1] == '/' || s[i+1] == '.') {
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

func dropParameters(path string) string {
	segments := strings.Split(path, "/")
	for i, seg := range segments {
		segments[i], _, _ = strings.Cut(seg, ";")
	}
	return strings.Join(segments, "/")
}
