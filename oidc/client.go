package oidc

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"dinggate/internal/clientauth"
	"dinggate/internal/identity"
	"dinggate/oidc/keys"
	"dinggate/proxy/access"
)

// client is a registered application.
type client struct {
	*ClientConfig
	policy *access.Policy
}

// clients finds registered applications; immutable.
type clients struct {
	all     map[string]*client
	secrets clientauth.Secrets
	origins map[string]bool // of public clients
}

func newClients(list []ClientConfig) (*clients, error) {
	c := &clients{all: map[string]*client{}, secrets: clientauth.Secrets{}, origins: map[string]bool{}}
	for i := range list {
		one := &client{ClientConfig: &list[i]}
		var err error
		if one.policy, err = access.New(access.Config{{Path: "/", Access: one.Access}}.Routes()); err != nil {
			return nil, fmt.Errorf("oidc: client %q: %w", one.ClientID, err)
		}
		for _, uri := range one.RedirectURIs {
			if u, err := url.Parse(uri); err == nil && u.Host != "" && one.public() {
				c.origins[u.Scheme+"://"+u.Host] = true
			}
		}
		c.all[one.ClientID] = one
		c.secrets.Add(one.ClientID, one.ClientSecret)
	}
	return c, nil
}

// public reports whether the client has no secret.
func (c *client) public() bool { return c.ClientSecret.IsZero() }

func (c *client) algorithm() string {
	if c.SigningAlg == "" {
		return keys.RS256
	}
	return c.SigningAlg
}

func (c *client) needsPKCE() bool { return c.public() || c.PKCE == PKCERequired }

// admits reports whether a person may sign in to the application, and by which part of its rule.
func (c *client) admits(u *identity.User) (rule string, ok bool) {
	d := c.policy.Decide(access.Target{Method: "GET", Path: "/", SignIn: access.SignInAge{Known: true}}, u)
	return d.Rule, d.Verdict == access.Allow
}

// redirects reports whether browsers may be redirected to uri: a registered URI, compared exactly,
// or one on a loopback address with any port. Nothing is made canonical, so that no two parsers
// can differ (threats E1).
func (c *client) redirects(uri string) bool { return registered(c.RedirectURIs, uri) }

func registered(list []string, uri string) bool {
	if !plainURI(uri) {
		return false
	}
	if slices.Contains(list, uri) {
		return true
	}
	without, ok := withoutPort(uri)
	return ok && slices.ContainsFunc(list, func(one string) bool {
		other, ok := withoutPort(one)
		return ok && other == without
	})
}

// loopbacks are the hosts whose port may vary, in this spelling.
var loopbacks = []string{"http://127.0.0.1", "http://[::1]", "http://localhost"}

// withoutPort removes the port of a loopback address; ok is false for any other.
func withoutPort(uri string) (string, bool) {
	for _, host := range loopbacks {
		rest, ok := strings.CutPrefix(uri, host)
		if !ok {
			continue
		}
		if port, found := strings.CutPrefix(rest, ":"); found {
			end := strings.IndexAny(port+"/", "/?")
			n, err := strconv.ParseUint(port[:end], 10, 16)
			if err != nil || n == 0 || strconv.FormatUint(n, 10) != port[:end] {
				return "", false
			}
			rest = port[end:]
		}
		if rest == "" || rest[0] == '/' || rest[0] == '?' {
			return host + rest, true
		}
	}
	return "", false
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && addr.Unmap().IsLoopback()
}

// withParameters appends parameters to the query of a registered URI. A parameter that the URI
// already has is replaced, never repeated (threats R18).
func withParameters(uri string, params [][2]string) string {
	base, query, _ := strings.Cut(uri, "?")
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		decoded, err := url.QueryUnescape(name)
		ours := slices.ContainsFunc(params, func(p [2]string) bool { return err == nil && p[0] == decoded })
		if pair != "" && !ours {
			kept = append(kept, pair)
		}
	}
	for _, p := range params {
		kept = append(kept, p[0]+"="+url.QueryEscape(p[1]))
	}
	return base + "?" + strings.Join(kept, "&")
}
