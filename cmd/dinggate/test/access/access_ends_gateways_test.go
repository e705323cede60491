package access

import (
	"net/http"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"
)

// subrequests sends an authorization subrequest of every kind for the person's page and
// returns whether each was allowed.
func (in *insider) subrequests() map[string]bool {
	h, v := in.h, in.v
	host := strings.TrimPrefix(h.URL, "http://")
	passes := func(path string, headers ...string) bool {
		return v.Get(h.URL+path, headers...).StatusCode == http.StatusOK
	}
	return map[string]bool{
		"nginx, ingress-nginx": passes("/oauth2/auth", "X-Original-URL: "+h.URL+"/x"),
		"Traefik, Caddy, HAProxy, APISIX": passes("/oauth2/forward-auth", "X-Forwarded-Method: GET", "X-Forwarded-Proto: http",
			"X-Forwarded-Host: "+host, "X-Forwarded-Uri: /x"),
		"Envoy, Istio over HTTP": passes("/oauth2/ext-authz/x"),
		"Envoy, Istio over gRPC": strings.HasPrefix(in.checkEnvoy("127.0.0.1", host, "/x", in.cookie), "ok"),
	}
}

// TestAccessEnds_Subrequests checks that every kind of subrequest is allowed before access
// ends, so that a later refusal is significant.
func TestAccessEnds_Subrequests(t *testing.T) {
	in := newInsider(t.Context(), t, servertest.Unchanged, false)
	for gateway, passes := range in.subrequests() {
		if !passes {
			t.Errorf("%s: is refused before anything happened", gateway)
		}
	}
}
