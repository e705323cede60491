package forwardauth

import (
	"net/http"

	"dinggate/internal/web"
)

// forwarded is the dialect of Traefik, Caddy, APISIX, Higress and the scripts for HAProxy and
// Apache: the original request is in X-Forwarded-Method, -Proto, -Host and -Uri, and our whole
// answer is relayed. X-Original-* is ignored: Caddy forwards those of the client.
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
