package web

import (
	"net/http"
	"strings"
)

// cookieBase is in the name of every cookie of ours: `dinggate`,
// `__Host-dinggate`, `__Host-dinggate-attempt-…`.
const cookieBase = "dinggate"

// More cookies than a browser keeps for a site are somebody's try at a parser:
// net/http returns none beyond the same 3,000 (CVE-2025-58186, threats C12).
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

// CookieValues lists the values sent under exactly this name, read from the
// raw header: Go's own parser tolerates a blank before `=` and drops quotes
// (threats C4). A quoted value is skipped whole, so what stands inside it is
// nobody's cookie. More than 3,000 cookies, or 48 KiB of them, are none.
func CookieValues(h http.Header, name string) []string { return AppendCookieValues(nil, h, name) }

// AppendCookieValues is CookieValues into room that the caller has.
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

// StripCookies removes every cookie of ours, in any form that some parser might
// read as ours (letter case, a blank before `=`, numbered pieces, inside a
// quoted value), and leaves the others byte for byte.
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

// ourCookie judges one `name=value` segment: ours by name, or with a cookie of
// ours hidden in its value.
func ourCookie(seg string) bool {
	name, value, found := strings.Cut(seg, "=")
	if !found {
		return containsFold(seg, cookieBase)
	}
	return containsFold(name, cookieBase) || containsFold(value, cookieBase+"=") || containsFold(value, cookieBase+"-attempt")
}

// OurCookieName reports whether a Set-Cookie value sets or clears a cookie of
// ours; an upstream may do neither (threats C14).
func OurCookieName(setCookie string) bool {
	pair, _, _ := strings.Cut(setCookie, ";")
	name, value, _ := strings.Cut(pair, "=")
	if strings.Trim(name, " \t") == "" { // nameless: a browser sends `=dinggate=x` back as dinggate=x
		name = value
	}
	return containsFold(name, cookieBase)
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
