package clients

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	apacheModules  = "/usr/lib/apache2/modules"
	apacheRedirect = "/oidc_redirect"
)

// TestApache is the real Apache with Debian's mod_auth_openidc: the directives are
// those that `dinggate gen app mod_auth_openidc` prints.
func TestApache(t *testing.T) {
	apache, err := exec.LookPath("apache2")
	if err != nil {
		apache = "/usr/sbin/apache2"
	}
	for _, file := range []string{apache, filepath.Join(apacheModules, "mod_auth_openidc.so")} {
		if _, err := os.Stat(file); err != nil {
			if os.Getenv("TEST_TOOLS") == "required" {
				t.Fatalf("%v: scripts/tools installs it", err)
			}
			t.Skipf("%v: scripts/tools installs it", err)
		}
	}
	seen := row(t, "mod_auth_openidc 2.4.12, Apache")
	port := freePort(t)
	site := "http://localhost:" + port
	e := open(t, site+apacheRedirect)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	gen := exec.Command(program, "gen", "app", "mod_auth_openidc", "--public_url", e.issuer, "--url", site, "--client", clientID,
		"--out", dir)
	if out, err := gen.CombinedOutput(); err != nil {
		t.Fatalf("gen app: %v\n%s", err, out)
	}
	printed, err := os.ReadFile(filepath.Join(dir, "openidc.conf"))
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	write("secret.conf", fmt.Sprintf("OIDCClientSecret %q\n", clientSecret))
	write("secret.passphrase", "0123456789abcdefghijklmnopqrstuv")
	os.MkdirAll(filepath.Join(dir, "www"), 0o755)
	write("www/index.html", `<!--#echo var="REMOTE_USER" --> <!--#echo var="OIDC_CLAIM_name" --> <!--#echo var="OIDC_CLAIM_groups" --> `+
		`token=<!--#echo var="OIDC_access_token" -->;`)
	modules := ""
	for _, m := range []string{"mpm_event", "authn_core", "authz_core", "authz_user", "dir", "include", "mime", "auth_openidc"} {
		modules += fmt.Sprintf("LoadModule %s_module %s/mod_%s.so\n", m, apacheModules, m)
	}
	settings := strings.NewReplacer("/run/secrets/"+clientID, secret, // and a refresh token, which few applications need
		`email groups"`, `email groups offline_access"`).Replace(string(printed))
	config := write("apache.conf", fmt.Sprintf(`ServerRoot %[1]s
ServerName localhost
Listen 127.0.0.1:%[2]s
PidFile %[1]s/pid
ErrorLog %[1]s/error.log
DefaultRuntimeDir %[1]s
Mutex file:%[1]s default
%[3]s
DocumentRoot %[1]s/www
TypesConfig /dev/null
AddType text/html .html
DirectoryIndex index.html
AddOutputFilter INCLUDES .html
<Directory %[1]s/www>
  Options +Includes
</Directory>
%[4]s`, dir, port, modules, settings))
	serve := exec.Command(apache, "-f", config, "-DFOREGROUND")
	stderr, err := os.Create(filepath.Join(dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	serve.Stderr = stderr
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		serve.Process.Kill()
		serve.Wait()
		if t.Failed() {
			for _, name := range []string{"stderr", "error.log"} {
				text, _ := os.ReadFile(filepath.Join(dir, name))
				t.Logf("Apache's %s:\n%s", name, text)
			}
		}
	})
	for limit := time.Now().Add(20 * time.Second); ; {
		if res, err := http.Get(site + "/nothing"); err == nil {
			res.Body.Close()
			break
		} else if time.Now().After(limit) {
			t.Fatalf("Apache does not answer: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	b := e.browser("zhangsan")
	_, page := b.visit(site+"/", "")
	if !strings.Contains(page, "zhangsan") || !strings.Contains(page, "张三") || !strings.Contains(page, "主管") {
		t.Fatalf("Apache's page says %q", page)
	}
	refreshes(t, b, site)
	seen.ok("refresh")
	// Who signs out at the provider is out here, by the back channel.
	b.send(http.MethodPost, e.issuer+"/oauth2/sign_out", map[string][]string{})
	for limit := time.Now().Add(10 * time.Second); ; {
		status, location, _ := b.send(http.MethodGet, site+"/", nil)
		if status == http.StatusFound && strings.HasPrefix(location, e.issuer) {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("10 s after the sign-out Apache answers %d", status)
		}
		time.Sleep(50 * time.Millisecond)
	}
	jar, _ := cookiejar.New(nil)
	other := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if res, err := other.Get(site + apacheRedirect + "?code=x&state=y"); err != nil || res.StatusCode < 400 {
		t.Errorf("a callback without a request: %v, %v", res, err)
	}
	seen.ok("discovery", "pkce", "nonce", "userinfo", "groups", "logout", "wrong")
}

// refreshes has the module renew the access token (its refresh hook), which it answers
// by sending the browser on.
func refreshes(t *testing.T, b *browser, site string) {
	t.Helper()
	before := accessToken(t, b, site)
	query := url.Values{"refresh": {site + "/"}, "access_token": {before}}
	status, location, body := b.send(http.MethodGet, site+apacheRedirect+"?"+query.Encode(), nil)
	if status != http.StatusFound || location != site+"/" {
		t.Fatalf("the refresh hook: %d to %q: %s", status, location, body)
	}
	if after := accessToken(t, b, site); after == before || after == "" {
		t.Errorf("after the refresh the access token is the old one")
	}
}

func accessToken(t *testing.T, b *browser, site string) string {
	t.Helper()
	_, page := b.visit(site+"/", "")
	_, rest, _ := strings.Cut(page, "token=")
	token, _, _ := strings.Cut(rest, ";")
	return token
}
