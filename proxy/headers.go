package proxy

import (
	"net/http"
	"strings"

	"dinggate/internal/web"
)

// forwarded sets the X-Forwarded headers of the client, the host and the scheme. The
// client's own have been dropped (threats H6). An unknown client is left out: the
// nearest proxy's address in its place might be one that an upstream trusts.
func forwarded(h http.Header, x *web.Exchange) {
	v := new([5]string) // one allocation for all
	v[0], v[1], v[2] = x.Scheme, x.Host, x.ID
	h["X-Forwarded-Proto"], h["X-Forwarded-Host"], h["X-Request-Id"] = v[0:1:1], v[1:2:2], v[2:3:3]
	if !x.Client.IsValid() {
		return
	}
	v[3] = x.Client.String()
	v[4] = v[3]
	if x.Trusted && x.Peer.IsValid() && x.Peer != x.Client {
		v[4] += ", " + x.Peer.String()
	}
	h["X-Real-Ip"], h["X-Forwarded-For"] = v[3:4:4], v[4:5:5]
}

// scrubResponse removes from an upstream's headers or trailers what only we may set:
// our cookies (threats C14), the protected names (H12) and challenges that would
// authenticate a connection (M17). X-Request-Id may be returned; it is the one we
// sent.
func (u *Upstream) scrubResponse(h http.Header) {
	for name := range h {
		if u.protected.Has(name) && name != "X-Request-Id" {
			delete(h, name)
		}
	}
	dropConnectionChallenges(h)
	if sites := h["Clear-Site-Data"]; sites != nil {
		if delete(h, "Clear-Site-Data"); !clearsCookies(sites) {
			h["Clear-Site-Data"] = sites
		}
	}
	ours := false
	for _, c := range h["Set-Cookie"] {
		ours = ours || web.OurCookieName(c)
	}
	if !ours {
		return
	}
	var kept []string
	for _, c := range h["Set-Cookie"] {
		if !web.OurCookieName(c) {
			kept = append(kept, c)
		}
	}
	delete(h, "Set-Cookie")
	if kept != nil {
		h["Set-Cookie"] = kept
	}
}

// clearsCookies reports whether a Clear-Site-Data would also delete our session
// cookie; it cannot be restricted to some cookies, so the application's is dropped.
func clearsCookies(lines []string) bool {
	for _, line := range lines {
		if strings.Contains(line, `"cookies"`) || strings.Contains(line, `"*"`) {
			return true
		}
	}
	return false
}

// renew adds the renewed session cookie, if any, to the answer to a page load. It must
// not enter a shared cache: an answer that is cacheable goes without, and a later page
// load carries the cookie (threats W6).
func (p *proxiedRequest) renew(h http.Header) {
	if p.session == nil || !p.handler.Sessions.Renewable(p.session) || !web.IsPageLoad(p.in.Method, p.in.Header) ||
		sharedCache(h) {
		return
	}
	if c := p.handler.Sessions.Renew(p.session); c != nil {
		h["Set-Cookie"] = append(h["Set-Cookie"], c.String())
		h["Cache-Control"] = append(h["Cache-Control"], "private")
	}
}

// sharedCache reports whether an answer may enter a shared cache: by Cache-Control, or
// by a header for some caches alone, which they obey instead (RFC 9213).
func sharedCache(h http.Header) bool {
	for name := range h {
		if strings.HasSuffix(name, "-Cache-Control") || name == "Surrogate-Control" || name == "X-Accel-Expires" {
			return true
		}
	}
	for _, line := range h["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(strings.Trim(directive, " \t"), "=")
			if strings.EqualFold(name, "public") || strings.EqualFold(name, "s-maxage") {
				return true
			}
		}
	}
	return false
}
