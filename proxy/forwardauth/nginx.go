package forwardauth

import (
	"net/http"
	"strings"

	"dinggate/internal/web"
)

// nginx is the dialect of `auth_request` (nginx, ingress-nginx, Tengine, OpenResty, Angie): a
// fixed path; the original request in X-Original-URL, otherwise X-Original-URI, otherwise
// X-Forwarded-Uri; only 200, 401 and 403.
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
	// Some gateways set only one of these and forward the client's own value of another: the
	// values must agree.
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

// splitURL splits scheme://host/path?query and decodes nothing.
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
