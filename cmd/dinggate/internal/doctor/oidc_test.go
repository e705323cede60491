package doctor_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/doctor"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/i18n"
	"dinggate/oidc"
)

// provider answers at public_url as an OpenID Connect provider with this issuer ("" for
// its own address) and keys of these algorithms.
func (c *env) provider(issuer string, algorithms ...string) {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	c.t.Cleanup(server.Close)
	if issuer == "" {
		issuer = server.URL
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuer, server.URL+"/oidc/jwks")
	})
	mux.HandleFunc("/oidc/jwks", func(w http.ResponseWriter, _ *http.Request) {
		list := ""
		for i, algorithm := range algorithms {
			if i > 0 {
				list += ","
			}
			list += fmt.Sprintf(`{"kty":"x","alg":%q,"kid":"%d"}`, algorithm, i)
		}
		fmt.Fprintf(w, `{"keys":[%s]}`, list)
	})
	c.cfg.PublicURL = server.URL
}

func TestDoctorOIDC(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(c *env)
		check string
		want  string
	}{
		{"well", func(c *env) {}, "", ""},
		{"another issuer", func(c *env) { c.provider("https://other.example", "RS256", "ES256") }, "oidc.issuer",
			`the provider's issuer is "https://other.example"`},
		{"a gateway that forwards nothing", func(c *env) { c.cfg.PublicURL = c.serves(404) }, "oidc.issuer", "answers 404"},
		{"no key of the client's kind", func(c *env) { c.provider("", "RS256") }, "oidc.keys",
			"none is for ES256, which client app requires"},
		{"a back channel that is away", func(c *env) {
			c.cfg.OIDC.Clients[0].BackchannelLogoutURI = "http://" + servertest.ClosedAddress(c.t) + "/logout"
		}, "oidc.app.backchannel", "cannot be reached"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newEnv(t)
			c.cfg.OIDC.Clients = []oidc.ClientConfig{{
				ClientID:             "app",
				RedirectURIs:         []string{"http://localhost/callback", "http://" + servertest.ClosedAddress(t) + "/cb"},
				BackchannelLogoutURI: c.app.URL + "/logout",
				SigningAlg:           "ES256",
			}}
			c.provider("", "RS256", "ES256")
			tt.fault(c)
			found, order := c.examine()
			seen := 0
			for _, name := range order {
				if len(name) < 5 || name[:5] != "oidc." {
					continue
				}
				seen++
				f := found[name]
				failed := f.Severity == doctor.Wrong || f.Severity == doctor.Warning
				if failed != (name == tt.check) {
					t.Errorf("%s = %+v, want a problem of %q alone", name, f, tt.check)
				}
			}
			if f := found[tt.check]; tt.check != "" && !strings.Contains(f.Text[i18n.English], tt.want) || seen < 3 {
				t.Errorf("%d checks; %s says %q, want %q", seen, tt.check, f.Text, tt.want)
			}
		})
	}
}
