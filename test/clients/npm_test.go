package clients

import "testing"

// TestOpenIDClient is panva's openid-client, which most of Node.js stands on; its
// two APIs have no line in common.
func TestOpenIDClient(t *testing.T) {
	open(t, callback).node(row(t, "openid-client 6.9.0"), "openid-client-6.mjs", "openid-client@6.9.0")
}

func TestOpenIDClient5(t *testing.T) {
	open(t, callback).node(row(t, "openid-client 5.7.0"), "openid-client-5.mjs", "openid-client@5.7.0")
}

// TestOAuth4WebAPI is oauth4webapi, which Auth.js stands on.
func TestOAuth4WebAPI(t *testing.T) {
	open(t, callback).node(row(t, "oauth4webapi 3.8.8"), "oauth4webapi.mjs", "oauth4webapi@3.8.8")
}

// TestExpressOpenIDConnect is Auth0's middleware for Express, a running application.
func TestExpressOpenIDConnect(t *testing.T) {
	base := "http://127.0.0.1:" + freePort(t)
	open(t, base+"/callback", base).node(row(t, "express-openid-connect 3.4.0"), "express-openid-connect.mjs",
		"express-openid-connect@3.4.0")
}

// TestPassport is passport-openidconnect. It knows addresses alone: neither discovery
// nor PKCE, refresh or logout.
func TestPassport(t *testing.T) {
	open(t, callback).node(row(t, "passport-openidconnect 0.1.2"), "passport-openidconnect.mjs", "passport-openidconnect@0.1.2")
}
