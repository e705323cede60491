package web

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// cookieBase is in the name of each of our cookies.
const cookieBase = "dinggate"

// cookieNames are the names of our cookies, each without the prefix that https adds
// and without the number of an attempt: the session, sign-in attempts (including the
// marker of a sign-out), the account link, the language, and the marker of a
// hand-over. A cookie whose name only resembles one of them (dinggateway, mydinggate,
// dinggate_theme) belongs to the application and is forwarded (TestCookieNames in
// proxy/login compares the list with the cookies that the sign-in sets).
var cookieNames = []string{cookieBase, cookieBase + "-attempt", cookieBase + "-link", cookieBase + "-lang",
	cookieBase + "-hand-over"}

// cookiePrefixes are those that browsers and servers know, in lower case
// (RFC 6265bis §4.1.3 and its drafts).
var cookiePrefixes = []string{"__host-http-", "__host-", "__secure-", "__http-"}

// More cookies than a browser stores for a site are an attack on the parser: net/http
// returns none beyond the same 3,000 (CVE-2025-58186, threats C12).
const (
	maxCookies     = 3000
	maxCookieBytes = 48 << 10
)

// overfull reports whether a request has more cookies than are read.
func overfull(h http.Header) bool {
	size, n := 0, 0
	for _, line := range h["Cookie"] {
		size += len(line)
	}
	if size <= maxCookies { // each takes two bytes at least
		return false
	}
	for _, line := range h["Cookie"] {
		n += 1 + strings.Count(line, ";")
	}
	return n > maxCookies || size > maxCookieBytes
}

// CookieValues lists the values sent under exactly this name, read from the raw
// header: Go's own parser tolerates a space before `=` and drops quotes (threats C4).
// A quoted value is skipped as a whole, so that its content is never read as a cookie.
// If there are more than 3,000 cookies, or 48 KiB of them, the result is empty.
func CookieValues(h http.Header, name string) []string { return AppendCookieValues(nil, h, name) }

// AppendCookieValues is CookieValues that appends to values.
func AppendCookieValues(values []string, h http.Header, name string) []string {
	if overfull(h) {
		return values
	}
	for _, line := range h["Cookie"] {
		for rest := line; rest != ""; {
			var seg string
			seg, rest = nextCookie(rest)
			if n, v, ok := strings.Cut(strings.Trim(seg, " \t"), "="); ok && n == name {
				values = append(values, v)
			}
		}
	}
	return values
}

// StripCookies removes each of our cookies, in any form that some parser might
// read as ours (see ourCookie), and leaves the others byte for byte.
func StripCookies(h http.Header) {
	lines, changed := h["Cookie"], false
	for _, line := range lines {
		changed = changed || containsFold(line, cookieBase)
	}
	if !changed {
		return
	}
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		if s := stripLine(line); s != "" {
			kept = append(kept, s)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
}

func stripLine(line string) string {
	if !containsFold(line, cookieBase) {
		return line
	}
	var b strings.Builder
	for rest := line; rest != ""; {
		var seg string
		seg, rest = nextCookie(rest)
		if ourCookie(seg) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(';')
			b.WriteString(seg)
		} else {
			b.WriteString(strings.TrimLeft(seg, " \t"))
		}
	}
	return b.String()
}

// ourCookie reports whether one segment of a Cookie line is ours: by its name, or
// because it contains one of our name-value pairs at a place where some parser would
// begin a new cookie: after the `;` inside a quoted value, after a comma (`$Version=1,
// dinggate=…`), after a space, or after an empty name (threats C4).
func ourCookie(seg string) bool {
	if !containsFold(seg, cookieBase) {
		return false
	}
	if strings.IndexByte(seg, '=') < 0 { // without a value
		return ourName(strings.Trim(seg, " \t"))
	}
	for rest := seg; rest != ""; {
		var part string
		if i := strings.IndexAny(rest, ";, \t"); i >= 0 {
			part, rest = rest[:i], strings.TrimLeft(rest[i+1:], " \t")
		} else {
			part, rest = rest, ""
		}
		name, value, pair := strings.Cut(part, "=")
		if pair && strings.Trim(name, `" `) == "" {
			name, _, pair = strings.Cut(value, "=")
		}
		if (pair || strings.HasPrefix(rest, "=")) && ourName(name) {
			return true
		}
	}
	return false
}

