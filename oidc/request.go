package oidc

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"dinggate/internal/identity"
)

// Values of an authorization request.
const (
	promptNone    = "none"
	promptLogin   = "login"
	promptConsent = "consent"
	promptSelect  = "select_account"

	modeQuery    = "query"
	modeFormPost = "form_post"

	maxRequest = 8 << 10  // of a whole authorization request
	maxAnswer  = 48 << 10 // of a form of our own page, in which a request is sealed
	maxScopes  = 64
)

// request is an authorization request (OpenID Connect Core §3.1.2.1) of a known client with a
// registered URI.
type request struct {
	raw                     string // as received, to be processed again after a sign-in
	client                  *client
	redirect, state, nonce  string
	mode                    string
	scope                   []string // known ones, in our order
	challenge               string
	prompt                  []string
	maxAge                  time.Duration // valid with hasMaxAge
	hasMaxAge               bool
	hint, loginHint         string
	locales                 string
	claims                  claimsRequest
	redirectGiven, stateSet bool
}

func (q *request) prompts(value string) bool { return slices.Contains(q.prompt, value) }
func (q *request) has(scope string) bool     { return slices.Contains(q.scope, scope) }

// params are form-encoded parameters. A repeated one is recorded and refused where it is used: two
// parsers would see two values (threats R9).
type params struct {
	values map[string]string
	twice  map[string]bool
}

var errParams = errors.New("oidc: the parameters do not read")

func parseParams(raw string) (params, error) { return parseForm(raw, maxRequest) }

func parseForm(raw string, limit int) (params, error) {
	p := params{map[string]string{}, map[string]bool{}}
	if len(raw) > limit {
		return p, errParams
	}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		text, err2 := url.QueryUnescape(value)
		if err != nil || err2 != nil || !utf8.ValidString(text) {
			return p, errParams
		}
		if _, again := p.values[name]; again {
			p.twice[name] = true
		}
		p.values[name] = text
	}
	return p, nil
}

func (p params) get(name string) string { return p.values[name] }

// once returns a repeated parameter of the names, or "".
func (p params) once(names ...string) (twice string) {
	for _, name := range names {
		if p.twice[name] {
			return name
		}
	}
	return ""
}

// identify finds client and redirect URI. A mistake in them is shown on our own page and never
// causes a redirect (threats E1).
func (p authorization) identify(raw string) (*request, params, error) {
	if len(raw) > maxRequest {
		return nil, params{}, pageError(
			400,
			"oidc_request",
			"the authorization request is longer than %d bytes; the application requests too much",
			maxRequest,
		)
	}
	q, err := parseParams(raw)
	if err != nil {
		return nil, q, pageError(
			400,
			"oidc_request",
			"the authorization request is not form-encoded UTF-8; the application's library builds it wrongly",
		)
	}
	if twice := q.once("client_id", "redirect_uri"); twice != "" {
		return nil, q, pageError(
			400,
			"oidc_request",
			"%s is repeated; the application's configuration adds it once more",
			twice,
		)
	}
	c := p.clients.all[q.get("client_id")]
	if c == nil {
		return nil, q, pageError(
			400,
			"oidc_client",
			"client_id %.60q is none of oidc.clients; add it, or correct it in the application",
			q.get("client_id"),
		)
	}
	redirect, given := q.values["redirect_uri"]
	if !given || !c.redirects(redirect) {
		return nil, q, pageError(
			400,
			"oidc_redirect",
			"redirect_uri %.200q is none of client %q; add exactly this to its redirect_uris where it is the application's",
			redirect,
			c.ClientID,
		)
	}
	return &request{raw: raw, client: c, redirect: redirect, redirectGiven: true, mode: modeQuery}, q, nil
}

// read parses the other parameters; its errors are sent to the client by redirect.
func (q *request) read(p params) *failure {
	q.state, q.stateSet = p.get("state"), p.values["state"] != ""
	if p.twice["state"] {
		q.state, q.stateSet = "", false
		return invalidRequest("state is repeated")
	}
	switch mode := p.get("response_mode"); mode {
	case "", modeQuery:
	case modeFormPost:
		q.mode = modeFormPost
	default:
		return invalidRequest("response_mode must be query or form_post")
	}
	if twice := p.once("response_type", "response_mode", "scope", "nonce", "prompt", "max_age", "code_challenge",
		"code_challenge_method", "claims", "id_token_hint",
		"login_hint", "ui_locales", "acr_values", "display", "request", "request_uri", "registration",
		"resource"); twice != "" {
		return invalidRequest(twice + " is repeated")
	}
	for name, code := range map[string]string{"request": "request_not_supported",
		"request_uri": "request_uri_not_supported", "registration": "registration_not_supported"} {
		if p.get(name) != "" {
			return fail(code, name+" is not supported", "the application sends %s; switch request objects off in it", name)
		}
	}
	if p.get("resource") != "" {
		return fail(
			"invalid_target",
			"no resource is known",
			"the application requests a token for a resource; none is configured",
		)
	}
	switch p.get("response_type") {
	case "code":
	case "":
		return invalidRequest("response_type is missing")
	default:
		return fail(
			"unsupported_response_type",
			"response_type must be code",
			"the application requests response_type %.40q; set it to the authorization code flow",
			p.get("response_type"),
		)
	}
	return q.readRest(p)
}

