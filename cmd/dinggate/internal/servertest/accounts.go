package servertest

import (
	"encoding/base64"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"

	"golang.org/x/crypto/bcrypt"
)

// WriteHtpasswd writes accounts, each with the password "pw-" followed by its name.
func WriteHtpasswd(t testing.TB, path string, names ...string) {
	t.Helper()
	var text strings.Builder
	for _, name := range names {
		hash, err := bcrypt.GenerateFromPassword([]byte("pw-"+name), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(name + ":" + string(hash) + "\n")
	}
	if err := os.WriteFile(path+".new", []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// NewWithAccounts returns an environment with the accounts zs and ls and the given
// binding.
func NewWithAccounts(t testing.TB, binding string) (h *Env, file string) {
	file = filepath.Join(t.TempDir(), "htpasswd")
	WriteHtpasswd(t, file, "zs", "ls")
	return New(t, func(c *config.Config) {
		c.Accounts.HtpasswdFile, c.Accounts.Binding, c.LoginAPI = file, binding, true
	}), file
}

// SubmitPassword signs in with the form, as a browser submits it.
func (v *Client) SubmitPassword(address, name, password string) Response {
	v.T.Helper()
	return v.Do("POST", address, url.Values{"username": {name}, "password": {password}}.Encode(),
		"Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin", "Origin: null",
		"Sec-Fetch-Mode: navigate")
}

// LinkAddress finds the link that binds a local account in a page.
var LinkAddress = regexp.MustCompile(`href="(/oauth2/sign_in\?link=[^"]+)"`)

// BasicAuth returns the header of HTTP Basic authentication.
func BasicAuth(name, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}
