package web

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Path is a request path, decided once and used for rules and for forwarding.
type Path struct {
	Raw   string // as sent: what is forwarded, byte for byte
	Plain string // decoded once: what rules and routes see

	// Readings are other paths that some server behind us may read Raw as; see
	// readings.go. No legitimate client sends Raw to mean one of them, so all of them,
	// and Plain, must select the same route.
	Readings []string

	// Variants are readings that a legitimate client may intend: a script's path info,
	// an ASP.NET session in the path, a character that is escaped needlessly. The
	// strictest rule that they or Plain select decides.
	Variants []string

	// Odd marks a path with a second reading inside a segment; it never matches a
	// public rule.
	Odd bool
}

var errPath = errors.New("web: path cannot be made plain")

// CleanPath reads a path that begins with `/` and has no query. An ambiguous path is
// an error: control bytes, spaces, `\` in any encoding, an invalid `%` escape, invalid
// UTF-8, dot segments in any encoding or reading (CVE-2021-32637, CVE-2025-66490,
// CVE-2026-48020), more readings than maxReadings. Idempotent: Plain, escaped and read
// again, is itself.
//
// A path without `%`, `;`, `//` and the like has one reading, and costs no allocation.
func CleanPath(raw string) (Path, error) {
	if !strings.HasPrefix(raw, "/") {
		return Path{}, errPath
	}
	if plain(raw) {
		return Path{Raw: raw, Plain: raw}, nil
	}
	decoded, ok := decode(raw, false)
	if !ok {
		return Path{}, errPath
	}
	p := Path{Raw: raw, Plain: decoded, Odd: strings.ContainsAny(decoded, ";%?#") || encodesSlash(raw)}
	if !p.read() {
		return Path{}, errPath
	}
	return p, nil
}

// UnderFold reports whether path is prefix or below it, in any letter case.
func UnderFold(path, prefix string) bool {
	return len(path) >= len(prefix) && strings.EqualFold(path[:len(prefix)], prefix) &&
		(len(path) == len(prefix) || path[len(prefix)] == '/')
}

// plain reports whether a path has one reading only and needs no decoding.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '/':
			if i+1 < len(s) && (s[i+1] == '/' || s[i+1] == '(') {
				return false
			}
		case c == '.': // a dot segment, a dot at a segment's end, a script with path info
			if i+1 == len(s) || s[i+1] == '/' || isScript(s[i+1:]) {
				return false
			}
		case c == '$': // name:$DATA, see dropStreams
			if s[i-1] == ':' {
				return false
			}
		case c <= ' ', c >= 0x7f, c == '%', c == ';', c == '\\', c == '#', c == '?':
			return false
		}
	}
	return true
}

// decode decodes the percent-encoding of a raw path once; with keepSlash an encoded
// slash stays %2F, as part of its segment.
func decode(raw string, keepSlash bool) (decoded string, ok bool) {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c <= ' ', c == 0x7f, c == '\\', c == '#', c == '?':
			return "", false
		case c == '%':
			if c, ok = unescape(raw[i:]); !ok || c < ' ' || c == 0x7f || c == '\\' {
				return "", false
			}
			i += 2
			if c == '/' && keepSlash {
				out = append(out, "%2F"...)
				continue
			}
		}
		out = append(out, c)
	}
	return string(out), isText(out)
}

// decodeAgain decodes a second layer of percent-encoding, as a second server does with
// the output of the first one: a `%` that begins no escape stays.
func decodeAgain(path string, keepSlash bool) (decoded string, ok bool) {
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			if b, escaped := unescape(path[i:]); escaped {
				if c = b; c < ' ' || c == 0x7f || c == '\\' {
					return "", false
				}
				i += 2
				if c == '/' && keepSlash {
					out = append(out, "%2F"...)
					continue
				}
			}
		}
		out = append(out, c)
	}
	return string(out), isText(out)
}

// isText refuses invalid UTF-8, and the C1 control characters, which are invisible and
// control a terminal.
func isText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for i, c := range b {
		if c == 0xc2 && b[i+1] < 0xa0 {
			return false
		}
	}
	return true
}

// unescape decodes the escape that s begins with.
func unescape(s string) (c byte, ok bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	hi, lo := unhex(s[1]), unhex(s[2])
	return byte(hi<<4 | lo), hi >= 0 && lo >= 0
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

func encodesSlash(raw string) bool {
	return strings.Contains(raw, "%2f") || strings.Contains(raw, "%2F")
}
