package forwardauth

import (
	"net/http"
	"strings"

	"dinggate/internal/web"
)

// envoy is Envoy's HTTP ext_authz, Istio, Envoy Gateway and the Gateway API:
// the original method, and the original target behind our path, byte for byte
// as it was sent (CVE-2021-32779: a fragment that two programs read differently).
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
