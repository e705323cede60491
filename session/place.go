package session

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// TextAt returns the text that Load expects for the value of a session cookie that a request to a
// host in this place sent; see Cookies.
func TextAt(place, value string) string {
	if place == "" {
		return value
	}
	return place + placeMark + value // no header can hold a line break, so no client can send one
}

// TextsAt is TextAt of each value; it changes and returns values.
func TextsAt(place string, values []string) []string {
	if place != "" {
		for i, value := range values {
			values[i] = TextAt(place, value)
		}
	}
	return values
}

const placeMark = "\n"

// placeOf splits a text into place and value.
func placeOf(text string) (place, value string) {
	if place, value, ok := strings.Cut(text, placeMark); ok {
		return place, value
	}
	return "", text
}

// Cookies makes the session cookies of one place.
//
// A place is the scope of a session cookie: "" is public_url's host with all that
// cookie.domain covers, anything else is a host outside that scope. The same session
// has a cookie in each place that its browser has visited, with one id: it ends in all
// of them at once. The place is sealed into the cookie, so that a cookie of one place
// is invalid in another: an attacker who takes over a foreign domain gains access to
// that domain's pages only.
type Cookies struct {
	manager *Manager
	place   string
}

// At returns the cookies of a place, as web.Origins.Place names it.
func (m *Manager) At(place string) Cookies { return Cookies{m, place} }

// Name is the name of the session cookie. Outside cookie.domain it always has the
// prefix that binds it to its host, if browsers accept that.
func (c Cookies) Name() string {
	if c.place == "" {
		return c.manager.CookieName()
	}
	return CookieName(c.manager.Secure, "")
}

// sealName is the name that the seal authenticates: the cookie's name, and its place.
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

// Text is the cookie text that s came with, as Load expects it; "" for a session that neither
// Load nor Begin returned.
func (s *Session) Text() string {
	if s.entry == nil {
		return ""
	}
	return s.entry.text
}

// Of makes the cookie of a session that Load has found in another place. Its lifetime
// ends when the session's does. The error means that s has no cookie (see Session.Text), or that
// its data does not fit into one.
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
