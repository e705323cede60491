package deploy_test

import (
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"
)

// standin is a gateway that cannot be had as a program here, reduced to what
// matters to dinggate: what it asks, and how it obeys. What an operator can
// set comes from the example in this folder.
//
//	browser ─► edge (headers) ─► clean (path) ─┬─ /oauth2/ ─────────────► gate
//	                                           ├─ ask ─► gate: allowed? ─► grant ─► application
//	                                           └─────────────── refused ─► refuse ─► browser
type standin struct {
	name string

	// edge is what the gateway does to every request's headers. A status other
	// than 0 refuses.
	edge func(in *http.Request) (status int)

	// clean reads a raw path: as routes match it and as it travels on.
	clean func(raw string) (matched, forwarded string, status int)

	// nil: never asks, dinggate proxies behind it
	ask     func(in *http.Request, matched, forwarded string) *http.Request
	allowed func(status int) bool
	grant   func(out, answer http.Header)
	success func(browser, answer http.Header) // headers of a 200 that the browser gets too; nil: none
	refuse  func(w http.ResponseWriter, in *http.Request, res *http.Response, body []byte)
	gone    int // what the browser gets when dinggate does not answer

	identity string // prefix of the headers that name a person
	bare     bool   // an unknown value is no header, instead of an empty one
	gate     string // URL
	app      string // URL
}

const (
	standinHost   = "app.example.com"
	standinClient = "198.51.100.7" // where the browser is, as far as the gateway can see
)

// standinHops are hop-by-hop headers, which no gateway passes to a check.
var standinHops = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade"}

// standinAsker never follows a redirect and never waits for long.
var standinAsker = &http.Client{
	Timeout:       10 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (s *standin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Host != standinHost { // no virtual host, no rule, no Ingress
		http.Error(w, "no route", http.StatusNotFound)
		return
	}
	if status := s.edge(r); status != 0 {
		http.Error(w, "refused by the gateway", status)
		return
	}
	raw, query, asked := strings.Cut(r.RequestURI, "?")
	if asked {
		query = "?" + query
	}
	matched, forwarded, status := s.clean(raw)
	if status != 0 {
		http.Error(w, "refused by the gateway", status)
		return
	}
	if s.ask == nil || strings.HasPrefix(matched, "/oauth2/") {
		s.pass(w, r, s.gate, forwarded+query, nil)
		return
	}
	res, err := standinAsker.Do(s.ask(r, matched+query, forwarded+query))
	if err != nil {
		http.Error(w, "dinggate does not answer", s.gone)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	switch {
	case err != nil:
		http.Error(w, "dinggate does not answer", s.gone)
	case s.allowed(res.StatusCode):
		s.grant(r.Header, res.Header)
		s.pass(w, r, s.app, forwarded+query, res.Header)
	default:
		s.refuse(w, r, res, body)
	}
}

// pass proxies with everything as it came: method, raw target, host, body.
// answer is that of dinggate, nil for a request nobody asked about.
func (s *standin) pass(w http.ResponseWriter, r *http.Request, to, uri string, answer http.Header) {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL, pr.Out.Host = standinURL(to, uri), pr.In.Host
			for name, values := range pr.In.Header { // Rewrite takes these away
				if strings.HasPrefix(name, "X-Forwarded-") || name == "Forwarded" {
					pr.Out.Header[name] = values
				}
			}
			if s.bare {
				for name, values := range pr.Out.Header {
					if len(values) == 1 && values[0] == "" {
						delete(pr.Out.Header, name)
					}
				}
			}
		},
		ModifyResponse: func(res *http.Response) error {
			if answer != nil && s.success != nil {
				s.success(res.Header, answer)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, "no answer", http.StatusBadGateway)
		},
	}
	proxy.ServeHTTP(w, r)
}

// standinURL joins a base and a raw target without touching a byte of it.
func standinURL(base, uri string) *url.URL {
	u, err := url.Parse(base)
	if err != nil {
		panic(err)
	}
	raw, query, _ := strings.Cut(uri, "?")
	u.RawQuery = query
	if strings.HasPrefix(raw, "//") { // an opaque one would become http://…
		u.Path = raw
	} else {
		u.Opaque = raw
	}
	return u
}

// question is a request to dinggate that carries what h says and nothing else.
func (s *standin) question(method, uri string, h http.Header) *http.Request {
	r := &http.Request{
		Method: method,
		URL:    standinURL(s.gate, uri),
		Header: h,
		Host:   strings.TrimPrefix(s.gate, "http://"),
	}
	if len(h["User-Agent"]) == 0 {
		h.Set("User-Agent", "") // or Go adds its own
	}
	return r
}

