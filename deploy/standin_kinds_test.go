package deploy_test

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const standinIdentity = "X-Auth-Request-"

// standins makes every gateway of this folder that is not run as a program.
func standins(t *testing.T) []*standin {
	behind := standinTraefik(t)
	behind.name = "traefik behind a proxy"
	return []*standin{
		standinTraefik(t), trusting(behind), standinEnvoy(t), standinIstio(t), standinEnvoyGateway(t), standinGatewayAPI(t),
		standinAPISIX(t), standinHigress(t), standinIngressNginx(t), standinKong(t),
	}
}

func ok200(status int) bool { return status == http.StatusOK }

// standinTraefik is Traefik 3: GET, all client headers less hop-by-hop ones,
// X-Forwarded-* of its own, the example's query; our whole answer on denial.
func standinTraefik(t *testing.T) *standin {
	e := readExample(t, "traefik/dinggate.yaml", "")
	strip := e.at("http middlewares dinggate-strip headers customRequestHeaders").node.(map[string]any)
	auth := e.at("http middlewares dinggate forwardAuth")
	address, err := url.Parse(auth.at("address").text())
	if err != nil {
		t.Fatal(err)
	}
	if auth.at("trustForwardHeader").node != false {
		t.Error("traefik: trustForwardHeader is on: a client could write the question")
	}
	if got := e.at("http routers app middlewares").texts(); !slices.Equal(got, []string{"dinggate-strip", "dinggate"}) {
		t.Errorf("traefik: the application's middlewares = %q", got)
	}
	s := &standin{name: "traefik", identity: standinIdentity, gone: http.StatusInternalServerError, clean: cleanMerged}
	s.edge = func(in *http.Request) int {
		for name := range in.Header {
			if strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" {
				in.Header.Del(name)
			}
		}
		in.Header.Set("X-Real-Ip", standinClient)
		in.Header.Set("X-Forwarded-Host", in.Host)
		in.Header.Set("X-Forwarded-Port", "443")
		in.Header.Set("X-Forwarded-Proto", "https")
		if in.Header.Get("Upgrade") != "" {
			in.Header.Set("X-Forwarded-Proto", "wss")
		}
		for name := range strip {
			in.Header.Del(name)
		}
		return 0
	}
	s.ask = func(in *http.Request, _, forwarded string) *http.Request {
		h := in.Header.Clone()
		for _, name := range standinHops {
			h.Del(name)
		}
		h.Set("X-Forwarded-For", standinClient)
		h.Set("X-Forwarded-Method", in.Method)
		h.Set("X-Forwarded-Proto", "https")
		h.Set("X-Forwarded-Host", in.Host)
		h.Set("X-Forwarded-Uri", forwarded)
		return s.question(http.MethodGet, address.RequestURI(), h)
	}
	s.allowed = func(status int) bool { return status >= 200 && status < 300 }
	s.grant = func(out, answer http.Header) {
		for _, name := range auth.at("authResponseHeaders").texts() {
			name = http.CanonicalHeaderKey(name)
			out.Del(name)
			if len(answer[name]) > 0 {
				out[name] = answer[name]
			}
		}
		out.Set("X-Forwarded-For", standinClient)
	}
	s.success = func(browser, answer http.Header) {
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

// trusting is Traefik with trustForwardHeader behind a proxy that it believes:
// what that one said stays, ws and wss as the scheme of a handshake included.
func trusting(s *standin) *standin {
	ask := s.ask
	s.ask = func(in *http.Request, matched, forwarded string) *http.Request {
		q := ask(in, matched, forwarded)
		q.Header.Set("X-Forwarded-Proto", in.Header.Get("X-Forwarded-Proto"))
		return q
	}
	return s
}

// envoyFamily is Envoy's HTTP ext_authz: the original method, path_prefix and
// the original target, Host, Authorization and the listed headers; 200 allows,
// 5xx is an error.
func envoyFamily(name, prefix string, allowed, upstream func(string) bool, onError int) *standin {
	s := &standin{name: name, identity: standinIdentity, gone: onError, clean: cleanUnreserved, allowed: ok200}
	s.edge = func(in *http.Request) int {
		chain := append(in.Header["X-Forwarded-For"], standinClient) // use_remote_address
		in.Header.Set("X-Forwarded-For", strings.Join(chain, ","))
		in.Header.Set("X-Forwarded-Proto", "https")
		for name := range in.Header {
			if strings.HasPrefix(name, "X-Envoy-") {
				in.Header.Del(name)
			}
		}
		return 0
	}
	s.ask = func(in *http.Request, _, forwarded string) *http.Request {
		h := listed(in.Header, func(lower string) bool { return lower == "authorization" || allowed(lower) })
		q := s.question(in.Method, prefix+forwarded, h)
		q.Host = in.Host
		return q
	}
	s.grant = func(out, answer http.Header) {
		for name, values := range answer {
			if upstream(strings.ToLower(name)) {
				out[name] = values
			}
		}
	}
	s.refuse = func(w http.ResponseWriter, _ *http.Request, res *http.Response, body []byte) {
		if res.StatusCode >= 500 {
			w.WriteHeader(onError)
			return
		}
		copyAnswer(w, res, res.StatusCode, body)
	}
	return s
}

// keep gives the browser the headers of a 200 that match.
func keep(match func(string) bool) func(browser, answer http.Header) {
	return func(browser, answer http.Header) {
		for name, values := range answer {
			if match(strings.ToLower(name)) {
				browser[name] = append(browser[name], values...)
			}
		}
	}
}

func dropUnderscores(in *http.Request) {
	for name := range in.Header {
		if strings.Contains(name, "_") {
			delete(in.Header, name)
		}
	}
}

// underscores obeys what an Envoy's connection manager is told about such names.
func (s *standin) underscores(manager example) {
	if manager.at("common_http_protocol_options headers_with_underscores_action").text() == "DROP_HEADER" {
		s.edge = before(dropUnderscores, s.edge)
	}
}

// before runs f in front of an edge.
func before(f func(*http.Request), edge func(*http.Request) int) func(*http.Request) int {
	return func(in *http.Request) int { f(in); return edge(in) }
}

func standinEnvoy(t *testing.T) *standin {
	manager := readExample(t, "envoy/envoy.yaml", "").at("static_resources listeners name=https filter_chains").list()[0].at("filters").list()[0].at("typed_config")
	filter := manager.at("http_filters name=envoy.filters.http.ext_authz typed_config")
	if _, open := filter.look("failure_mode_allow"); open {
		t.Error("envoy: failure_mode_allow lets everybody in while the gate is down")
	}
	answer := filter.at("http_service authorization_response")
	if _, set := answer.look("allowed_client_headers"); set {
		t.Error("envoy: allowed_client_headers takes headers from denials")
	}
	if filter.at("status_on_error code").text() != "ServiceUnavailable" || manager.at("path_with_escaped_slashes_action").text() != "REJECT_REQUEST" || manager.at("normalize_path").node != true {
		t.Error("envoy: status_on_error, path_with_escaped_slashes_action or normalize_path changed: change the stand-in too")
	}
	s := envoyFamily("envoy", filter.at("http_service path_prefix").text(), filter.at("allowed_headers patterns").patterns(), answer.at("allowed_upstream_headers patterns").patterns(), http.StatusServiceUnavailable)
	s.clean = cleanEnvoyStrict
	s.success = keep(answer.at("allowed_client_headers_on_success patterns").patterns())
	s.underscores(manager)
	return s
}

func standinIstio(t *testing.T) *standin {
	provider := readExample(t, "istio/mesh.yaml", "").at("extensionProviders name=dinggate envoyExtAuthzHttp")
	policy := readExample(t, "istio/dinggate.yaml", "AuthorizationPolicy").at("spec")
	if policy.at("provider name").text() != "dinggate" || policy.at("action").text() != "CUSTOM" {
		t.Error("istio: the policy names another provider: everything would be denied")
	}
	if provider.at("statusOnError").text() != "503" {
		t.Error("istio: statusOnError changed: change the stand-in too")
	}
	s := envoyFamily("istio", provider.at("pathPrefix").text(), names(provider.at("includeRequestHeadersInCheck").texts()), names(provider.at("headersToUpstreamOnAllow").texts()), http.StatusServiceUnavailable)
	s.success = keep(names(provider.at("headersToDownstreamOnAllow").texts()))
	s.underscores(readExample(t, "istio/dinggate.yaml", "EnvoyFilter").at("spec configPatches applyTo=NETWORK_FILTER patch value typed_config"))
	return s
}

func standinEnvoyGateway(t *testing.T) *standin {
	auth := readExample(t, "envoy-gateway/dinggate.yaml", "SecurityPolicy").at("spec extAuth")
	traffic := readExample(t, "envoy-gateway/dinggate.yaml", "ClientTrafficPolicy").at("spec")
	s := envoyFamily("envoy gateway", auth.at("http path").text(), names(auth.at("headersToExtAuth").texts()), names(auth.at("http headersToBackend").texts()), auth.at("statusOnError").number())
	if traffic.at("path escapedSlashesAction").text() != "RejectRequest" || traffic.at("headers withUnderscoresAction").text() != "RejectRequest" {
		t.Error("envoy gateway: the ClientTrafficPolicy changed: change the stand-in too")
	}
	s.clean = cleanEnvoyGateway
	edge := s.edge
	s.edge = func(in *http.Request) int {
		for name := range in.Header {
			if strings.Contains(name, "_") {
				return http.StatusBadRequest
			}
		}
		return edge(in)
	}
	return s
}

func standinGatewayAPI(t *testing.T) *standin {
	rules := readExample(t, "gateway-api/dinggate.yaml", "HTTPRoute").at("spec rules").list()
	auth := rules[1].at("filters type=ExternalAuth externalAuth http")
	return envoyFamily("gateway api", auth.at("path").text(), names(auth.at("allowedHeaders").texts()), names(auth.at("allowedResponseHeaders").texts()), http.StatusForbidden)
}

// standinAPISIX is the forward-auth plugin: GET, five X-Forwarded-* and the
// listed headers, one value each; below 300 allows; of a denial the browser
// gets status, body and the listed headers.
func standinAPISIX(t *testing.T) *standin {
	plugin := readExample(t, "apisix/apisix.yaml", "").at("routes id=app plugins forward-auth")
	address, err := url.Parse(plugin.at("uri").text())
	if err != nil {
		t.Fatal(err)
	}
	if _, open := plugin.look("allow_degradation"); open {
		t.Error("apisix: allow_degradation lets everybody in while the gate is down")
	}
	extra := plugin.at("extra_headers").node.(map[string]any)
	s := &standin{name: "apisix", identity: standinIdentity, gone: plugin.at("status_on_error").number(), clean: cleanNginx}
	s.edge = func(in *http.Request) int {
		in.Header.Set("X-Real-Ip", standinClient)
		in.Header.Set("X-Forwarded-For", strings.Join(append(in.Header["X-Forwarded-For"], standinClient), ", "))
		in.Header.Set("X-Forwarded-Proto", "https")
		in.Header.Set("X-Forwarded-Host", in.Host)
		in.Header.Set("X-Forwarded-Port", "443")
		return 0
	}
	if readExample(t, "apisix/config.yaml", "").at("nginx_config http underscores_in_headers").text() == "off" {
		s.edge = before(dropUnderscores, s.edge)
	}
	s.ask = func(in *http.Request, matched, forwarded string) *http.Request {
		h := http.Header{}
		variables := map[string]string{"$real_request_uri": forwarded, "$request_uri": matched} // APISIX's request_uri is the cleaned one
		for name, value := range map[string]string{"Proto": "https", "Method": in.Method, "Host": in.Host, "Uri": "$request_uri", "For": standinClient} {
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
		return s.question(http.MethodGet, address.RequestURI(), h)
	}
	s.allowed = func(status int) bool { return status < 300 }
	s.grant = func(out, answer http.Header) {
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

// standinHigress is the ext-auth plugin in forward_auth mode: the listed
// headers, x-original-* and x-forwarded-* of its own; exactly 200 allows, the
// first value of a header counts, 5xx becomes status_on_error with our body.
func standinHigress(t *testing.T) *standin {
	e := readExample(t, "higress/dinggate.yaml", "WasmPlugin").at("spec defaultConfig")
	service, onError := e.at("http_service"), e.at("status_on_error").number()
	if service.at("endpoint_mode").text() != "forward_auth" {
		t.Error("higress: endpoint_mode is not forward_auth")
	}
	allowed, upstream := service.at("authorization_request allowed_headers").patterns(), service.at("authorization_response allowed_upstream_headers").patterns()
	s := envoyFamily("higress", "", allowed, upstream, onError)
	s.underscores(readExample(t, "higress/dinggate.yaml", "EnvoyFilter").at("spec configPatches applyTo=NETWORK_FILTER patch value typed_config"))
	s.ask = func(in *http.Request, _, forwarded string) *http.Request {
		h := http.Header{}
		for name, values := range in.Header {
			if lower := strings.ToLower(name); lower == "authorization" || allowed(lower) {
				h.Set(name, values[len(values)-1])
			}
		}
		for name, value := range map[string]string{"X-Original-Method": in.Method, "X-Original-Uri": forwarded, "X-Forwarded-Proto": "https",
			"X-Forwarded-Method": in.Method, "X-Forwarded-Uri": forwarded, "X-Forwarded-Host": in.Host} {
			h.Set(name, value)
		}
		q := s.question(service.at("endpoint request_method").text(), service.at("endpoint path").text(), h)
		q.Host = service.at("endpoint service_name").text()
		return q
	}
	s.grant = func(out, answer http.Header) {
		for name, values := range answer {
			if upstream(strings.ToLower(name)) {
				out.Set(name, values[0])
			}
		}
	}
	s.refuse = func(w http.ResponseWriter, _ *http.Request, res *http.Response, body []byte) {
		status := res.StatusCode
		if status >= 500 {
			status = onError
		}
		copyAnswer(w, res, status, body)
	}
	return s
}

// standinIngressNginx is auth-url: GET with all client headers, X-Original-URL
// and -Method of its own, X-Forwarded-Proto blanked; any 2xx allows, 401 is a
// redirect to auth-signin, 403 nginx's own page, all else 500.
func standinIngressNginx(t *testing.T) *standin {
	e := readExample(t, "ingress-nginx/dinggate.yaml", "Ingress").at("metadata annotations")
	const annotation = "nginx.ingress.kubernetes.io/"
	address, err := url.Parse(e.at(annotation + "auth-url").text())
	if err != nil {
		t.Fatal(err)
	}
	s := &standin{name: "ingress-nginx", identity: standinIdentity, bare: true, gone: http.StatusInternalServerError, clean: cleanNginx}
	s.edge = before(dropUnderscores, func(in *http.Request) int { // use-forwarded-headers is off: the client's are replaced
		for name, value := range map[string]string{"X-Real-Ip": standinClient, "X-Forwarded-For": standinClient, "X-Forwarded-Host": in.Host, "X-Forwarded-Port": "443", "X-Forwarded-Proto": "https", "X-Forwarded-Scheme": "https", "X-Scheme": "https"} {
			in.Header.Set(name, value)
		}
		return 0
	})
	s.ask = func(in *http.Request, _, forwarded string) *http.Request {
		h := in.Header.Clone()
		for _, name := range append(standinHops, "X-Forwarded-Proto", "Content-Length", "Expect") {
			h.Del(name)
		}
		h.Set("X-Original-Url", "https://"+in.Host+forwarded)
		h.Set("X-Original-Method", in.Method)
		h.Set("X-Auth-Request-Redirect", forwarded)
		h.Set("X-Sent-From", "nginx-ingress-controller")
		q := s.question(http.MethodGet, address.RequestURI(), h)
		q.Host = address.Host
		return q
	}
	s.allowed = func(status int) bool { return status >= 200 && status < 300 }
	s.grant = func(out, answer http.Header) {
		for name := range strings.SplitSeq(e.at(annotation+"auth-response-headers").text(), ",") {
			out.Set(name, answer.Get(name))
		}
	}
	s.success = keep(names([]string{"set-cookie"}))
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

// standinKong never asks: the gate is its service, and proxies.
func standinKong(t *testing.T) *standin {
	route := readExample(t, "kong/kong.yaml", "").at("services name=app routes name=app")
	if route.at("preserve_host").node != true || route.at("strip_path").node != false {
		t.Error("kong: preserve_host or strip_path changed: the gate would judge another address than the browser's")
	}
	s := &standin{name: "kong", identity: "X-Forwarded-", bare: true, gone: http.StatusBadGateway, clean: cleanMerged}
	s.edge = func(in *http.Request) int {
		in.Header.Set("X-Forwarded-For", strings.Join(append(in.Header["X-Forwarded-For"], standinClient), ", "))
		for name, value := range map[string]string{"X-Real-Ip": standinClient, "X-Forwarded-Proto": "https", "X-Forwarded-Host": in.Host, "X-Forwarded-Port": "443", "X-Forwarded-Path": in.RequestURI} {
			in.Header.Set(name, value)
		}
		return 0
	}
	return s
}
