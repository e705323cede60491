package oidc

import (
	"errors"
	"net/http"

	"dinggate/internal/clientauth"
	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
)

const maxForm = 16 << 10 // of a body that a client's backend sends

// called parses the form of a client's backend: POST, one content type, no repeated parameter, no
// secret in the URL.
func (p *Provider) called(w http.ResponseWriter, r *http.Request) (params, *failure) {
	if r.Method != http.MethodPost {
		w.Header()["Allow"] = []string{"POST"}
		return params{}, &failure{
			status: http.StatusMethodNotAllowed,
			code:   "invalid_request",
			text:   "POST only",
			why:    errors.New("the endpoint takes POST only"),
		}
	}
	// every log on the way contains it (threats E9)
	if q, err := parseParams(r.URL.RawQuery); err != nil || q.get("client_secret") != "" {
		return params{}, fail(
			"invalid_request",
			"client_secret does not belong into the address",
			"the application sends its secret in the address: replace the secret, and have it sent as client_secret_basic",
		)
	}
	body, err := formBody(r, maxForm)
	if errors.Is(err, errTooLarge) {
		return params{}, tooLarge()
	} else if err != nil {
		return params{}, invalidRequest("the body must be application/x-www-form-urlencoded")
	}
	form, err := parseForm(body, maxForm)
	if err != nil {
		return params{}, invalidRequest("the body does not read")
	}
	if len(form.twice) > 0 {
		return params{}, invalidRequest("a parameter is repeated")
	}
	return form, nil
}

// authenticate finds the client that sent a call: by Basic, by client_secret in the body, or, for
// a client without a secret, by its id alone. Two methods at once are refused (threats E9).
func (p *Provider) authenticate(w http.ResponseWriter, r *http.Request, form params) (*client, *failure) {
	x := web.From(w)
	id, secret := form.get("client_id"), form.get("client_secret")
	_, inBody := form.values["client_secret"]
	if len(r.Header["Authorization"]) > 0 {
		basicID, basicSecret, err := clientauth.Basic(r.Header["Authorization"])
		switch {
		case err != nil:
			return nil, invalidClient("the Authorization header is no Basic that can be read")
		case inBody:
			return nil, invalidRequest("two methods of client authentication at once")
		case id != "" && id != basicID && id != clientauth.FormDecoded(basicID):
			return nil, invalidRequest("client_id is not that of the Authorization header")
		}
		id, secret = basicID, basicSecret
		if p.clients.all[id] == nil {
			id = clientauth.FormDecoded(id)
		}
	}
	c := p.clients.all[id]
	name := ""
	if c != nil {
		name = id
		if c.public() && secret == "" {
			return c, nil
		}
	}
	who := clientauth.Guesser{Client: name, Network: ratelimit.Client(x.Client)}
	if !p.counts().wrong.Wait(r.Context(), who, p.now()) {
		return nil, tooMany("too many wrong secrets from this address")
	}
	if _, ok := p.clients.secrets.Match(id, secret); ok && c != nil {
		return c, nil
	}
	// of a flood only some are recorded (threats D9)
	if n := p.counts().wrong.Wrong(who, p.now()); n <= clientauth.Free || n%100 == 0 {
		p.audit(x, Event{What: "oidc_wrong_secret", Application: name})
	}
	switch {
	case c == nil:
		return nil, invalidClient("client_id %.60q is none of oidc.clients; add it, or correct it in the application", id)
	case c.public():
		return nil, invalidClient(
			"client %q is a public client, and sends a secret: give it client_secret_file, or take the secret out of the "+
				"application",
			name,
		)
	}
	return nil, invalidClient(
		"client %q sent no secret or a wrong one; compare its client_secret_file with the application's",
		name,
	)
}
