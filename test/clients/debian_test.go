package clients

import (
	"os/exec"
	"path/filepath"
	"testing"

	"dinggate/internal/realtool"
)

// TestAuthlib is Python's Authlib, on which Superset, Airflow and JumpServer's
// relatives stand, as Debian has it.
func TestAuthlib(t *testing.T) {
	realtool.File(t, "/usr/lib/python3/dist-packages/authlib")
	realtool.File(t, "/usr/lib/python3/dist-packages/requests")
	open(t, callback).script(row(t, "Authlib 1.2.0, Python"), "/usr/bin/python3", "testdata/authlib_client.py")
}

// TestOpenIDConnectRuby is Ruby's openid_connect, as Debian has it.
func TestOpenIDConnectRuby(t *testing.T) {
	realtool.File(t, "/usr/share/rubygems-integration/all/gems/openid_connect-*")
	open(t, callback).script(row(t, "openid_connect 1.2.0, Ruby"), "ruby", "testdata/openid_connect.rb")
}

// TestOmniAuth is GitLab's strategy for OmniAuth, as Debian has it.
func TestOmniAuth(t *testing.T) {
	realtool.File(t, "/usr/share/rubygems-integration/all/gems/gitlab-omniauth-openid-connect-*")
	open(t, callback).script(row(t, "gitlab-omniauth-openid-connect 0.10.0"), "ruby", "testdata/omniauth.rb")
}

// TestIddawc is libiddawc, a client library in C.
func TestIddawc(t *testing.T) {
	realtool.File(t, "/usr/include/iddawc.h")
	program := filepath.Join(t.TempDir(), "iddawc")
	build(t, realtool.Path(t, "gcc"), "-Wall", "-Werror", "-o", program, "testdata/iddawc.c", "-liddawc", "-lulfius", "-lorcania",
		"-lyder", "-lrhonabwy", "-ljansson")
	open(t, callback).script(row(t, "iddawc 1.1.0, C"), program)
}

func build(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
