package deploy_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const identityPrefix = "X-Auth-Request-"

// simulatedGateways returns every gateway of deploy/ that is not run as a program.
func simulatedGateways(t *testing.T) []*simulatedGateway {
	behind := simulateTraefik(t)
	behind.name = "traefik behind a proxy"
	return []*simulatedGateway{
		simulateTraefik(t), trustForwarded(behind), simulateEnvoy(t), simulateIstio(t), simulateEnvoyGateway(t),
		simulateGatewayAPI(t),
		simulateAPISIX(t), simulateHigress(t), simulateIngressNginx(t), simulateKong(t),
	}
}

// unusualName matches a name that applications may read as another one.
var unusualName = regexp.MustCompile("[^a-z0-9-]")

// ignoreInvalid drops such names, as nginx does.
func ignoreInvalid(in *http.Request) { removeHeaders(in, unusualName.MatchString) }

func removeHeaders(in *http.Request, match func(lower string) bool) {
	for name := range in.Header {
		if match(strings.ToLower(name)) {
			delete(in.Header, name)
		}
	}
}

// before runs f before an edge.
func before(f func(*http.Request), edge func(*http.Request) int) func(*http.Request) int {
	return func(in *http.Request) int { f(in); return edge(in) }
}

func ok200(status int) bool { return status == http.StatusOK }

// simulateTraefik simulates Traefik 3. The subrequest is a GET with all client headers except
// hop-by-hop ones, Traefik's own X-Forwarded-* and the example's query. A denial is dinggate's
// entire response.
func simulateTraefik(t *testing.T) *simulatedGateway {
	e := readExample(t, "traefik/dinggate.yaml", "")
	custom := func(name string) map[string]any {
		return e.at("http middlewares " + name + " headers customRequestHeaders").node.(map[string]any)
	}
	alias := readExample(t, "traefik/traefik.yaml", "").at("entryPoints websecure http aliasHeadersStrategy").text()
	auth := e.at("http middlewares dinggate forwardAuth")
	address, err := url.Parse(auth.at("address").text())
	if err != nil {
		t.Fatal(err)
	}
	if auth.at("trustForwardHeader").node != false {
		t.Error("traefik: trustForwardHeader is on: a client could forge the original request")
	}
	for router, upgrade := range map[string]string{"app": "dinggate-plain", "app-websocket": "dinggate-websocket"} {
		if got := e.at("http routers " + router + " middlewares").texts(); !slices.Equal(got,
			[]string{"dinggate-strip", upgrade, "dinggate"}) {
			t.Errorf("traefik: the application's middlewares = %q", got)
		}
	}
	s := &simulatedGateway{name: "traefik", identity: identityPrefix, unreachable: http.StatusInternalServerError, clean: cleanMerged}
	managed := names([]string{"x-forwarded-proto", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
		"x-forwarded-server", "x-forwarded-uri", "x-forwarded-method", "x-forwarded-prefix",
		"x-forwarded-tls-client-cert", "x-forwarded-tls-client-cert-info", "x-real-ip"})
	s.edge = func(in *http.Request) int {
		removeHeaders(in, func(lower string) bool {
			return managed(lower) || alias == "delete" && unusualName.MatchString(lower)
		})
		in.Header.Set("X-Real-Ip", browserAddress)
		in.Header.Set("X-Forwarded-Host", in.Host)
		in.Header.Set("X-Forwarded-Port", "443")
		in.Header.Set("X-Forwarded-Proto", "https")
		if in.Header.Get("Upgrade") != "" {
			in.Header.Set("X-Forwarded-Proto", "wss")
		}
		upgrade := "dinggate-plain" // the router that the Upgrade header selects
		if slices.ContainsFunc(in.Header["Upgrade"], func(v string) bool { return strings.EqualFold(v, "websocket") }) {
			upgrade = "dinggate-websocket"
		}
		for _, middleware := range []string{"dinggate-strip", upgrade} {
			for name, value := range custom(middleware) {
				if in.Header.Del(name); value != "" {
					in.Header.Set(name, value.(string))
				}
			}
		}
		return 0
	}
	s.subrequest = func(in *http.Request, _, forwarded string) *http.Request {
		h := in.Header.Clone()
		for _, name := range hopHeaders {
			h.Del(name)
		}
		h.Set("X-Forwarded-For", browserAddress)
		h.Set("X-Forwarded-Method", in.Method)
		h.Set("X-Forwarded-Proto", "https")
		h.Set("X-Forwarded-Host", in.Host)
		h.Set("X-Forwarded-Uri", forwarded)
		return s.newSubrequest(http.MethodGet, address.RequestURI(), h)
	}
	s.allowed = func(status int) bool { return status >= 200 && status < 300 }
	s.toUpstream = func(out, answer http.Header) {
		for _, name := range auth.at("authResponseHeaders").texts() {
			name = http.CanonicalHeaderKey(name)
			out.Del(name)
			if len(answer[name]) > 0 {
				out[name] = answer[name]
			}
		}
		out.Set("X-Forwarded-For", browserAddress)
	}
	s.toBrowser = func(browser, answer http.Header) {
		for _, cookie := range (&http.Response{Header: answer}).Cookies() {
			if slices.Contains(auth.at("addAuthCookiesToResponse").texts(), cookie.Name) {
				browser.Add("Set-Cookie", cookie.String())
			}
		}
	}
	s.refuse = func(w http.ResponseWriter, _ *http.Request, res *http.Response, body []byte) {
		copyAnswer(w, res, res.StatusCode, body)
	}
	return s
}

