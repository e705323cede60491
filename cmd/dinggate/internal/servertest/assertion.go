package servertest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// VerifyAssertion verifies a token as an application does: keys from jwks.json, issuer,
// audience and time.
func VerifyAssertion(t *testing.T, h *Env, token, audience string) (claims map[string]any) {
	t.Helper()
	a := h.NewClient().Get(h.URL + "/oauth2/jwks.json")
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(a.Text), &keys); err != nil || a.StatusCode != 200 ||
		a.Header.Get("Content-Type") != "application/json" || strings.Contains(a.Text, `"d":`) {
		t.Fatalf("jwks.json = %d %s", a.StatusCode, a.Text)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Errorf("%q is no token: %v", token, err)
		return nil
	}
	var standard jwt.Claims
	if err := parsed.Claims(keys, &standard, &claims); err != nil {
		t.Errorf("the token does not verify: %v", err)
		return nil
	}
	if err := standard.ValidateWithLeeway(jwt.Expected{
		Issuer:      h.URL,
		AnyAudience: jwt.Audience{audience},
		Time:        time.Now(),
	}, time.Second); err != nil {
		t.Errorf("the token is not for %s now: %v", audience, err)
	}
	return claims
}