// listed picks the headers that match, joined into one as Envoy joins them.
func listed(h http.Header, match func(lower string) bool) http.Header {
	out := http.Header{}
	for name, values := range h {
		if match(strings.ToLower(name)) {
			out[name] = []string{strings.Join(values, ",")}
		}
	}
	return out
}

// copyAnswer relays an answer whole, less what belongs to the connection.
func copyAnswer(w http.ResponseWriter, res *http.Response, status int, body []byte) {
	for name, values := range res.Header {
		w.Header()[name] = values
	}
	for _, name := range append(standinHops, "Content-Length", "Date") {
		w.Header().Del(name)
	}
	w.WriteHeader(status)
	w.Write(body)
}

// The ways in which gateways read a path.

// rawPath is forwarded as sent; routes match what nginx makes of it: decoded
// once, slashes merged, dot segments resolved.
func cleanNginx(raw string) (matched, forwarded string, status int) {
	decoded, err := url.PathUnescape(raw)
	if err != nil || strings.ContainsRune(decoded, 0) {
		return "", "", http.StatusBadRequest
	}
	return cleanDots(decoded), raw, 0
}

// cleanUnreserved decodes letters, digits, - . _ ~ and resolves dot segments;
// slashes stay, encoded or doubled: Envoy with normalize_path.
func cleanUnreserved(raw string) (matched, forwarded string, status int) {
	p := strings.ReplaceAll(decodeUnreserved(raw), "\\", "/")
	p = strings.ReplaceAll(p, "//", "/\x00/") // path.Clean would merge them
	p = strings.ReplaceAll(cleanDots(p), "/\x00/", "//")
	return p, p, 0
}

// cleanEnvoyStrict also refuses encoded slashes: REJECT_REQUEST.
func cleanEnvoyStrict(raw string) (matched, forwarded string, status int) {
	if lower := strings.ToLower(raw); strings.Contains(lower, "%2f") || strings.Contains(lower, "%5c") {
		return "", "", http.StatusBadRequest
	}
	return cleanUnreserved(raw)
}

// cleanMerged also merges slashes: Traefik's sanitizePath, Kong.
func cleanMerged(raw string) (matched, forwarded string, status int) {
	if strings.Contains(raw, "#") {
		return "", "", http.StatusBadRequest
	}
	p := cleanDots(decodeUnreserved(raw))
	return p, p, 0
}

// cleanEnvoyGateway is its default plus the example's ClientTrafficPolicy.
func cleanEnvoyGateway(raw string) (matched, forwarded string, status int) {
	p, _, status := cleanEnvoyStrict(raw)
	if status != 0 {
		return "", "", status
	}
	return cleanMerged(p)
}

func cleanDots(p string) string {
	cleaned := path.Clean("/" + p)
	if cleaned != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		cleaned += "/"
	}
	return cleaned
}

func decodeUnreserved(raw string) string {
	var out strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] == '%' && i+2 < len(raw) {
			if c, err := url.PathUnescape(raw[i : i+3]); err == nil &&
				strings.ContainsAny(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") {
				out.WriteString(c)
				i += 2
				continue
			}
		}
		out.WriteByte(raw[i])
	}
	return out.String()
}

func TestStandinPaths(t *testing.T) {
	for _, c := range []struct {
		name             string
		clean            func(string) (string, string, int)
		raw              string
		matched, forward string
		status           int
	}{
		{"nginx", cleanNginx, "/a/%2e%2e//b%2Fc", "/b/c", "/a/%2e%2e//b%2Fc", 0},
		{"nginx", cleanNginx, "/a%zz", "", "", 400},
		{"envoy", cleanUnreserved, "/a/%2e%2e//%61b%2Fc/", "//ab%2Fc/", "//ab%2Fc/", 0},
		{"envoy strict", cleanEnvoyStrict, "/a%2Fb", "", "", 400},
		{"traefik", cleanMerged, "//a/./%62%2Fc", "/a/b%2Fc", "/a/b%2Fc", 0},
		{"envoy gateway", cleanEnvoyGateway, "//%61/../b", "/b", "/b", 0},
	} {
		if m, f, s := c.clean(c.raw); m != c.matched || f != c.forward || s != c.status {
			t.Errorf("%s: clean(%q) = %q, %q, %d, want %q, %q, %d", c.name, c.raw, m, f, s, c.matched, c.forward,
				c.status)
		}
	}
}
