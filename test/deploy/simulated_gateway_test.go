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

// simulatedGateway simulates a gateway that is not available as a program here. The simulation is reduced
// to the behaviour that matters to dinggate: the authorization subrequest and the handling of its
// response. The settings of an operator come from the example in deploy/.
//
//	browser ─► edge (headers) ─► clean (path) ─┬─ /oauth2/ ─────────────────► dinggate
//	                                           └─ subrequest ─► dinggate
//	                                                 allowed ─► toUpstream ─► application
//	                                                 refused ─► refuse ─────► browser
type simulatedGateway struct {
	name string

	// edge applies the gateway's changes to the headers of every request. A status other than 0
	// refuses the request.
	edge func(in *http.Request) (status int)

	// clean parses a raw path. It returns the path that routes match and the path that is
	// forwarded.
	clean func(raw string) (matched, forwarded string, status int)

	// subrequest builds the authorization subrequest. If nil, the gateway sends none and dinggate is
	// the proxy behind it.
	subrequest  func(in *http.Request, matched, forwarded string) *http.Request
	allowed     func(status int) bool
	toUpstream  func(out, answer http.Header)     // copies headers of an allowing response to the forwarded request
	toBrowser   func(browser, answer http.Header) // copies them to the browser's response; nil: none
	refuse      func(w http.ResponseWriter, in *http.Request, res *http.Response, body []byte)
	unreachable int // status for the browser if dinggate does not respond

	identity string // prefix of the identity headers
	bare     bool   // an unknown value is an omitted header instead of an empty one
	dinggate string // URL
	app      string // URL
}

const (
	publicHost     = "app.example.com"
	browserAddress = "198.51.100.7" // the browser's address as the gateway sees it
)

// hopHeaders are hop-by-hop headers. No gateway copies them to a subrequest.
var hopHeaders = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade"}

// simulationClient sends the subrequests. It follows no redirects and has a short timeout.
var simulationClient = &http.Client{
	Timeout:       10 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (s *simulatedGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Host != publicHost { // no virtual host, no rule, no Ingress
		http.Error(w, "no route", http.StatusNotFound)
		return
	}
	if status := s.edge(r); status != 0 {
		http.Error(w, "refused by the gateway", status)
		return
	}
	raw, query, found := strings.Cut(r.RequestURI, "?")
	if found {
		query = "?" + query
	}
	matched, forwarded, status := s.clean(raw)
	if status != 0 {
		http.Error(w, "refused by the gateway", status)
		return
	}
	if s.subrequest == nil || strings.HasPrefix(matched, "/oauth2/") {
		s.pass(w, r, s.dinggate, forwarded+query, nil)
		return
	}
	res, err := simulationClient.Do(s.subrequest(r, matched+query, forwarded+query))
	if err != nil {
		http.Error(w, "dinggate does not respond", s.unreachable)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	switch {
	case err != nil:
		http.Error(w, "dinggate does not respond", s.unreachable)
	case s.allowed(res.StatusCode):
		s.toUpstream(r.Header, res.Header)
		s.pass(w, r, s.app, forwarded+query, res.Header)
	default:
		s.refuse(w, r, res, body)
	}
}

// pass forwards the request with its method, raw target, host and body unchanged. answer holds the
// headers of dinggate's response. It is nil for a request without a subrequest.
func (s *simulatedGateway) pass(w http.ResponseWriter, r *http.Request, to, uri string, answer http.Header) {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL, pr.Out.Host = rawURL(to, uri), pr.In.Host
			for name, values := range pr.In.Header { // Rewrite removes these
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
			if answer != nil && s.toBrowser != nil {
				s.toBrowser(res.Header, answer)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, "no response", http.StatusBadGateway)
		},
	}
	proxy.ServeHTTP(w, r)
}

// rawURL joins a base and a raw target without changing any byte of it.
func rawURL(base, uri string) *url.URL {
	u, err := url.Parse(base)
	if err != nil {
		panic(err)
	}
	raw, query, _ := strings.Cut(uri, "?")
	u.RawQuery = query
	if strings.HasPrefix(raw, "//") { // as Opaque it would become http://…
		u.Path = raw
	} else {
		u.Opaque = raw
	}
	return u
}

// newSubrequest returns a subrequest to dinggate that carries only the headers of h.
func (s *simulatedGateway) newSubrequest(method, uri string, h http.Header) *http.Request {
	r := &http.Request{
		Method: method,
		URL:    rawURL(s.dinggate, uri),
		Header: h,
		Host:   strings.TrimPrefix(s.dinggate, "http://"),
	}
	if len(h["User-Agent"]) == 0 {
		h.Set("User-Agent", "") // otherwise Go adds its own
	}
	return r
}

// listed returns the matching headers. Multiple values are joined into one, as Envoy joins them.
func listed(h http.Header, match func(lower string) bool) http.Header {
	out := http.Header{}
	for name, values := range h {
		if match(strings.ToLower(name)) {
			out[name] = []string{strings.Join(values, ",")}
		}
	}
	return out
}

// copyAnswer copies an entire response except its hop-by-hop headers.
func copyAnswer(w http.ResponseWriter, res *http.Response, status int, body []byte) {
	for name, values := range res.Header {
		w.Header()[name] = values
	}
	for _, name := range append(hopHeaders, "Content-Length", "Date") {
		w.Header().Del(name)
	}
	w.WriteHeader(status)
	w.Write(body)
}

// The ways in which gateways parse a path.

// cleanNginx forwards the raw path as sent. Routes match the path as nginx normalizes it: decoded
// once, slashes merged, dot segments resolved.
func cleanNginx(raw string) (matched, forwarded string, status int) {
	decoded, err := url.PathUnescape(raw)
	if err != nil || strings.ContainsRune(decoded, 0) {
		return "", "", http.StatusBadRequest
	}
	return cleanDots(decoded), raw, 0
}

// cleanUnreserved decodes letters, digits, - . _ ~ and resolves dot segments. Encoded and doubled
// slashes stay. This is Envoy with normalize_path.
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

// cleanEnvoyGateway is the default of Envoy Gateway with the example's ClientTrafficPolicy.
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

func TestPathParsing(t *testing.T) {
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
