package forwardauth

import (
	"net/http"
	"strings"

	"dinggate/internal/web"
)

// nginx is `auth_request` and its relatives (ingress-nginx, Tengine, OpenResty,
// Angie): a fixed path, the original request in X-Original-URL, else
// X-Original-URI, otherwise X-Forwarded-Uri; 200, 401 or 403 and nothing else.
var nginx = Dialect{Name: "auth", Original: originalURL, Plain: true}

func originalURL(g *Handler, x *web.Exchange, r *http.Request) (OriginalRequest, error) {
	if !x.Trusted {
		return g.ownHost(r)
	}
	var q OriginalRequest
	var err error
	if q.Method, err = forwardedMethod(r.Header, "X-Original-Method", "X-Forwarded-Method"); err != nil {
		return q, err
	}
	full, sent, err := once(r.Header, "X-Original-Url")
	if err != nil {
		return q, err
	}
	if sent {
		q.Scheme, q.Host, q.URI, err = splitURL(full)
	} else {
		err = g.forwardedHost(r, &q)
	}
	if err != nil {
		return q, err
	}
	// A client's own X-Original-URI passes through gateways that set another of
	// these: they must agree.
	for _, name := range []string{"X-Original-Uri", "X-Forwarded-Uri"} {
		uri, sent, err := once(r.Header, name)
		if err != nil || sent && q.URI != "" && uri != q.URI {
			return q, errOriginal
		}
		if sent {
			q.URI = uri
		}
	}
	return q, nil
}

// splitURL reads scheme://host/path?query without decoding anything.
func splitURL(raw string) (scheme, host, uri string, err error) {
	proto, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return "", "", "", errOriginal
	}
	if scheme, err = schemeOf(proto); err != nil {
		return "", "", "", err
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	if host, err = web.CleanHost(rest[:end], scheme); err != nil {
		return "", "", "", err
	}
	if uri = rest[end:]; uri == "" || uri[0] == '?' {
		uri = "/" + uri
	}
	return scheme, host, uri, nil
}