// trustForwarded is Traefik with trustForwardHeader behind a trusted proxy. The X-Forwarded-* headers of
// that proxy stay, including ws and wss as the scheme of a handshake.
func trustForwarded(s *simulatedGateway) *simulatedGateway {
	subrequest := s.subrequest
	s.subrequest = func(in *http.Request, matched, forwarded string) *http.Request {
		r := subrequest(in, matched, forwarded)
		r.Header.Set("X-Forwarded-Proto", in.Header.Get("X-Forwarded-Proto"))
		return r
	}
	return s
}

// simulateAPISIX simulates the forward-auth plugin. The subrequest is a GET with five X-Forwarded-*
// and the listed headers, one value each. A status below 300 allows. After a denial the browser
// receives the status, the body and the listed headers.
func simulateAPISIX(t *testing.T) *simulatedGateway {
	plugin := readExample(t, "apisix/apisix.yaml", "").at("routes id=app plugins forward-auth")
	address, err := url.Parse(plugin.at("uri").text())
	if err != nil {
		t.Fatal(err)
	}
	if _, open := plugin.look("allow_degradation"); open {
		t.Error("apisix: allow_degradation allows every request while dinggate is down")
	}
	extra := plugin.at("extra_headers").node.(map[string]any)
	rewrite := readExample(t, "apisix/apisix.yaml", "").at("routes id=app plugins proxy-rewrite")
	if rewrite.at("use_real_request_uri_unsafe").node != true {
		t.Error("apisix: proxy-rewrite forwards another path than the authorized one")
	}
	remove := names(rewrite.at("headers remove").texts())
	s := &simulatedGateway{
		name:        "apisix",
		identity:    identityPrefix,
		unreachable: plugin.at("status_on_error").number(),
		clean:       cleanNginx,
	}
	s.edge = func(in *http.Request) int {
		removeHeaders(in, remove)
		in.Header.Set("X-Real-Ip", browserAddress)
		in.Header.Set("X-Forwarded-For", strings.Join(append(in.Header["X-Forwarded-For"], browserAddress), ", "))
		in.Header.Set("X-Forwarded-Proto", "https")
		in.Header.Set("X-Forwarded-Host", in.Host)
		in.Header.Set("X-Forwarded-Port", "443")
		return 0
	}
	if readExample(t, "apisix/config.yaml", "").at("nginx_config http underscores_in_headers").text() == "off" {
		s.edge = before(ignoreInvalid, s.edge)
	}
	s.subrequest = func(in *http.Request, matched, forwarded string) *http.Request {
		h := http.Header{}
		// APISIX's request_uri is the normalized one.
		variables := map[string]string{"$real_request_uri": forwarded, "$request_uri": matched}
		for name, value := range map[string]string{"Proto": "https", "Method": in.Method, "Host": in.Host,
			"Uri": "$request_uri", "For": browserAddress} {
			if name == "Uri" {
				value = variables[value]
			}
			h.Set("X-Forwarded-"+name, value)
		}
		for name, value := range extra {
			h.Set(name, variables[value.(string)])
		}
		for _, name := range plugin.at("request_headers").texts() {
			if value := in.Header.Get(name); value != "" && h.Get(name) == "" {
				h.Set(name, value)
			}
		}
		return s.newSubrequest(http.MethodGet, address.RequestURI(), h)
	}
	s.allowed = func(status int) bool { return status < 300 }
	s.toUpstream = func(out, answer http.Header) {
		for _, name := range plugin.at("upstream_headers").texts() {
			if out.Del(name); len(answer.Values(name)) > 0 {
				out.Set(name, answer.Get(name))
			}
		}
	}
	s.refuse = func(w http.ResponseWriter, _ *http.Request, res *http.Response, body []byte) {
		w.Header()["Content-Type"] = []string{"text/plain"}
		for _, name := range plugin.at("client_headers").texts() {
			if values := res.Header.Values(name); len(values) > 0 {
				w.Header()[http.CanonicalHeaderKey(name)] = values
			}
		}
		w.WriteHeader(res.StatusCode)
		w.Write(body)
	}
	return s
}

