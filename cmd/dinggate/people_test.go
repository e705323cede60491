package main

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

	"golang.org/x/crypto/bcrypt"
)

// TestNamesakes: a local account and a person of an SSO service with its name are
// two people (threats T32). Neither the end of one nor what is found out about one
// touches the other.
func TestNamesakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	htpasswd(t, file, "zhangsan", "lisi")
	h, s := behindService(t, func(c *config.Config) {
		c.Accounts.HtpasswdFile = file
		c.Session.Recheck, c.Session.Grace = 50*time.Millisecond, time.Hour
	})
	enters := func(name string) (person, account *visitor) {
		t.Helper()
		person, account = h.visitor(), h.visitor()
		if a := person.signInSSO(h.base+"/oauth2/start?rd=%2F", name); sessionOf(a) == "" {
			t.Fatalf("%s signs in at the service: %d %s", name, a.StatusCode, a.body)
		}
		if a := account.password(h.base+"/oauth2/sign_in", name, "pw-"+name); sessionOf(a) == "" {
			t.Fatalf("the account %s signs in: %d %s", name, a.StatusCode, a.body)
		}
		return person, account
	}
	page := func(v *visitor) int { return v.get(h.base + "/").StatusCode }
	person, account := enters("zhangsan")
	page(person)
	if mail := h.app.last(t).Header.Get("X-Forwarded-Email"); mail != "zhangsan@yunfan.example" {
		t.Errorf("the application sees the person with the mail %q", mail)
	}
	page(account)
	if mail := h.app.last(t).Header.Get("X-Forwarded-Email"); mail != "" {
		t.Errorf("the application sees the account with the mail %q, the person's", mail)
	}
	s.revoke("zhangsan")
	waitFor(t, "the end of the person who left, while the account is in use", func() bool {
		return page(account) == 200 && page(person) == 302
	})
	if got := page(account); got != 200 {
		t.Errorf("the account after its namesake left = %d, want 200", got)
	}

	person, account = enters("lisi")
	asked := s.userinfos.Load()
	htpasswd(t, file, "zhangsan")
	h.gate.Accounts.File.Look()
	h.gate.Accounts.File.Look()
	if got := page(account); got != 302 {
		t.Errorf("the account that is gone = %d, want 302", got)
	}
	waitFor(t, "a recheck of the person", func() bool { return page(person) != 0 && s.userinfos.Load() > asked })
	if got := page(person); got != 200 {
		t.Errorf("the person after the account of that name is gone = %d, want 200", got)
	}
}

// held is DingTalk whose answer about a person's record a test holds back: it has
// been worked out, and is on its way.
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
	kept := httptest.NewRecorder()
	d.Handler.ServeHTTP(kept, r)
	close(d.answered)
	<-d.release
	for name, values := range kept.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(kept.Code)
	w.Write(kept.Body.Bytes())
}

// TestLeavesWhileSigningIn: DingTalk's answer is on its way when the person
// leaves: the event ends the session that the answer begins (threats K18).
func TestLeavesWhileSigningIn(t *testing.T) {
	dingtalk := &held{answered: make(chan struct{}), release: make(chan struct{})}
	server := httptest.NewServer(dingtalk)
	defer server.Close()
	h := newTestEnv(t, func(c *config.Config) {
		dingtalk.Handler = httputil.NewSingleHostReverseProxy(mustURL(t, c.DingTalk.OAPIURL))
		c.DingTalk.OAPIURL = server.URL
		// no rule asks for departments: the record is the last question
		c.Session.Recheck, c.Routes = time.Hour, c.Routes[2:]
	})
	waitFor(t, "the event stream", func() bool { return !h.gate.Events.State().Connected.IsZero() })
	v, before := h.visitor(), h.visitor()
	before.signIn(h.base+"/", "zhangsan")
	callback := v.choose(v.leave(h.base+"/"), "zhangsan")
	dingtalk.on.Store(true)
	back := make(chan answer)
	go func() { back <- v.get(callback) }()
	<-dingtalk.answered
	if err := h.platform.Leave("zhangsan"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the event", func() bool { return before.get(h.base+"/").StatusCode == 302 })
	ended := time.Now()
	waitFor(t, "a later moment", func() bool { return time.Since(ended) > 50*time.Millisecond })
	close(dingtalk.release)
	<-back
	if a := v.get(h.base + "/"); a.StatusCode != 302 {
		t.Errorf("somebody who left while DingTalk's answer was under way = %d, want a sign-in", a.StatusCode)
	}
	waitFor(t, "a colleague", func() bool { return sessionOf(h.visitor().signIn(h.base+"/", "lisi")) != "" })
}

// passwordFile is an htpasswd file with the account zs, whose password takes a
// while to verify.
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

// says makes a file, or changes it, and gives its path.
func (f *passwordFile) says(name, password string) string {
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

// signIns is a loop of sign-ins with the old password at some replicas.
type signIns struct {
	mu      sync.Mutex
	begun   []*caller
	stop    chan struct{}
	running sync.WaitGroup
}

// signsIn is a sign-in of zs from an address of its own: wrong passwords count
// per address and account, and both the loop and who waits for the new password
// send some.
func (f *fleet) signsIn(p *program, password string) *caller {
	c, n := f.caller(p), signInAddress.Add(1)
	c.header.Set("X-Forwarded-For", netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}).String())
	if a := c.password(fleetURL+"/oauth2/sign_in", "zs", password); sessionOf(a) == "" {
		return nil
	}
	return c
}

