package forwardauth

import (
	"net/http"

	"dinggate/internal/web"
)

// forwarded is Traefik, Caddy, APISIX, Higress and the HAProxy and Apache
// scripts: the original request in X-Forwarded-Method, -Proto, -Host and -Uri,
// our whole answer relayed. X-Original-* is never read here: Caddy passes a
// client's own along.
var forwarded = Dialect{
	Name: "forward-auth",
	Original: func(g *Handler, x *web.Exchange, r *http.Request) (OriginalRequest, error) {
		if !x.Trusted {
			return g.ownHost(r)
		}
		var q OriginalRequest
		var err error
		if q.Method, err = forwardedMethod(r.Header, "X-Forwarded-Method"); err != nil {
			return q, err
		}
		if q.URI, _, err = once(r.Header, "X-Forwarded-Uri"); err != nil {
			return q, err
		}
		err = g.forwardedHost(r, &q)
		return q, err
	},
}
