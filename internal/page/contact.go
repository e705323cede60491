package page

import (
	"html/template"
	"net/mail"
	"net/url"
	"strings"
	"unicode"
)

// contact is who can help; the zero value names no one.
type contact struct {
	Text string
	Link template.URL // "" if Text is only text
}

// parseContact makes a link of an unambiguous address. Any other scheme, such as javascript:,
// stays text.
func parseContact(s string) contact {
	s = clean(s, 200)
	if addr, err := mail.ParseAddress(s); err == nil && addr.Address == s {
		return contact{s, template.URL("mailto:" + url.PathEscape(s))}
	}
	u, err := url.Parse(s)
	if err != nil || strings.ContainsFunc(s, unicode.IsSpace) {
		return contact{Text: s}
	}
	switch {
	case u.Scheme == "https" && u.Host != "" && u.User == nil:
		return contact{strings.TrimSuffix(strings.TrimPrefix(s, "https://"), "/"), template.URL(u.String())}
	case u.Scheme == "mailto" && u.Opaque != "":
		text, _, _ := strings.Cut(u.Opaque, "?")
		return contact{text, template.URL(u.String())}
	case u.Scheme == "dingtalk" && u.Host != "":
		return contact{s, template.URL(u.String())}
	}
	return contact{Text: s}
}

// clean makes text of unknown origin fit for display: one line, valid UTF-8, without control
// characters and characters that change the direction of the surrounding text (threats W7), at
// most limit characters.
func clean(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if unicode.IsSpace(r) {
			r = ' '
		}
		if !unicode.IsGraphic(r) { // control, bidi, zero-width, unassigned, private
			continue
		}
		if n == limit {
			b.WriteRune('…')
			break
		}
		b.WriteRune(r)
		n++
	}
	return strings.TrimSpace(b.String())
}
