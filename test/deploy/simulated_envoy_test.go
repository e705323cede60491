package deploy_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// envoyFamily simulates Envoy's HTTP ext_authz. The authorization request has the original method,
// path_prefix and the original target, Host, Authorization and the listed headers. 200 allows. 5xx
// is an error.
func envoyFamily(name, prefix string, allowed, upstream func(string) bool, onError int) *simulatedGateway {
	s := &simulatedGateway{name: name, identity: identityPrefix, unreachable: onError, clean: cleanUnreserved, allowed: ok200}
	s.edge = func(in *http.Request) int {
		chain := append(in.Header["X-Forwarded-For"], browserAddress) // use_remote_address
		in.Header.Set("X-Forwarded-For", strings.Join(chain, ","))
		in.Header.Set("X-Forwarded-Proto", "https")
		for name := range in.Header {
			if strings.HasPrefix(name, "X-Envoy-") {
				in.Header.Del(name)
			}
		}
		return 0
	}
	s.subrequest = func(in *http.Request, _, forwarded string) *http.Request {
		h := listed(in.Header, func(lower string) bool { return lower == "authorization" || allowed(lower) })
		r := s.newSubrequest(in.Method, prefix+forwarded, h)
		r.Host = in.Host
		return r
	}
	s.toUpstream = func(out, answer http.Header) {
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

// copyMatching copies the matching headers of a 200 to the browser's response.
func copyMatching(match func(string) bool) func(browser, answer http.Header) {
	return func(browser, answer http.Header) {
		for name, values := range answer {
			if match(strings.ToLower(name)) {
				browser[name] = append(browser[name], values...)
			}
		}
	}
}

func removeUnderscores(in *http.Request) {
	removeHeaders(in, func(lower string) bool { return strings.Contains(lower, "_") })
}

// manager applies the header settings of an Envoy connection manager: first those of the codec,
// then those that apply before it writes its own headers.
func (s *simulatedGateway) manager(manager example) {
	edge := s.edge
	for _, extension := range manager.at("early_header_mutation_extensions").list() {
		edge = before(mutations(extension.at("typed_config mutations")), edge)
	}
	if manager.at("common_http_protocol_options headers_with_underscores_action").text() == "DROP_HEADER" {
		edge = before(removeUnderscores, edge)
	}
	s.edge = edge
}

// mutations applies the {remove: …} and {remove_on_match: …} entries of Envoy. A regular
// expression matches the whole name.
func mutations(list example) func(*http.Request) {
	var matches []func(string) bool
	for _, one := range list.list() {
		if name, ok := one.look("remove"); ok {
			matches = append(matches, names([]string{name.text()}))
		} else if prefix, ok := one.look("remove_on_match key_matcher prefix"); ok {
			matches = append(matches, names([]string{prefix.text() + "*"}))
		} else {
			matches = append(matches,
				regexp.MustCompile("^(?:"+one.at("remove_on_match key_matcher safe_regex regex").text()+
					")$").MatchString)
		}
	}
	return func(in *http.Request) {
		removeHeaders(in, func(lower string) bool {
			return slices.ContainsFunc(matches, func(match func(string) bool) bool { return match(lower) })
		})
	}
}

func simulateEnvoy(t *testing.T) *simulatedGateway {
	manager := readExample(t, "envoy/envoy.yaml",
		"").at("static_resources listeners name=https filter_chains").list()[0].at("filters").list()[0].at(
		"typed_config",
	)
	filter := manager.at("http_filters name=envoy.filters.http.ext_authz typed_config")
	if _, open := filter.look("failure_mode_allow"); open {
		t.Error("envoy: failure_mode_allow allows every request while dinggate is down")
	}
	answer := filter.at("http_service authorization_response")
	if _, set := answer.look("allowed_client_headers"); set {
		t.Error("envoy: allowed_client_headers takes headers from denials")
	}
	if filter.at("status_on_error code").text() != "ServiceUnavailable" ||
		manager.at("path_with_escaped_slashes_action").text() != "REJECT_REQUEST" ||
		manager.at("normalize_path").node != true {
		t.Error(
			"envoy: status_on_error, path_with_escaped_slashes_action or normalize_path changed: change the " +
				"simulation too",
		)
	}
	s := envoyFamily("envoy", filter.at("http_service path_prefix").text(),
		filter.at("allowed_headers patterns").patterns(), answer.at("allowed_upstream_headers patterns").patterns(),
		http.StatusServiceUnavailable)
	s.clean = cleanEnvoyStrict
	s.toBrowser = copyMatching(answer.at("allowed_client_headers_on_success patterns").patterns())
	s.manager(manager)
	return s
}

func simulateIstio(t *testing.T) *simulatedGateway {
	provider := readExample(t, "istio/mesh.yaml", "").at("extensionProviders name=dinggate envoyExtAuthzHttp")
	policy := readExample(t, "istio/dinggate.yaml", "AuthorizationPolicy").at("spec")
	if policy.at("provider name").text() != "dinggate" || policy.at("action").text() != "CUSTOM" {
		t.Error("istio: the policy names another provider: everything would be denied")
	}
	if provider.at("statusOnError").text() != "503" {
		t.Error("istio: statusOnError changed: change the simulation too")
	}
	s := envoyFamily("istio", provider.at("pathPrefix").text(),
		names(provider.at("includeRequestHeadersInCheck").texts()),
		names(provider.at("headersToUpstreamOnAllow").texts()), http.StatusServiceUnavailable)
	s.toBrowser = copyMatching(names(provider.at("headersToDownstreamOnAllow").texts()))
	s.manager(readExample(t, "istio/dinggate.yaml",
		"EnvoyFilter").at("spec configPatches applyTo=NETWORK_FILTER patch value typed_config"))
	return s
}

func simulateEnvoyGateway(t *testing.T) *simulatedGateway {
	auth := readExample(t, "envoy-gateway/dinggate.yaml", "SecurityPolicy").at("spec extAuth")
	traffic := readExample(t, "envoy-gateway/dinggate.yaml", "ClientTrafficPolicy").at("spec")
	s := envoyFamily("envoy gateway", auth.at("http path").text(), names(auth.at("headersToExtAuth").texts()),
		names(auth.at("http headersToBackend").texts()), auth.at("statusOnError").number())
	if traffic.at("path escapedSlashesAction").text() != "RejectRequest" ||
		traffic.at("headers withUnderscoresAction").text() != "RejectRequest" {
		t.Error("envoy gateway: the ClientTrafficPolicy changed: change the simulation too")
	}
	s.clean = cleanEnvoyGateway
	early := traffic.at("headers earlyRequestHeaders")
	matches := []func(string) bool{names(early.at("remove").texts())}
	for _, one := range early.at("removeOnMatch").list() {
		if value := one.at("value").text(); one.at("type").text() == "Prefix" {
			matches = append(matches, names([]string{value + "*"}))
		} else {
			matches = append(matches, regexp.MustCompile("^(?:"+value+")$").MatchString)
		}
	}
	edge := before(func(in *http.Request) {
		removeHeaders(in, func(lower string) bool {
			return slices.ContainsFunc(matches, func(match func(string) bool) bool { return match(lower) })
		})
	}, s.edge)
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

func simulateGatewayAPI(t *testing.T) *simulatedGateway {
	rules := readExample(t, "gateway-api/dinggate.yaml", "HTTPRoute").at("spec rules").list()
	auth := rules[1].at("filters type=ExternalAuth externalAuth http")
	remove := names(rules[1].at("filters type=RequestHeaderModifier requestHeaderModifier remove").texts())
	s := envoyFamily("gateway api", auth.at("path").text(), names(auth.at("allowedHeaders").texts()),
		names(auth.at("allowedResponseHeaders").texts()), http.StatusForbidden)
	s.edge = before(func(in *http.Request) { removeHeaders(in, remove) }, s.edge)
	return s
}

// simulateHigress simulates the ext-auth plugin in forward_auth mode. The authorization request has
// the listed headers and its own x-original-* and x-forwarded-*. Only 200 allows. The first value
// of a header counts. 5xx becomes status_on_error with dinggate's body.
func simulateHigress(t *testing.T) *simulatedGateway {
	e := readExample(t, "higress/dinggate.yaml", "WasmPlugin").at("spec defaultConfig")
	service, onError := e.at("http_service"), e.at("status_on_error").number()
	if service.at("endpoint_mode").text() != "forward_auth" {
		t.Error("higress: endpoint_mode is not forward_auth")
	}
	allowed, upstream := service.at("authorization_request allowed_headers").patterns(),
		service.at("authorization_response allowed_upstream_headers").patterns()
	s := envoyFamily("higress", "", allowed, upstream, onError)
	s.manager(readExample(t, "higress/dinggate.yaml",
		"EnvoyFilter").at("spec configPatches applyTo=NETWORK_FILTER patch value typed_config"))
	s.subrequest = func(in *http.Request, _, forwarded string) *http.Request {
		h := http.Header{}
		for name, values := range in.Header {
			if lower := strings.ToLower(name); lower == "authorization" || allowed(lower) {
				h.Set(name, values[len(values)-1])
			}
		}
		for name, value := range map[string]string{"X-Original-Method": in.Method, "X-Original-Uri": forwarded,
			"X-Forwarded-Proto":  "https",
			"X-Forwarded-Method": in.Method, "X-Forwarded-Uri": forwarded, "X-Forwarded-Host": in.Host} {
			h.Set(name, value)
		}
		r := s.newSubrequest(service.at("endpoint request_method").text(), service.at("endpoint path").text(), h)
		r.Host = service.at("endpoint service_name").text()
		return r
	}
	s.toUpstream = func(out, answer http.Header) {
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
