package oidc

import (
	"net/http"

	"dinggate/internal/web"
)

// cors lets scripts on pages of other origins read an endpoint's answers. Cookies are not allowed:
// a script authenticates by a token, or reads public data.
func (p *Provider) cors(allowed func(origin string) string, h web.HandlerFunc) web.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		header := w.Header()
		header.Add("Vary", "Origin")
		origin := r.Header["Origin"]
		allow := ""
		if len(origin) == 1 {
			allow = allowed(origin[0])
		}
		if allow != "" {
			header["Access-Control-Allow-Origin"] = []string{allow}
			header["Access-Control-Expose-Headers"] = []string{"WWW-Authenticate"}
		}
		if r.Method != http.MethodOptions {
			return h(w, r)
		}
		web.SecurityHeaders(w, "")
		if allow != "" {
			header["Access-Control-Allow-Methods"] = []string{"GET, POST, OPTIONS"}
			header["Access-Control-Allow-Headers"] = []string{"Authorization, Content-Type"}
			header["Access-Control-Max-Age"] = []string{"3600"}
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

func anyOrigin(string) string { return "*" }

// publicOrigin allows the origins of public clients, which run in a browser.
func (c *clients) publicOrigin(origin string) string {
	if c.origins[origin] {
		return origin
	}
	return ""
}
