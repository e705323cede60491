package proxy

import (
	"net/http"
	"strings"

	"dinggate/internal/web"
)

// forwarded sets what the upstream learns of the client, the host and the scheme. The client's own claims have
// been dropped (threats H6). An unknown client is left out: the nearest
// proxy's address in its place might be one that an upstream trusts.
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

// scrubResponse takes from an upstream's headers or trailers what is ours to say: our
// cookies (threats C14), the names that speak of persons and addresses (H12) and
// challenges that would bind a person to a connection (M17). X-Request-Id may come back; it is the one we sent.
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

// clearsCookies reports whether a Clear-Site-Data would sign the person out of
// us as well; a browser knows no narrower wish, so the application's is left out.
func clearsCookies(lines []string) bool {
	for _, line := range lines {
		if strings.Contains(line, `"cookies"`) || strings.Contains(line, `"*"`) {
			return true
		}
	}
	return false
}

// renew adds the session's new cookie, where there is one, to the answer to a
// page load. No shared cache may keep it: an answer that invites one goes
// without, another page will come (threats W6).
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

func sharedCache(h http.Header) bool {
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