// OurCookieName reports whether a Set-Cookie value sets or clears a cookie of
// ours; an upstream may do neither (threats C14).
func OurCookieName(setCookie string) bool {
	pair, _, _ := strings.Cut(setCookie, ";")
	name, value, _ := strings.Cut(pair, "=")
	if strings.Trim(name, " \t") == "" { // nameless: a browser sends `=dinggate=x` back as dinggate=x
		name, _, _ = strings.Cut(value, "=")
	}
	return ourName(name)
}

// ourName reports whether some server reads a cookie's name as ours: in any letter
// case, with surrounding characters that it trims, percent-encoded (CVE-2020-7070),
// with `.`, spaces and `[` for `_` as in PHP, and as a numbered piece of our cookie
// (threats C11). Any other name that contains ours belongs to the application.
func ourName(name string) bool {
	if len(name) < len(cookieBase) {
		return false
	}
	// as we write it: on every request with a session
	if ourBase(strings.TrimPrefix(strings.TrimLeft(name, " "), "__Host-")) {
		return true
	}
	var buf [64]byte
	folded := foldCookieName(buf[:0], name)
	for _, prefix := range cookiePrefixes {
		if rest, ok := strings.CutPrefix(string(folded), prefix); ok { // no allocation: it does not leave this function
			return ourBase(rest)
		}
	}
	return ourBase(string(folded))
}

func ourBase(name string) bool {
	for _, ours := range cookieNames {
		if rest, ok := strings.CutPrefix(name, ours); ok && numbered(rest) {
			return true
		}
	}
	return false
}

// numbered accepts "" and the suffixes of pieces: _0, -1, -0_2.
func numbered(end string) bool {
	if end == "" {
		return true
	}
	return (end[0] == '_' || end[0] == '-') && strings.ContainsAny(end, "0123456789") &&
		strings.Trim(end, "0123456789_-") == ""
}

// foldCookieName decodes, trims and lowers a name, and cuts it at PHP's bracket.
func foldCookieName(dst []byte, name string) []byte {
	for i := 0; i < len(name) && len(dst) < cap(dst); i++ { // none of our names is as long
		c := name[i]
		if c == '%' && i+2 < len(name) {
			if v, err := strconv.ParseUint(name[i+1:i+3], 16, 8); err == nil {
				c, i = byte(v), i+2
			}
		}
		if len(dst) > 0 || c > ' ' {
			dst = append(dst, c)
		}
	}
	dst = bytes.TrimFunc(dst, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf) || r == utf8.RuneError || r == '"' ||
			r == '\''
	})
	for i, c := range dst {
		switch {
		case 'A' <= c && c <= 'Z':
			dst[i] = c + 'a' - 'A'
		case c == '[' && i > 0:
			return dst[:i]
		case c == '.' || c == ' ' || c == '[':
			dst[i] = '_'
		}
	}
	return dst
}

// nextCookie cuts the first segment off a Cookie line. A `;` inside a value
// that begins with a quote and has a second one is part of that value.
func nextCookie(line string) (seg, rest string) {
	end := strings.IndexByte(line, ';')
	if eq := strings.IndexByte(line, '='); eq >= 0 && (end < 0 || eq < end) && eq+1 < len(line) && line[eq+1] == '"' {
		if q := strings.IndexByte(line[eq+2:], '"'); q >= 0 {
			end = eq + 3 + q
			if i := strings.IndexByte(line[end:], ';'); i >= 0 {
				end += i
			} else {
				end = -1
			}
		}
	}
	if end < 0 {
		return line, ""
	}
	return line[:end], line[end+1:]
}

// containsFold is strings.Contains for a lower-case ASCII needle, in any letter case.
func containsFold(s, needle string) bool {
	for i := 0; i+len(needle) <= len(s); i++ {
		if s[i]|0x20 == needle[0] && strings.EqualFold(s[i:i+len(needle)], needle) {
			return true
		}
	}
	return false
}