// simulateIngressNginx simulates auth-url. The subrequest is a GET with all client headers, its own
// X-Original-URL and X-Original-Method, and an empty X-Forwarded-Proto. Any 2xx allows. 401 is a
// redirect to auth-signin, 403 is nginx's own page, and every other status is 500.
func simulateIngressNginx(t *testing.T) *simulatedGateway {
	e := readExample(t, "ingress-nginx/dinggate.yaml", "Ingress").at("metadata annotations")
	const annotation = "nginx.ingress.kubernetes.io/"
	address, err := url.Parse(e.at(annotation + "auth-url").text())
	if err != nil {
		t.Fatal(err)
	}
	s := &simulatedGateway{
		name:        "ingress-nginx",
		identity:    identityPrefix,
		bare:        true,
		unreachable: http.StatusInternalServerError,
		clean:       cleanNginx,
	}
	config := readExample(t, "ingress-nginx/dinggate.yaml", "ConfigMap").at("data").node.(map[string]any)
	// use-forwarded-headers is off: the client's headers are replaced.
	s.edge = before(ignoreInvalid, func(in *http.Request) int {
		if in.Header.Del("Proxy"); len(in.Header["X-Forwarded-For"]) > 0 {
			in.Header["X-Original-Forwarded-For"] = in.Header["X-Forwarded-For"]
		}
		for name, value := range map[string]string{"X-Real-Ip": browserAddress, "X-Forwarded-For": browserAddress,
			"X-Forwarded-Host": in.Host, "X-Forwarded-Port": "443", "X-Forwarded-Proto": "https",
			"X-Forwarded-Scheme": "https", "X-Scheme": "https"} {
			in.Header.Set(name, value)
		}
		return 0
	})
	s.subrequest = func(in *http.Request, _, forwarded string) *http.Request {
		h := in.Header.Clone()
		for _, name := range append(hopHeaders, "X-Forwarded-Proto", "Content-Length", "Expect") {
			h.Del(name)
		}
		h.Set("X-Original-Url", "https://"+in.Host+forwarded)
		h.Set("X-Original-Method", in.Method)
		h.Set("X-Auth-Request-Redirect", forwarded)
		h.Set("X-Sent-From", "nginx-ingress-controller")
		r := s.newSubrequest(http.MethodGet, address.RequestURI(), h)
		r.Host = address.Host
		return r
	}
	s.allowed = func(status int) bool { return status >= 200 && status < 300 }
	s.toUpstream = func(out, answer http.Header) {
		for name := range config { // of the application's location, not of the subrequest
			out.Del(name)
		}
		for name := range strings.SplitSeq(e.at(annotation+"auth-response-headers").text(), ",") {
			out.Set(name, answer.Get(name))
		}
	}
	s.toBrowser = copyMatching(names([]string{"set-cookie"}))
	s.refuse = func(w http.ResponseWriter, in *http.Request, res *http.Response, _ []byte) {
		switch res.StatusCode {
		case http.StatusUnauthorized:
			rd := "https://" + in.Host + strings.ReplaceAll(url.QueryEscape(in.RequestURI), "+", "%20")
			w.Header().Set("Location", e.at(annotation+"auth-signin").text()+"?rd="+rd)
			w.WriteHeader(http.StatusFound)
		case http.StatusForbidden:
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "<html><head><title>403 Forbidden</title></head></html>")
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	return s
}

// simulateKong sends no subrequests: dinggate is its service and the proxy.
func simulateKong(t *testing.T) *simulatedGateway {
	route := readExample(t, "kong/kong.yaml", "").at("services name=app routes name=app")
	if route.at("preserve_host").node != true || route.at("strip_path").node != false {
		t.Error("kong: preserve_host or strip_path changed: dinggate would authorize another URL than the browser's")
	}
	s := &simulatedGateway{name: "kong", identity: "X-Forwarded-", bare: true, unreachable: http.StatusBadGateway, clean: cleanMerged}
	s.edge = func(in *http.Request) int {
		in.Header.Set("X-Forwarded-For", strings.Join(append(in.Header["X-Forwarded-For"], browserAddress), ", "))
		for name, value := range map[string]string{"X-Real-Ip": browserAddress, "X-Forwarded-Proto": "https",
			"X-Forwarded-Host": in.Host, "X-Forwarded-Port": "443", "X-Forwarded-Path": in.RequestURI} {
			in.Header.Set(name, value)
		}
		return 0
	}
	return s
}