func (f *fleet) signsInAgainAndAgain(at ...*program) *signIns {
	s := &signIns{stop: make(chan struct{})}
	for _, p := range at {
		s.running.Go(func() {
			for {
				select {
				case <-s.stop:
					return
				default:
				}
				if c := f.signsIn(p, "old"); c != nil {
					s.mu.Lock()
					s.begun = append(s.begun, c)
					s.mu.Unlock()
				}
			}
		})
	}
	return s
}

func (s *signIns) so() []*caller {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.begun)
}

func (s *signIns) more(t *testing.T) {
	t.Helper()
	n := len(s.so())
	eventually(t, "sign-ins with the old password", func() bool { return len(s.so()) > n+3 })
}

func (s *signIns) end() []*caller {
	close(s.stop)
	s.running.Wait()
	return s.begun
}

// TestPasswordChangesInALoop: of a loop of sign-ins during the change of a
// password no session is left (threats T34): some were verified before the change
// and began after it.
func TestPasswordChangesInALoop(t *testing.T) {
	file := newPasswordFile(t)
	f := newFleet(t, "DINGGATE_DINGTALK_EVENTS=false", "DINGGATE_ACCOUNTS_HTPASSWD_FILE="+file.says("", "old"))
	p := f.replica()
	loop := f.signsInAgainAndAgain(p, p, p, p)
	loop.more(t)
	file.says("", "new")
	eventually(t, "the new password is taken", func() bool { return f.signsIn(p, "new") != nil })
	for i, c := range loop.end() {
		if got := c.page(p).StatusCode; got != 302 {
			t.Errorf("session %d of the old password = %d, want 302", i, got)
		}
	}
}

// TestPasswordChangesInAFleet: replicas take a new password one after the other,
// and one is started with it. Nowhere where it is known does a session of the old
// one pass, wherever and whenever that was begun (threats T34), and a session of
// the new one lives on when the last replica takes it.
func TestPasswordChangesInAFleet(t *testing.T) {
	redis, file := durableRedis(t), newPasswordFile(t)
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL(),
		"DINGGATE_DINGTALK_EVENTS=false")
	with := func(name, password string) *program {
		return f.replica("DINGGATE_ACCOUNTS_HTPASSWD_FILE=" + file.says(name, password))
	}
	a, b := with("a", "old"), with("b", "old")
	loop := f.signsInAgainAndAgain(a, b)
	loop.more(t)
	refused := func(old []*caller, by ...*program) {
		t.Helper()
		for _, p := range by {
			for i, c := range old {
				if got := f.copy(c).page(p).StatusCode; got != 302 {
					t.Errorf("session %d of %d with the old password = %d, want 302", i, len(old), got)
				}
			}
		}
	}
	c := with("c", "new")
	fresh := f.signsIn(c, "new")
	if fresh == nil {
		t.Fatalf("the new password at a replica that was started with it is refused\n%s", c.log)
	}
	refused(loop.so(), c)
	file.says("a", "new")
	eventually(t, "a replica takes the new password", func() bool { return f.signsIn(a, "new") != nil })
	loop.more(t)
	refused(loop.so(), a, c)
	file.says("b", "new")
	eventually(t, "the last replica takes the new password", func() bool { return f.signsIn(b, "new") != nil })
	refused(loop.end(), a, b, c)
	for _, p := range []*program{a, b, c} {
		if got := fresh.page(p).StatusCode; got != 200 {
			t.Errorf("the session of the new password = %d, want 200", got)
		}
	}
}
