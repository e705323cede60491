package signin

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"

	"golang.org/x/crypto/bcrypt"
)

// TestNamesakes: a local account and a person of an SSO service with the same name are two
// people (threats T32). The end of one, or a change of one, does not affect the other.
func TestNamesakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "zhangsan", "lisi")
	h, s := servertest.NewBehindService(t, func(c *config.Config) {
		c.Accounts.HtpasswdFile = file
		c.Session.Recheck, c.Session.Grace = 50*time.Millisecond, time.Hour
	})
	signIn := func(name string) (person, account *servertest.Client) {
		t.Helper()
		person, account = h.NewClient(), h.NewClient()
		if a := person.SignInAtService(h.URL+"/oauth2/start?rd=%2F", name); servertest.SessionOf(a) == "" {
			t.Fatalf("%s signs in at the service: %d %s", name, a.StatusCode, a.Text)
		}
		if a := account.SubmitPassword(h.URL+"/oauth2/sign_in", name, "pw-"+name); servertest.SessionOf(a) == "" {
			t.Fatalf("the account %s signs in: %d %s", name, a.StatusCode, a.Text)
		}
		return person, account
	}
	page := func(v *servertest.Client) int { return v.Get(h.URL + "/").StatusCode }
	person, account := signIn("zhangsan")
	page(person)
	if mail := h.Upstream.Last(t).Header.Get("X-Forwarded-Email"); mail != "zhangsan@yunfan.example" {
		t.Errorf("the application sees the person with the mail %q", mail)
	}
	page(account)
	if mail := h.Upstream.Last(t).Header.Get("X-Forwarded-Email"); mail != "" {
		t.Errorf("the application sees the account with the mail %q, the person's", mail)
	}
	s.Revoke("zhangsan")
	servertest.Eventually(t, "the end of the person who left, while the account is in use", func() bool {
		return page(account) == 200 && page(person) == 302
	})
	if got := page(account); got != 200 {
		t.Errorf("the account after its namesake left = %d, want 200", got)
	}

	person, account = signIn("lisi")
	before := s.UserInfos.Load()
	servertest.WriteHtpasswd(t, file, "zhangsan")
	h.Gateway.Accounts.File.Look()
	h.Gateway.Accounts.File.Look()
	if got := page(account); got != 302 {
		t.Errorf("the account that is gone = %d, want 302", got)
	}
	servertest.Eventually(t, "a recheck of the person", func() bool { return page(person) != 0 && s.UserInfos.Load() > before })
	if got := page(person); got != 200 {
		t.Errorf("the person after the account of that name is gone = %d, want 200", got)
	}
}

// held is a DingTalk whose response about a person's record a test delays: the response
// was computed and is in transit.
type held struct {
	http.Handler
	on       atomic.Bool
	answered chan struct{}
	release  chan struct{}
}

func (d *held) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/topapi/v2/user/get") || !d.on.CompareAndSwap(true, false) {
		d.Handler.ServeHTTP(w, r)
		return
	}
	recorded := httptest.NewRecorder()
	d.Handler.ServeHTTP(recorded, r)
	close(d.answered)
	<-d.release
	for name, values := range recorded.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(recorded.Code)
	w.Write(recorded.Body.Bytes())
}

// TestLeavesWhileSigningIn: DingTalk's response is in transit when the person leaves. The
// event ends the session that the response begins (threats K18).
func TestLeavesWhileSigningIn(t *testing.T) {
	dingtalk := &held{answered: make(chan struct{}), release: make(chan struct{})}
	server := httptest.NewServer(dingtalk)
	defer server.Close()
	h := servertest.New(t, func(c *config.Config) {
		dingtalk.Handler = httputil.NewSingleHostReverseProxy(servertest.ParseURL(t, c.DingTalk.OAPIURL))
		c.DingTalk.OAPIURL = server.URL
		// no rule names a department: the record is the last call
		c.Session.Recheck, c.Routes = time.Hour, c.Routes[2:]
	})
	servertest.Eventually(t, "the event stream", func() bool { return !h.Gateway.Events.State().Connected.IsZero() })
	v, before := h.NewClient(), h.NewClient()
	before.SignIn(h.URL+"/", "zhangsan")
	callback := v.Choose(v.StartSignIn(h.URL+"/"), "zhangsan")
	dingtalk.on.Store(true)
	back := make(chan servertest.Response)
	go func() { back <- v.Get(callback) }()
	<-dingtalk.answered
	if err := h.Platform.Leave("zhangsan"); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the event", func() bool { return before.Get(h.URL+"/").StatusCode == 302 })
	ended := time.Now()
	servertest.Eventually(t, "a later moment", func() bool { return time.Since(ended) > 50*time.Millisecond })
	close(dingtalk.release)
	<-back
	if a := v.Get(h.URL + "/"); a.StatusCode != 302 {
		t.Errorf("a person who left while DingTalk's answer was under way = %d, want a sign-in", a.StatusCode)
	}
	servertest.Eventually(t, "a colleague", func() bool { return servertest.SessionOf(h.NewClient().SignIn(h.URL+"/", "lisi")) != "" })
}

// passwordFile is an htpasswd file with the account zs, whose password takes a while to
// verify.
type passwordFile struct {
	t     testing.TB
	path  string
	lines map[string]string // by password: a replica's file is a copy of the others'
}