func (q *request) readRest(p params) *failure {
	requested := strings.Fields(p.get("scope"))
	if len(requested) > maxScopes {
		return fail("invalid_scope", "too many scopes", "the application requests %d scopes", len(requested))
	}
	q.scope = knownScopes(requested)
	if f := q.readPKCE(p); f != nil {
		return f
	}
	q.prompt = strings.Fields(p.get("prompt"))
	if q.prompts(promptNone) && len(q.prompt) > 1 {
		return invalidRequest("prompt none stands alone")
	}
	if text, given := p.values["max_age"]; given && text != "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return invalidRequest("max_age must be a number of seconds")
		}
		q.maxAge, q.hasMaxAge = time.Duration(n)*time.Second, true
	}
	q.nonce, q.hint, q.loginHint, q.locales = p.get(
		"nonce",
	), p.get(
		"id_token_hint",
	), p.get(
		"login_hint",
	), p.get(
		"ui_locales",
	)
	if text := p.get("claims"); text != "" {
		if err := json.Unmarshal([]byte(text), &q.claims); err != nil {
			return invalidRequest("claims is no JSON object of claims")
		}
	}
	return nil
}

// knownScopes removes unknown scopes: RFC 6749 §3.3 lets a server ignore them, and Jenkins
// requests all that discovery names.
func knownScopes(requested []string) (known []string) {
	for _, s := range scopes {
		if slices.Contains(requested, s) {
			known = append(known, s)
		}
	}
	return known
}

// readPKCE accepts only S256: with plain, a reader of the request has the verifier (threats E4).
func (q *request) readPKCE(p params) *failure {
	challenge, method := p.get("code_challenge"), p.get("code_challenge_method")
	switch {
	case challenge == "" && method == "":
		if q.client.needsPKCE() {
			return fail(
				"invalid_request",
				"code_challenge is required",
				"the application sends no code_challenge; switch PKCE (S256) on in it, or give it a client_secret",
			)
		}
		return nil
	case challenge == "":
		return invalidRequest("code_challenge_method without code_challenge")
	case method != "S256":
		return fail(
			"invalid_request",
			"code_challenge_method must be S256",
			"the application uses PKCE with method %.20q; set it to S256",
			method,
		)
	}
	if raw, err := base64.RawURLEncoding.Strict().DecodeString(challenge); err != nil || len(raw) != 32 {
		return invalidRequest("code_challenge is not the S256 of a verifier")
	}
	q.challenge = challenge
	return nil
}

// hintsElsewhere reports whether login_hint names another person than the one who is signed in, as
// far as that is known: an e-mail address is compared with the person's, any other text with their
// names. A hint proves nothing: any member may then sign in.
func (q *request) hintsElsewhere(u *identity.User) bool {
	hint := strings.TrimSpace(q.loginHint)
	names := []string{u.Username, u.UserID}
	if strings.Contains(hint, "@") {
		names = []string{u.Email}
		if strings.Contains(u.Username, "@") {
			names = append(names, u.Username)
		}
	}
	known := false
	for _, name := range names {
		if name != "" && strings.EqualFold(name, hint) {
			return false
		}
		known = known || name != ""
	}
	return hint != "" && known
}

// claimsRequest is the claims parameter (OpenID Connect Core §5.5); `essential` and values are
// ignored.
type claimsRequest struct {
	Userinfo map[string]json.RawMessage `json:"userinfo"`
	IDToken  map[string]json.RawMessage `json:"id_token"`
}

// names lists the requested claims that are known.
func (c claimsRequest) names() (userinfo, idToken []string) {
	for _, name := range personal {
		if _, ok := c.Userinfo[name]; ok {
			userinfo = append(userinfo, name)
		}
		if _, ok := c.IDToken[name]; ok {
			idToken = append(idToken, name)
		}
	}
	return userinfo, idToken
}
