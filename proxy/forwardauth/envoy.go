package forwardauth

import (
	"net/http"
	"strings"

	"dinggate/internal/web"
)

// envoy is HTTP ext_authz of Envoy, Istio, Envoy Gateway and the Gateway API: the original method,
// and the original target appended to our path, byte for byte as the client sent it
// (CVE-2021-32779: two programs interpreted a fragment differently).
var envoy = Dialect{
	Name: "ext-authz",
	Original: func(g *Handler, x *web.Exchange, r *http.Request) (OriginalRequest, error) {
		uri, ok := strings.CutPrefix(r.RequestURI, g.Prefix+"/ext-authz")
		if !ok || !strings.HasPrefix(uri, "/") || strings.Contains(uri, "#") {
			return OriginalRequest{}, errOriginal
		}
		scheme := g.Origins.Scheme()
		if x.Trusted {
			var err error
			if scheme, err = g.forwardedProto(r.Header); err != nil {
				return OriginalRequest{}, err
			}
		}
		host, err := web.CleanHost(r.Host, scheme)
		return OriginalRequest{Method: r.Method, Scheme: scheme, Host: host, URI: uri}, err
	},
}
