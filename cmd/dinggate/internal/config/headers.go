package config

import (
	"net/http"
	"slices"
	"strings"

	"dinggate/internal/conf"
	"dinggate/internal/headername"
	"dinggate/internal/identity"
)

// HeadersConfig is the `headers` part: the headers about a person that upstreams and
// gateways receive. A given list replaces the default one; `{}` sets no header.
type HeadersConfig struct {
	Request  HeaderFields `yaml:"request"`  // for upstreams
	Response HeaderFields `yaml:"response"` // for gateways
}

// HeaderFields maps a header's name to a field of identity.Fields, in the order of the file.
type HeaderFields []identity.HeaderRule

func defaultHeaders() HeadersConfig {
	return HeadersConfig{
		Request: HeaderFields{{Name: "X-Forwarded-User", Field: "username"},
			{Name: "X-Forwarded-Email", Field: "email"},
			{Name: "X-Forwarded-Preferred-Username", Field: "name"}, {Name: "X-Forwarded-Groups", Field: "groups"}},
		Response: HeaderFields{{Name: "X-Auth-Request-User", Field: "username"},
			{Name: "X-Auth-Request-Email", Field: "email"},
			{Name: "X-Auth-Request-Preferred-Username", Field: "name"},
			{Name: "X-Auth-Request-Groups", Field: "groups"}},
	}
}

// Rules returns the rules with canonical header names.
func (h HeaderFields) Rules() identity.HeaderRules {
	rules := make(identity.HeaderRules, len(h))
	for i, rule := range h {
		rules[i] = identity.HeaderRule{Name: http.CanonicalHeaderKey(rule.Name), Field: rule.Field}
	}
	return rules
}

// Proofs are the headers that contain an access token.
func (h HeaderFields) Proofs() (names []string) {
	for _, rule := range h.Rules() {
		if rule.Field == "access_token" {
			names = append(names, rule.Name)
		}
	}
	return names
}

// Names lists the headers of both directions.
func (c HeadersConfig) Names() []string {
	var names []string
	for _, rule := range slices.Concat(c.Request, c.Response) {
		names = append(names, rule.Name)
	}
	return names
}

var (
	hopByHop    = conf.Textf("a hop-by-hop header")
	messagePart = conf.Textf("part of every message")
	setByProxy  = conf.Textf("set by the proxy")
)

// takenHeaders belong to the connection, the message or the proxy itself (by folded
// name): a person's name in one of them breaks or forges a message.
var takenHeaders = map[string]conf.Text{
	"connection": hopByHop, "keepalive": hopByHop, "proxyauthenticate": hopByHop,
	"proxyauthorization": hopByHop, "proxyconnection": hopByHop, "te": hopByHop,
	"trailer": hopByHop, "transferencoding": hopByHop, "upgrade": hopByHop,
	"host": messagePart, "contentlength": messagePart, "contenttype": messagePart,
	"contentencoding": messagePart, "cookie": messagePart, "setcookie": messagePart,
	"location": messagePart, "xforwardedfor": setByProxy, "xforwardedhost": setByProxy,
	"xforwardedproto": setByProxy, "xrealip": setByProxy, "xrequestid": setByProxy,
	"xdinggateassertion": setByProxy,
}

// Check reports every mistake below key (`headers`). It quotes no field: an operator
// who expects text there may have written a token.
func (c HeadersConfig) Check(p *conf.Problems, key string) {
	c.Request.check(p, key+".request")
	c.Response.check(p, key+".response")
	for _, rule := range c.Response {
		p.At("%s.response.%s", key, rule.Name).Warn(rule.Field == "access_token",
			"sends DingTalk's token to every gateway, and to its logs; use headers.request for it")
	}
}

func (h HeaderFields) check(p *conf.Problems, key string) {
	seen := map[string]string{}
	for _, rule := range h {
		at, folded := p.At("%s.%s", key, rule.Name), headername.Fold(rule.Name)
		if !isToken(rule.Name) {
			p.At("%s", key).If(true,
				"has an invalid header name: use letters, digits and dashes, as in X-Forwarded-User")
			continue
		}
		if what := takenHeaders[folded]; !what.IsZero() {
			at.If(true, "is %s; choose another name", what)
		}
		// Upstreams fold `-` and `_`: the two spellings are one header for them (CVE-2025-64484).
		at.If(seen[folded] != "", "is the same header as %s to many applications; remove one", seen[folded])
		at.If(!slices.Contains(identity.Fields, rule.Field), "is not the name of a field; the fields are %s",
			strings.Join(identity.Fields, ", "))
		seen[folded] = rule.Name
	}
}

// isToken implements RFC 9110 §5.6.2, with a length that servers accept.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') &&
			!strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// UnmarshalText parses the form of the environment, X-User=username,X-Mail=email; the
// empty text sets no header.
func (h *HeaderFields) UnmarshalText(text []byte) error {
	*h = HeaderFields{}
	if len(text) == 0 {
		return nil
	}
	for pair := range strings.SplitSeq(string(text), ",") {
		name, field, ok := strings.Cut(pair, "=")
		if !ok {
			return conf.Errorf("wants pairs such as X-Forwarded-User=username, separated by commas")
		}
		*h = append(*h, identity.HeaderRule{Name: strings.TrimSpace(name), Field: strings.TrimSpace(field)})
	}
	return nil
}
