package server

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/keyring"
	"dinggate/internal/web"
	"dinggate/proxy/assertion"
	"dinggate/session"
)

// newAssertions returns the signer; nil if assertion.enabled is false.
func newAssertions(cfg *config.Config, keyring *keyring.Keyring, origins *web.Origins) (*assertion.Signer, error) {
	if !cfg.Assertion.Enabled {
		return nil, nil
	}
	keys, err := assertionKeys(cfg.Assertion.KeyFiles, keyring)
	if err != nil {
		return nil, err
	}
	issuer := cfg.Assertion.Issuer
	if issuer == "" {
		issuer = origins.Public()
	}
	return assertion.New(issuer, cfg.Assertion.Lifetime, keys)
}

// assertionKeys reads the files, or derives a key from each secret of cookie.secrets:
// all replicas have the same keys, which survive a restart and rotate together.
func assertionKeys(files []string, keyring *keyring.Keyring) (keys []assertion.Key, err error) {
	for i, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("assertion.key_files[%d]: %w", i, err)
		}
		key, err := assertion.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("assertion.key_files[%d] %w", i, err)
		}
		keys = append(keys, key)
	}
	if len(files) > 0 {
		return keys, nil
	}
	for try := 0; ; try++ { // one seed in 2³² gives no key; then all replicas take the next
		seeds, err := keyring.Derive("assertion " + strconv.Itoa(try))
		if err != nil {
			return nil, err
		}
		keys = nil
		for _, seed := range seeds {
			key, bad := assertion.MakeKey(seed)
			if err = bad; err != nil {
				break
			}
			keys = append(keys, key)
		}
		if err == nil || try == 8 {
			return keys, err
		}
	}
}

// asserted returns a route's token for the person of a session; nil if signing is off. Its
// audience is the route's address.
func asserted(s *assertion.Signer, r config.Route, origins *web.Origins) func(*session.Session, string) []string {
	if s == nil {
		return nil
	}
	host := origins.PublicHost()
	if r.Host != "" {
		host = strings.ToLower(r.Host)
	}
	audience := origins.Scheme() + "://" + host + r.Path
	return func(who *session.Session, grant string) []string {
		return s.Header(assertion.Person{
			Session:  who.ID,
			User:     &who.User,
			SignedIn: who.SignedIn,
			Checked:  who.Checked,
			Grant:    grant,
		}, audience)
	}
}

// jwks publishes the keys.
func jwks(s *assertion.Signer) web.HandlerFunc {
	body := s.JWKS()
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			return &web.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Allow: "GET, HEAD"}
		}
		web.SecurityHeaders(w, "")
		w.Header()["Content-Type"] = []string{"application/json"}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodGet {
			w.Write(body) // an error means that the client closed the connection
		}
		return nil
	}
}
