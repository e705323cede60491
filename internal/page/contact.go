package page

import (
	"html/template"
	"net/mail"
	"net/url"
	"strings"
	"unicode"
)

// contact is whom to ask; the zero value is nobody.
type contact struct {
	Text string
	Link template.URL // "" when Text is only text
}

// parseContact makes a link of what is one beyond doubt. Every other scheme,
// javascript: above all, stays text.
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

// clean makes text of unknown origin fit for display: one line, valid UTF-8,
// no control characters, none that turn the direction of the text around it
// (threats W7), at most limit characters.
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
