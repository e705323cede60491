package clients

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
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
	write("www/index.html", `<!--#echo var="REMOTE_USER" --> <!--#echo var="OIDC_CLAIM_name" --> <!--#echo var="OIDC_CLAIM_groups" -->`)
	modules := ""
	for _, m := range []string{"mpm_event", "authn_core", "authz_core", "authz_user", "dir", "include", "mime", "auth_openidc"} {
		modules += fmt.Sprintf("LoadModule %s_module %s/mod_%s.so\n", m, apacheModules, m)
	}
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
%[4]s`, dir, port, modules, strings.ReplaceAll(string(printed), "/run/secrets/"+clientID, secret)))
	serve := exec.Command(apache, "-f", config, "-DFOREGROUND")
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	serve.Stderr = said
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		serve.Process.Kill()
		serve.Wait()
		if t.Failed() {
			for _, name := range []string{"said", "error.log"} {
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
	stranger := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if res, err := stranger.Get(site + apacheRedirect + "?code=x&state=y"); err != nil || res.StatusCode < 400 {
		t.Errorf("an answer that nobody asked for: %v, %v", res, err)
	}
}
