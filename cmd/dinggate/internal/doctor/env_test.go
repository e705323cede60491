package doctor_test

import (
	"context"
	"crypto/tls"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/dingtalkapp"
	"dinggate/cmd/dinggate/internal/doctor"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/tlstest"
	"dinggate/proxy/access"
	"dinggate/session"

	"github.com/alicebob/miniredis/v2"
)

// env is a set-up without a problem. Every part is real: DingTalk on three addresses,
// an application with plain http and one with TLS, Redis, a directory, and a dinggate that
// runs at public_url.
type env struct {
	t                *testing.T
	h                *servertest.Env // of the running dinggate
	cfg              *config.Config
	platform         *simulator.Platform
	login, api, oapi *httptest.Server
	app, secure      *httptest.Server
	redis            *miniredis.Miniredis
	ca               *tlstest.Authority
	files            map[string][]byte
	user             string
	patience         time.Duration
	dws              *fakeDWS // nil: not called
}

func newEnv(t *testing.T) *env {
	c := &env{t: t, ca: tlstest.NewAuthority(), files: map[string][]byte{}, user: "zhangsan", patience: 5 * time.Second}
	h := servertest.New(t, func(cfg *config.Config) { c.cfg = cfg })
	c.platform = h.Platform
	for _, s := range []**httptest.Server{&c.login, &c.api, &c.oapi} {
		*s = httptest.NewServer(h.Platform)
		t.Cleanup((*s).Close)
	}
	c.app = httptest.NewServer(h.Upstream)
	t.Cleanup(c.app.Close)
	c.secure = c.behindTLS(c.ca.Pair(valid("127.0.0.1", 90*24*time.Hour)))
	c.redis = miniredis.RunT(t)
	change := *c.cfg // dinggate has its own
	c.cfg = &change
	c.cfg.DingTalk.LoginURL, c.cfg.DingTalk.APIURL, c.cfg.DingTalk.OAPIURL = c.login.URL, c.api.URL, c.oapi.URL
	c.cfg.Session.Store, c.cfg.Redis.URL = "redis", conf.NewSecret("redis://"+c.redis.Addr())
	c.cfg.StateDir = t.TempDir()
	c.cfg.Audit.File, c.cfg.Tracing.Endpoint = filepath.Join(c.cfg.StateDir, "audit"), c.serves(200)
	c.cfg.Routes = nil
	c.route("/admin/", &access.RuleConfig{Departments: []string{"42"}, Roles: []string{"财务"}}, c.app.URL)
	c.route("/", nil, c.secure.URL)
	admin := httptest.NewServer(h.AdminHandler())
	t.Cleanup(admin.Close)
	c.h, c.cfg.Admin.Listen = h, admin.Listener.Addr().String()
	return c
}

func (c *env) route(path string, rule *access.RuleConfig, upstream string) {
	r := config.DefaultRoute()
	r.Path, r.Access, r.Upstream = path, rule, upstream
	c.cfg.Routes = append(c.cfg.Routes, r)
}

// behindTLS serves the application with a certificate.
func (c *env) behindTLS(pair tls.Certificate) *httptest.Server {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	c.t.Cleanup(s.Close)
	return s
}

func (c *env) mend(change func(*simulator.App)) {
	c.t.Helper()
	if err := c.platform.ChangeApp("", change); err != nil {
		c.t.Fatal(err)
	}
}

func (c *env) fault(on string, do simulator.Verb) {
	c.platform.Fault(simulator.Fault{On: on, Do: do})
}

// valid is a certificate for a name or an address that ends after this time.
func valid(name string, ends time.Duration) tlstest.Leaf {
	return tlstest.Leaf{Names: []string{name}, Ends: ends}
}

func (c *env) own(l tlstest.Leaf) {
	c.cfg.TLS = config.TLSConfig{CertFile: "cert.pem", KeyFile: "key.pem"}
	c.files["cert.pem"], _ = c.ca.Issue(l)
}

// examine returns all results by the name of the check.
func (c *env) examine() (map[string]doctor.Result, []string) {
	d := doctor.New(c.cfg, nil)
	d.User, d.Roots, d.MaxWait, d.Slow = c.user, c.ca.Pool(), c.patience, time.Minute
	d.Files = func(name string) ([]byte, fs.FileMode, error) {
		if data, ok := c.files[name]; ok {
			return data, 0o600, nil
		}
		return nil, 0, fs.ErrNotExist
	}
	if c.dws != nil {
		d.DWS = &dingtalkapp.DWS{Program: c.dws.install()}
	}
	checks := d.Checks()
	found := d.Examine(context.Background(), checks, func(int) {})
	all, order := map[string]doctor.Result{}, []string{}
	for i, f := range found {
		all[checks[i].Name] = f
		order = append(order, checks[i].Name)
	}
	return all, order
}

// grace makes the running gateway's lookup of a person fail.
func (c *env) grace() {
	c.h.NewClient().SignIn(c.h.URL+"/", "lisi")
	c.fault("/topapi/v2/user/get", simulator.Status(503))
	c.h.Gateway.Sessions.RecheckUser(session.Person{UserID: "lisi"})
	servertest.Eventually(c.t, "the lookup has failed", func() bool { return c.h.Gateway.Sessions.Stats().Failing == 1 })
}

func (c *env) leave(id string) {
	if err := c.platform.Leave(id); err != nil {
		c.t.Fatal(err)
	}
}

// serves answers every request with this status.
func (c *env) serves(status int) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	c.t.Cleanup(s.Close)
	return s.URL
}

// ssoService refuses tokens as expected, and answers the token call with this status.
func (c *env) ssoService(token int) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/token") {
			w.WriteHeader(token)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	c.t.Cleanup(s.Close)
	return s.URL
}

func (c *env) sso(base string) {
	c.cfg.SSO.URL, c.cfg.SSO.ClientID, c.cfg.SSO.ClientSecret = base, "app", conf.NewSecret("wrong-"+servertest.Canary)
	c.cfg.DingTalk = config.Default().DingTalk
}