func newPasswordFile(t testing.TB) *passwordFile {
	f := &passwordFile{t: t, path: filepath.Join(t.TempDir(), "htpasswd"), lines: map[string]string{}}
	for _, password := range []string{"old", "new"} {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), 8)
		if err != nil {
			t.Fatal(err)
		}
		f.lines[password] = "zs:" + string(hash) + "\n"
	}
	return f
}

// write creates or changes a file and returns its path.
func (f *passwordFile) write(name, password string) string {
	f.t.Helper()
	path := f.path + name
	if err := os.WriteFile(path+".new", []byte(f.lines[password]), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		f.t.Fatal(err)
	}
	return path
}

var signInAddress atomic.Uint32

// signInLoop is a loop of sign-ins with the old password at some replicas.
type signInLoop struct {
	mu      sync.Mutex
	begun   []*servertest.FleetClient
	stop    chan struct{}
	running sync.WaitGroup
}

// trySignIn signs zs in from a distinct address: wrong passwords count per address and
// account, and both the loop and the code that waits for the new password send some.
func trySignIn(f *servertest.Fleet, p *servertest.Program, password string) *servertest.FleetClient {
	c, n := f.NewClient(p), signInAddress.Add(1)
	c.Header.Set("X-Forwarded-For", netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}).String())
	if a := c.SubmitPassword(servertest.FleetURL+"/oauth2/sign_in", "zs", password); servertest.SessionOf(a) == "" {
		return nil
	}
	return c
}

func newSignInLoop(f *servertest.Fleet, at ...*servertest.Program) *signInLoop {
	s := &signInLoop{stop: make(chan struct{})}
	for _, p := range at {
		s.running.Go(func() {
			for {
				select {
				case <-s.stop:
					return
				default:
				}
				if c := trySignIn(f, p, "old"); c != nil {
					s.mu.Lock()
					s.begun = append(s.begun, c)
					s.mu.Unlock()
				}
			}
		})
	}
	return s
}

func (s *signInLoop) sessions() []*servertest.FleetClient {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.begun)
}

func (s *signInLoop) more(t *testing.T) {
	t.Helper()
	n := len(s.sessions())
	servertest.Eventually(t, "sign-ins with the old password", func() bool { return len(s.sessions()) > n+3 })
}

func (s *signInLoop) end() []*servertest.FleetClient {
	close(s.stop)
	s.running.Wait()
	return s.begun
}

// TestPasswordChangesInALoop checks that no session remains of a loop of sign-ins during
// the change of a password (threats T34): some were verified before the change and began
// after it.
func TestPasswordChangesInALoop(t *testing.T) {
	file := newPasswordFile(t)
	f := servertest.NewFleet(t, "DINGGATE_DINGTALK_EVENTS=false", "DINGGATE_ACCOUNTS_HTPASSWD_FILE="+file.write("", "old"))
	p := f.Replica()
	loop := newSignInLoop(f, p, p, p, p)
	loop.more(t)
	file.write("", "new")
	servertest.Eventually(t, "the new password is taken", func() bool { return trySignIn(f, p, "new") != nil })
	for i, c := range loop.end() {
		if got := c.Page(p).StatusCode; got != 302 {
			t.Errorf("session %d of the old password = %d, want 302", i, got)
		}
	}
}

// TestPasswordChangesInAFleet: replicas read a new password one after the other, and one
// is started with it. A replica that has read it refuses every session of the old
// password, wherever and whenever that session began (threats T34). A session of the new
// password remains valid when the last replica reads it.
func TestPasswordChangesInAFleet(t *testing.T) {
	redis, file := servertest.DurableRedis(t), newPasswordFile(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL(),
		"DINGGATE_DINGTALK_EVENTS=false")
	with := func(name, password string) *servertest.Program {
		return f.Replica("DINGGATE_ACCOUNTS_HTPASSWD_FILE=" + file.write(name, password))
	}
	a, b := with("a", "old"), with("b", "old")
	loop := newSignInLoop(f, a, b)
	loop.more(t)
	refused := func(old []*servertest.FleetClient, by ...*servertest.Program) {
		t.Helper()
		for _, p := range by {
			for i, c := range old {
				if got := f.Copy(c).Page(p).StatusCode; got != 302 {
					t.Errorf("session %d of %d with the old password = %d, want 302", i, len(old), got)
				}
			}
		}
	}
	c := with("c", "new")
	fresh := trySignIn(f, c, "new")
	if fresh == nil {
		t.Fatalf("the new password at a replica that was started with it is refused\n%s", c.Log)
	}
	refused(loop.sessions(), c)
	file.write("a", "new")
	servertest.Eventually(t, "a replica takes the new password", func() bool { return trySignIn(f, a, "new") != nil })
	loop.more(t)
	refused(loop.sessions(), a, c)
	file.write("b", "new")
	servertest.Eventually(t, "the last replica takes the new password", func() bool { return trySignIn(f, b, "new") != nil })
	refused(loop.end(), a, b, c)
	for _, p := range []*servertest.Program{a, b, c} {
		if got := fresh.Page(p).StatusCode; got != 200 {
			t.Errorf("the session of the new password = %d, want 200", got)
		}
	}
}
