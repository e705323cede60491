package login

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"dinggate/internal/web"
)

// returnURLs decides which URLs a browser may return to after a sign-in, and builds the URLs of
// dinggate's endpoints that lead there.
type returnURLs struct {
	origins *web.Origins
	prefix  string
}

func (f *Flow) urls() returnURLs { return returnURLs{f.Origins, f.Prefix} }

// returnTarget is the return target that a request names: `rd`, otherwise the headers
// X-Auth-Request-Redirect and X-Forwarded-Uri of a trusted peer, otherwise /. A target that is not
// on one of our origins is / too. The error is a 400.
func (u returnURLs) returnTarget(x *web.Exchange, r *http.Request) (string, error) {
	raw, err := returnParameter(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	if raw == "" && x.Trusted {
		if v := r.Header["X-Auth-Request-Redirect"]; len(v) == 1 {
			raw = u.onOurScheme(v[0])
		} else if v := r.Header["X-Forwarded-Uri"]; len(v) == 1 && strings.HasPrefix(v[0], "/") {
			raw = v[0]
		}
	}
	target, _ := u.target(x, cmp.Or(raw, "/"))
	return target, nil
}

// returnParameter extracts `rd` from a raw query in the three forms that gateways write, since
// nginx cannot escape a URL and ingress-nginx escapes only the path:
//
//	rd=%2Fa%3Fb%26c  rd=https%3A%2F%2F…   an ordinary parameter: decoded once
//	rd=https://host%2Fa%3Fb               up to the next &, decoded once
//	rd=/a?b&c        rd=https://host/a    everything to the end of the query, decoded not at all
//
// Any other value is returned unchanged and is not a valid target. `+` is not decoded as a blank:
// a target contains none. A repeated rd is an error (threats R9), except in the raw form, where
// the rest of the query belongs to the target.
func returnParameter(query string) (string, error) {
	for rest := query; rest != ""; {
		pair, after, _ := strings.Cut(rest, "&")
		value, found := strings.CutPrefix(pair, "rd=")
		if !found {
			rest = after
			continue
		}
		if rawForm(value) {
			return strings.TrimPrefix(rest, "rd="), nil
		}
		if strings.HasPrefix(after, "rd=") || strings.Contains(after, "&rd=") {
			return "", &web.Error{
				Status: http.StatusBadRequest,
				Code:   "bad_request",
				Err:    errors.New("login: rd is repeated"),
			}
		}
		if !escapedForm(value) {
			return value, nil
		}
		decoded, err := url.PathUnescape(value)
		if err != nil {
			return value, nil // invalid as a target, because of the `%` before the path
		}
		return decoded, nil
	}
	return "", nil
}

// rawForm reports whether value begins with an unescaped path, optionally after an origin.
func rawForm(value string) bool {
	if strings.HasPrefix(value, "/") {
		return true
	}
	host, ok := cutScheme(value, "://")
	if !ok {
		return false
	}
	end := strings.IndexAny(host, "%/?#")
	return end >= 0 && host[end] != '%'
}

func escapedForm(value string) bool {
	if len(value) >= 3 && strings.EqualFold(value[:3], "%2F") {
		return true
	}
	_, encoded := cutScheme(value, "%3A")
	_, half := cutScheme(value, "://")
	return encoded || half
}

// cutScheme removes http or https and then, in any letter case.
func cutScheme(s, then string) (rest string, ok bool) {
	for _, scheme := range [...]string{"http", "https"} {
		if n := len(scheme) + len(then); len(s) >= n && strings.EqualFold(s[:n], scheme+then) {
			return s[n:], true
		}
	}
	return "", false
}

// target checks a return target. A path that was requested on another served host than
// public_url's, where the sign-in ends, becomes absolute. If it is invalid, the result is "/" and
// false.
func (u returnURLs) target(x *web.Exchange, raw string) (string, bool) {
	if strings.HasPrefix(raw, "/") && !u.onPublic(x) && u.origins.HasHost(x.Host) {
		if path, ok := u.allowed(raw); ok { // a path by itself first: //host is no path
			return u.allowed(u.origins.Scheme() + "://" + x.Host + path)
		}
	}
	return u.allowed(raw)
}

// allowed is the check of every target, before the sign-in and again after it (threats class R).
// Our own endpoints are not allowed, except userinfo, the pages about requests for access, which a
// notification leads to, the console, and the hand-over: a link with /start inside /start would send a person
// through one sign-in after another.
func (u returnURLs) allowed(raw string) (string, bool) {
	target, ok := u.origins.Return(raw)
	if !ok || u.ownEndpoint(target) {
		return "/", false
	}
	return target, true
}

func (u returnURLs) ownEndpoint(target string) bool {
	path := target
	if _, rest, absolute := strings.Cut(target, "://"); absolute && target[0] != '/' {
		path = rest[strings.IndexByte(rest, '/'):] // Return inserts one there
	}
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path = path[:i]
	}
	clean, err := web.CleanPath(path)
	return err == nil && strings.HasPrefix(clean.Plain, u.prefix+"/") &&
		clean.Plain != u.prefix+"/userinfo" && clean.Plain != u.prefix+"/signed_in" &&
		clean.Plain != u.prefix+"/sessions" &&
		clean.Plain != u.prefix+"/requests" && !strings.HasPrefix(clean.Plain, u.prefix+"/requests/") &&
		clean.Plain != u.prefix+"/console" && !strings.HasPrefix(clean.Plain, u.prefix+"/console/") &&
		!(clean.Plain == u.prefix+leavePath && strings.HasPrefix(target, "/"))
}

// onOurScheme replaces scheme and port of a URL on public_url's host by those of public_url:
// behind a TLS balancer nginx reports http, and some gateways lose the port.
func (u returnURLs) onOurScheme(raw string) string {
	rest, ok := cutScheme(raw, "://")
	if !ok {
		return raw
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, err := web.CleanHost(rest[:end], "")
	if err != nil || !u.origins.OnPublic(host) {
		return raw
	}
	return u.origins.Public() + rest[end:]
}

func (u returnURLs) redirectURI() string { return u.origins.Public() + u.prefix + "/callback" }

// path is one of our endpoints, from which the browser finally reaches target.
func (u returnURLs) path(endpoint, target string) string {
	return u.prefix + endpoint + "?rd=" + url.QueryEscape(target)
}

// onPublic reports whether the browser is on public_url's host.
func (u returnURLs) onPublic(x *web.Exchange) bool { return u.origins.OnPublic(x.Host) }

// parameter extracts one of our own parameters from a raw query; what follows an rd in its raw
// form belongs to rd (see returnParameter). A repeated parameter, or one that cannot be decoded,
// is an error.
func parameter(query, name string) (value string, err error) {
	seen := false
	for pair := range strings.SplitSeq(query, "&") {
		key, text, _ := strings.Cut(pair, "=")
		if key == "rd" && rawForm(text) {
			break
		}
		if key != name {
			continue
		}
		if value, err = url.QueryUnescape(text); err != nil || seen {
			return "", badRequest("a parameter is repeated or unreadable")
		}
		seen = true
	}
	return value, nil
}
