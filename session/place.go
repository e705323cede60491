package session

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A place is where browsers hold a session cookie: "" is public_url's host with all
// that cookie.domain covers, anything else a host out of its reach. The same session
// has a cookie in each place that its browser has been to, with one id: it ends in
// all of them at once. The place is under the seal, so that a cookie of one opens
// nothing in another: a foreign domain that is taken over gives no more than its own
// pages.

// TextAt is the text of a cookie as Load wants it, of a request in a place.
func TextAt(place, value string) string {
	if place == "" {
		return value
	}
	return place + placeMark + value // no header holds a line break: it cannot be sent
}

// TextsAt is TextAt of each value, in values itself.
func TextsAt(place string, values []string) []string {
	if place != "" {
		for i, value := range values {
			values[i] = TextAt(place, value)
		}
	}
	return values
}

const placeMark = "\n"

// placeOf parts a text into place and value.
func placeOf(text string) (place, value string) {
	if place, value, ok := strings.Cut(text, placeMark); ok {
		return place, value
	}
	return "", text
}

// Cookies are those of the sessions in one place.
type Cookies struct {
	manager *Manager
	place   string
}

// At are the cookies of a place.
func (m *Manager) At(place string) Cookies { return Cookies{m, place} }

// Name is the name of the session cookie. Outside cookie.domain it is always bound to
// its host, where browsers can do that.
func (c Cookies) Name() string {
	if c.place == "" {
		return c.manager.CookieName()
	}
	return CookieName(c.manager.Secure, "")
}

// sealName is what the seal of a cookie vouches for: its name, and its place.
func (c Cookies) sealName() string {
	if c.place == "" {
		return c.Name()
	}
	return c.Name() + " " + c.place
}

func (c Cookies) cookie(value string) *http.Cookie {
	config := c.manager.Cookie
	if c.place != "" {
		config.Domain = ""
	}
	return config.cookie(c.manager.Secure, value)
}

// Clear is Manager.Clear in the place.
func (c Cookies) Clear() *http.Cookie {
	cleared := c.cookie("")
	cleared.MaxAge, cleared.Expires = -1, time.Unix(1, 0)
	return cleared
}

// Text is the cookie text that s came with, as Load wants it; "" for a session that
// Load or Create did not make.
func (s *Session) Text() string {
	if s.entry == nil {
		return ""
	}
	return s.entry.text
}

// Of makes the cookie of a session that Load has found in another place. Its lifetime
// ends when the session's does.
func (c Cookies) Of(s *Session) (*http.Cookie, error) {
	m := c.manager
	m.init()
	e, now := s.entry, m.Time()
	if e == nil {
		return nil, fmt.Errorf("session: a cookie for %s: the session has none", c.place)
	}
	again := *s
	if e.ticket == nil {
		again.User, _ = fitUser(s.User, maxUser) // one who does not fit is an error of sealCookie
	}
	value, err := m.records.sealCookie(c.sealName(), &again, e.ticket, now)
	if err != nil {
		return nil, err
	}
	return until(c.cookie(value), e.expires, now), nil
}
