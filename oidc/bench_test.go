package oidc

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"dinggate/oidc/keys"
)

// BenchmarkSignIn signs in another person each time: authorization request, code, userinfo, in
// memory and without a network. BenchmarkBareSignIn does the same with handlers that check only
// the secret, and sign the same token.
func BenchmarkSignIn(b *testing.B) {
	e := emptyEnv(b)
	e.url = "https://login.test"
	e.Provider = e.provider(testClients())
	n := 0
	benchmarkSignIn(b, e.serve, func() string {
		n++
		u := zhangsan
		u.UnionID, u.UserID = fmt.Sprintf("U%d", n), fmt.Sprintf("u%d", n)
		return e.login(u)
	})
}

func BenchmarkBareSignIn(b *testing.B) {
	fixedKeys() // made before the measurement
	bare := &bareProvider{codes: map[string]string{}, tokens: map[string]string{}}
	benchmarkSignIn(b, bare.serve, func() string { return "s" })
}

func benchmarkSignIn(b *testing.B, serve http.HandlerFunc, cookie func() string) {
	send := func(method, path, body string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "https://login.test"+path, strings.NewReader(body))
		r.Header.Set("Accept", "text/html")
		if body != "" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		serve(w, r)
		return w
	}
	request := PathAuthorize + "?" + authorizeURL()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("app:"+appSecret))
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		w := send("GET", request, "", "Cookie", "s="+cookie(), "Sec-Fetch-Mode", "navigate")
		at, err := url.Parse(w.Header().Get("Location"))
		if err != nil || at.Query().Get("code") == "" {
			b.Fatalf("authorize = %d %s", w.Code, w.Body)
		}
		w = send("POST", PathToken, redemption(at.Query().Get("code")), "Authorization", basic)
		var tokens tokenAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &tokens); err != nil || tokens.IDToken == "" {
			b.Fatalf("token = %d %s", w.Code, w.Body)
		}
		if w = send("GET", PathUserinfo, "", "Authorization", "Bearer "+tokens.AccessToken); w.Code != http.StatusOK {
			b.Fatalf("userinfo = %d %s", w.Code, w.Body)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// bareProvider does the minimum of a sign-in.
type bareProvider struct{ codes, tokens map[string]string }

func (p *bareProvider) serve(w http.ResponseWriter, r *http.Request) {
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		json.NewEncoder(w).Encode(v)
	}
	person := map[string]any{"sub": "h0exbpu8nyq9l_ymTmUDMg", "name": zhangsan.Name, "preferred_username": "zhangsan",
		"username": "zhangsan", "email": zhangsan.Email, "email_verified": true,
		"groups": []string{"主管", "ops", "42", "2", "1"}}
	switch r.URL.Path {
	case PathAuthorize:
		q, code := r.URL.Query(), rand.Text()
		p.codes[code] = q.Get("nonce")
		w.Header().Set("Location", q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode())
		w.WriteHeader(http.StatusFound)
	case PathToken:
		_, secret, _ := r.BasicAuth()
		nonce, ok := p.codes[r.PostFormValue("code")]
		if !ok || subtle.ConstantTimeCompare([]byte(secret), []byte(appSecret)) != 1 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		delete(p.codes, r.PostFormValue("code"))
		access, now := rand.Text(), time.Now()
		p.tokens[access] = "zhangsan"
		sum := sha256.Sum256([]byte(access))
		person["iss"], person["aud"], person["azp"], person["nonce"] = "https://login.test", "app", "app", nonce
		person["iat"], person["exp"], person["auth_time"] = now.Unix(), now.Add(time.Minute).Unix(), now.Unix()
		person["acr"], person["amr"], person["sid"] = "1", []string{"dingtalk"}, rand.Text()
		person["at_hash"] = base64.RawURLEncoding.EncodeToString(sum[:16])
		id, err := fixedKeys().Sign(keys.RS256, keys.TypeID, person)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		answer(tokenAnswer{AccessToken: access, TokenType: "Bearer", ExpiresIn: 600, RefreshToken: rand.Text(), IDToken: id})
	case PathUserinfo:
		if p.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer(person)
	}
}
