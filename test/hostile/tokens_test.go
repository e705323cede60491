package hostile

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tokenService is an SSO service that serves only userinfo. The token determines the response:
// good-…, aud-<JSON in base64>-…, hang-…, down-…. All other tokens are invalid.
type tokenService struct {
	mu        sync.Mutex
	requests  map[string]int // by token
	cancelled map[string]int // clients that disconnected before a response
	base      string
}

func newTokenService(t *testing.T) *tokenService {
	s := &tokenService{requests: map[string]int{}, cancelled: map[string]int{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	s.base = "http://" + l.Addr().String()
	return s
}

func (s *tokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token := r.Header.Get("Authorization")
	s.count(s.requests, token)
	kind, rest, _ := strings.Cut(token, "-")
	switch kind {
	case "good":
		io.WriteString(w, `{"username":"alice","email":"alice@example.com","aud":"gate"}`)
	case "aud":
		coded, _, _ := strings.Cut(rest, "-")
		aud, _ := base64.RawURLEncoding.DecodeString(coded)
		fmt.Fprintf(w, `{"username":"alice","email":"","aud":%s}`, aud)
	case "hang":
		<-r.Context().Done()
		s.count(s.cancelled, token)
	case "down":
		w.WriteHeader(503)
	default:
		w.WriteHeader(401)
	}
}

func (s *tokenService) count(of map[string]int, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of[token]++
}

func (s *tokenService) read(of map[string]int, token string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return of[token]
}

// openSSOClient starts the env whose people sign in at a service, with API clients.
func openSSOClient(t *testing.T) *env {
	service := newTokenService(t)
	s := openWith(t, func(text string) string {
		before, rest, _ := strings.Cut(text, "dingtalk:\n")
		_, rest, _ = strings.Cut(rest, "cookie:")
		middle, rest, _ := strings.Cut(rest, "sso_server:\n")
		_, rest, _ = strings.Cut(rest, "admin:")
		return before +
			fmt.Sprintf("sso: {url: %q, client_id: gate, client_secret: %s-gate-secret}\napi_tokens: true\ncookie:",
				service.base, canary) + middle + "admin:" + rest
	})
	s.t, s.tokens, s.excused = t, service,
		[]string{"The configuration has no mistakes, but", "takes every access token"}
	return s
}

var tokenPaths = []string{"/page", "/oauth2/auth", "/oauth2/forward-auth", "/oauth2/ext-authz/page", "/oauth2/userinfo"}

// ssoClient covers T30, T31, D12 and D13 at a dinggate that is a client of the service.
func ssoClient(s *env) (list []try) {
	service := s.tokens
	add := func(name string, do func(h *client)) { list = append(list, try{name, do}) }
	for _, aud := range []string{`"other"`, `["other"]`, `["other","another"]`, `[]`, `7`, `{"gate":1}`, `["gate",7]`,
		`"Gate"`, `"gate "`, `"gate\u0000"`, `"gate,other"`, `true`, `""`} {
		for _, path := range tokenPaths {
			add(fmt.Sprintf("T30 aud %s at %s", aud, path), func(h *client) {
				token := "aud-" + base64.RawURLEncoding.EncodeToString([]byte(aud)) + "-" + h.id
				if a, seen := h.api(path, false, "Authorization: Bearer "+token); a.status != 401 || len(seen) > 0 {
					h.failf("got %v, want 401", a)
				}
				if a, seen := h.api("/public/page", true, "Authorization: Bearer "+token); a.status != 200 ||
					slices.ContainsFunc(seen, func(one upstreamRequest) bool { return len(one.values("Authorization")) > 0 }) {
					h.failf("on a public page = %v, the application saw %+v", a, seen)
				}
			})
		}
	}
	for _, aud := range []string{`"gate"`, `["other","gate"]`, `null`} {
		add("T30 accepted: aud "+aud, func(h *client) {
			token := "aud-" + base64.RawURLEncoding.EncodeToString([]byte(aud)) + "-" + h.id
			if a, seen := h.api("/page", true, "Authorization: Bearer "+token); a.status != 200 || len(seen) != 1 ||
				seen[0].value("X-Forwarded-User") != "alice" {
				h.failf("got %v, the application received %+v", a, seen)
			}
		})
	}
	for _, token := range []string{"good", "hang", "down", "none"} {
		for _, target := range []string{"/public/page", "/open", "/read/page"} {
			for _, scheme := range []string{"Bearer ", "bearer ", "Bearer  "} {
				add(fmt.Sprintf("T31 D12 %q%s at %s", scheme, token, target), func(h *client) {
					token := token + "-" + h.id
					a, seen := h.api(target, true, "Authorization: "+scheme+token)
					if a.status != 200 || len(seen) != 1 || len(seen[0].values("Authorization")) > 0 ||
						strings.Contains(seen[0].head, token) {
						h.failf("got %v, the application received %+v", a, seen)
					}
					if n := service.read(service.requests, token); n > 0 {
						h.failf("the service got %d requests for a public page", n)
					}
				})
			}
		}
	}
	for i := range 3 {
		add(fmt.Sprintf("D12 forty with one token %d", i), func(h *client) {
			token := "hang-" + h.id
			if statuses := h.manyTokens(40, func(int) (string, string) {
				return h.env.newAddress(), token
			}); statuses[503] != 40 {
				h.failf("statuses %v, want 503", statuses)
			}
			if n := service.read(service.requests, token); n != 1 {
				h.failf("the service got %d requests", n)
			}
			if a := h.send(request{
				from:    h.env.newAddress(),
				slow:    true,
				failing: true,
				raw:     requestText("GET", "/page", h.id, "Authorization: Bearer "+token),
			}); a.status != 503 || service.read(service.requests, token) != 1 {
				h.failf("a moment later = %v, %d requests to the service", a, service.read(service.requests, token))
			}
		})
		add(fmt.Sprintf("D12 clients that disconnect %d", i), func(h *client) {
			token := "hang-" + h.id
			w, err := dial(h.env.newAddress(), h.env.addr)
			if err != nil {
				h.failf("%v", err)
				return
			}
			io.WriteString(w.c, requestText("GET", "/page", h.id, "Authorization: Bearer "+token))
			if !until(func() bool { return service.read(service.requests, token) == 1 }) {
				h.failf("the service got no request")
			}
			w.c.Close()
			if !until(func() bool { return service.read(service.cancelled, token) == 1 }) {
				h.failf("the request to the service outlives its clients")
			}
		})
	}
	for i := range 3 {
		add(fmt.Sprintf("D13 a flood of invalid tokens %d", i), func(h *client) {
			address, good := h.env.newAddress(), "good-"+h.id
			use := func(from, token, when string) {
				if a := h.send(request{
					from:       from,
					authorized: true,
					slow:       true,
					raw:        requestText("GET", "/page", h.id, "Authorization: Bearer "+token),
				}); a.status != 200 {
					h.failf("%s: a good token = %v", when, a)
				}
			}
			use(address, good, "before")
			for round := range 4 {
				statuses := h.manyTokens(60, func(n int) (string, string) {
					return address, fmt.Sprintf("none-%s-%d-%d", h.id, round, n)
				})
				if statuses[401]+statuses[429] != 60 || round == 3 && statuses[429] == 0 {
					h.failf("round %d: statuses %v, want 401 and at last 429", round, statuses)
				}
				use(address, good, "beside the flood, from the same address")
				use(h.env.newAddress(), fmt.Sprintf("good-%s-%d", h.id, round), "beside the flood, from another address")
			}
		})
	}
	return list
}

// manyTokens requests a page n times at once with the addresses and tokens of source, and counts the
// statuses.
func (h *client) manyTokens(n int, source func(int) (from, token string)) map[int]int {
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for i := range n {
		from, token := source(i)
		all.Go(func() {
			w := &rawConns{idle: map[string]*rawConn{}}
			defer w.close()
			a, err := w.send(request{
				from:  from,
				to:    h.env.addr,
				fresh: true,
				raw:   requestText("GET", "/page", h.id, "Authorization: Bearer "+token),
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				h.failf("%v", err)
				return
			}
			statuses[a.status]++
		})
	}
	all.Wait()
	return statuses
}

// otherClientsTokens covers T30 at the service itself: the tokens of a client that is not in
// api_token_clients, at every endpoint and in every spelling.
func otherClientsTokens() (list []try) {
	for _, path := range append([]string{"/public/page"}, tokenPaths...) {
		for _, scheme := range []string{"Bearer ", "bearer ", "BEARER "} {
			list = append(list, try{"T30 " + scheme + "of another client at " + path, func(h *client) {
				v := h.visitor().signIn("zhangsan")
				to, _ := url.Parse(v.do(request{}, "GET",
					authorizeFor(appTwo, twoCallback, "s")).header.Get("Location"))
				a := h.token("code="+to.Query().Get("code")+"&state=s", authTwo, "Content-Type: text/plain")
				token, _, _ := strings.Cut(strings.TrimPrefix(a.body, `{"access_token":"`), `"`)
				if a.status != 200 || token == "" {
					h.failf("no token: %v", a)
					return
				}
				public := path == "/public/page"
				got, seen := h.api(path, public, "Authorization: "+scheme+token)
				if public &&
					(got.status != 200 || len(seen) != 1 || len(seen[0].values("Authorization")) > 0 ||
						seen[0].value("X-Forwarded-User") != "") {
					h.failf("got %v, the application received %+v", got, seen)
				} else if !public && (got.status != 401 || len(seen) > 0) {
					h.failf("got %v, want 401", got)
				}
			}})
		}
	}
	return list
}

// uncheckedPasswords covers T31 for passwords: after too many tries even the correct password is not
// verified.
func uncheckedPasswords() (list []try) {
	coded := func(name, secret string) string {
		return base64.StdEncoding.EncodeToString([]byte(name + ":" + secret))
	}
	for i, scheme := range []string{"Basic ", "basic ", "BASIC "} {
		for _, target := range []string{"/public/page", "/open", "/read/page"} {
			list = append(list,
				try{fmt.Sprintf("T31 a correct %safter too many tries at %s", scheme, target), func(h *client) {
					from := h.env.newAddress()
					send := func(where, name, secret string, authorized bool) (*answer, []upstreamRequest) {
						id := fmt.Sprintf("%s-%d", h.id, h.env.seq.Add(1))
						a := h.send(request{
							from:       from,
							slow:       true,
							authorized: authorized,
							raw:        requestText("GET", where, id, "Authorization: "+scheme+coded(name, secret)),
						})
						return a, h.env.up.received(id)
					}
					limited := false
					for n := 0; n < 40 && !limited; n++ {
						a, _ := send("/page", "frank", fmt.Sprint("guess", i, n), false)
						limited = a.status == 429
					}
					if !limited {
						h.failf("40 guesses are not limited")
					}
					for _, secret := range []string{password("frank"), "wrong"} {
						if a, seen := send(target, "frank", secret, true); a.status != 200 || len(seen) != 1 ||
							len(seen[0].values("Authorization")) > 0 || seen[0].value("X-Forwarded-User") != "" {
							h.failf("got %v, the application received %+v", a, seen)
						}
					}
				}})
		}
	}
	return list
}
