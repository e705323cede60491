package hostile

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"dinggate/internal/realtool"
)

// nameService is an SSO service whose codes are the names of the people they belong to. A try
// chooses the unionid of each person.
type nameService struct {
	mu       sync.Mutex
	base     string
	unionIDs map[string]string // by username; "": the response has no unionid
	removed  map[string]bool
}

func newNameService(t *testing.T) *nameService {
	s := &nameService{unionIDs: map[string]string{}, removed: map[string]bool{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	s.base = "http://" + l.Addr().String()
	return s
}

func (s *nameService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.URL.Path {
	case "/dingtalk/token":
		body := make([]byte, 1<<10)
		n, _ := r.Body.Read(body)
		code, _, _ := strings.Cut(strings.TrimPrefix(string(body[:n]), "code="), "&state=")
		fmt.Fprintf(w, `{"access_token":%q,"expiry_in":7200,"token_type":"Bearer"}`, "token-"+code)
	case "/dingtalk/userinfo":
		name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "token-")
		if !ok || s.removed[name] {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"username":%q,"email":%q,"unionid":%q}`, name, name+"@service.test", s.unionIDs[name])
	default:
		http.NotFound(w, r)
	}
}

func (s *nameService) setUnionID(name, unionID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unionIDs[name] = unionID
}

func (s *nameService) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed[name] = true
}

// openServiceNames starts the env whose people sign in at a service, beside local accounts of the same
// names.
func openServiceNames(t *testing.T) *env {
	dir, service := t.TempDir(), newNameService(t)
	file := &htpasswdFile{
		path:      filepath.Join(dir, "accounts"),
		passwords: map[string]string{},
		lines:     map[string]string{},
	}
	for i := range 4 {
		for _, kind := range []string{"leaver", "local", "case"} {
			if err := file.set(fmt.Sprint(kind, i), password(fmt.Sprint(kind, i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := openWith(t, func(text string) string {
		before, rest, _ := strings.Cut(text, "dingtalk:\n")
		_, rest, _ = strings.Cut(rest, "cookie:")
		middle, rest, _ := strings.Cut(strings.Replace(rest, "recheck: 1h", "recheck: 1s, grace: 1h", 1),
			"sso_server:\n")
		_, rest, _ = strings.Cut(rest, "admin:")
		return before +
			fmt.Sprintf(
				"sso: {url: %q, client_id: gate, client_secret: %s-gate-secret}\naccounts: {htpasswd_file: "+
					"%q}\ncookie:", service.base, canary, file.path,
			) + middle + "admin:" + rest
	})
	s.t, s.htpasswd, s.nameService, s.service = t, file, service, service.base
	s.excused = []string{"which is weak", "The configuration has no mistakes, but", "gives one unionid"}
	return s
}

// signInAtService signs a person in at the service.
func (v *visitor) signInAtService(name string) *visitor {
	a := v.do(request{}, "GET", "/oauth2/start?rd=%2F")
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || !strings.HasPrefix(a.header.Get("Location"), v.h.env.service) {
		v.h.failf("no sign-in began: %v", a)
		return v
	}
	back, err := url.Parse(to.Query().Get("redirect_url"))
	if err != nil {
		v.h.failf("%v", err)
		return v
	}
	if a = v.do(request{session: true, slow: true}, "GET",
		back.RequestURI()+"&code="+url.QueryEscape(name)+"&state=s"); a.status != 302 || v.value(sessionCookie) == "" {
		v.h.failf("%s did not get a session: %v", name, a)
	}
	return v
}

// identity returns the identity that the application receives for the visitor. It returns "" if the
// application receives no request.
func (v *visitor) identity() string {
	before := len(v.h.env.up.received(v.h.id))
	a := v.do(request{authorized: true, slow: true, cleared: true, session: true}, "GET", "/page")
	if seen := v.h.env.up.received(v.h.id); a.status == 200 && len(seen) == before+1 {
		return seen[before].value("X-Forwarded-User") + " " + seen[before].value("X-Forwarded-Email")
	}
	return ""
}

// sharedNames covers T32 and T36: the identities at a dinggate behind a service.
func sharedNames(s *env) []try { return slices.Concat(sameNames(s), oneUnionID(s)) }

func sameNames(s *env) (list []try) {
	for i := range 4 {
		list = append(list, try{fmt.Sprintf("T32 a person leaves, whose name an account has, %d", i), func(h *client) {
			name := fmt.Sprint("leaver", i)
			person, account := h.visitor().signInAtService(name), h.visitor().account(name)
			if got := person.identity(); got != name+" "+name+"@service.test" {
				h.failf("the person is %q", got)
			}
			if got := account.identity(); got != name+" " {
				h.failf("the account is %q", got)
			}
			s.nameService.remove(name)
			if !until(func() bool { return account.identity() != "" && person.identity() == "" }) {
				h.failf("the person who left still has access")
			}
			if got := account.identity(); got != name+" " {
				h.failf("the account of a person who left is %q", got)
			}
		}}, try{fmt.Sprintf("T32 the password of an account changes, whose name a person has, %d", i), func(h *client) {
			name := fmt.Sprint("local", i)
			person, account := h.visitor().signInAtService(name), h.visitor().account(name)
			if err := s.htpasswd.set(name, "another"); err != nil {
				h.failf("%v", err)
			}
			if !until(func() bool { return account.identity() == "" }) {
				h.failf("the session of the old password is still valid")
			}
			if got := person.identity(); got != name+" "+name+"@service.test" {
				h.failf("the person is %q", got)
			}
		}}, try{fmt.Sprintf("T32 a person leaves whose name differs by case, %d", i), func(h *client) {
			name := fmt.Sprint("case", i)
			person, account := h.visitor().signInAtService(strings.ToUpper(name)), h.visitor().account(name)
			s.nameService.remove(strings.ToUpper(name))
			if !until(func() bool { return person.identity() == "" }) || account.identity() != name+" " {
				h.failf("the account is %q", account.identity())
			}
		}})
	}
	return list
}

func oneUnionID(s *env) (list []try) {
	for i, id := range []string{"shared", "0", "null", "undefined", "-1", "corp", "dingcorp0123456789", "x"} {
		list = append(list, try{"T36 one unionid for two people: " + id, func(h *client) {
			one, two := fmt.Sprint("one", i), fmt.Sprint("two", i)
			s.nameService.setUnionID(one, id)
			s.nameService.setUnionID(two, id)
			first := h.visitor().signInAtService(one)
			second := h.visitor().signInAtService(two)
			if first.identity() == "" { // the session ends once, when the second person claims the unionid
				first = h.visitor().signInAtService(one)
			}
			for range 3 {
				for v, name := range map[*visitor]string{first: one, second: two} {
					if got := v.identity(); got != name+" "+name+"@service.test" {
						h.failf("%s is %q", name, got)
					}
				}
			}
		}})
	}
	return list
}

// redisWriters covers K19: another program writes to the Redis that stores the bindings.
func redisWriters(s *env) (list []try) {
	swap := `local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do redis.call('HSET', KEYS[1], all[i], all[(i + 3 > #all) and 2 or i + 3]) end`
	keys := func(r *realtool.Redis) []string { return strings.Fields(r.Do("KEYS", "*bindings*")) }
	for name, attack := range map[string]func(r *realtool.Redis, prefix, person string){
		"plain records, as earlier releases wrote them": func(r *realtool.Redis, prefix, person string) {
			r.Do("HSET", prefix+"{bindings}:people", person, "alice")
			r.Do("HSET", prefix+"{bindings}:accounts", "alice", person)
		},
		"every value in another place": func(r *realtool.Redis, _, _ string) {
			for _, key := range keys(r) {
				r.Do("EVAL", swap, "1", key)
			}
		},
		"the name in every place": func(r *realtool.Redis, _, _ string) {
			for _, key := range keys(r) {
				for _, field := range strings.Fields(r.Do("HKEYS", key)) {
					r.Do("HSET", key, field, "alice")
				}
			}
		},
		"plain records, after all others are deleted": func(r *realtool.Redis, prefix, person string) {
			for _, key := range keys(r) {
				r.Do("DEL", key)
			}
			r.Do("HSET", prefix+"{bindings}:people", person, "alice")
			r.Do("HSET", prefix+"{bindings}:sealed:people", person, "alice")
		},
	} {
		list = append(list, try{"K19 another program writes to Redis: " + name, func(h *client) {
			redis := realtool.StartRedis(s.t)
			defer redis.Kill()
			p := s.another(func(text string) string {
				text = strings.NewReplacer("recheck: 1h", "recheck: 1h, store: redis", "binding: optional",
					"binding: required").Replace(text)
				return text + fmt.Sprintf("redis: {url: %q}\n", redis.URL())
			})
			defer p.kill()
			csv := filepath.Join(s.t.TempDir(), "bindings.csv")
			write(s.t, csv, "unionid,username\n"+s.unionID("zhangsan")+",alice\n"+s.unionID("lisi")+",bob\n")
			if out, err := s.bindingsOf(p, "import", csv); err != nil {
				h.failf("%v: %s", err, out)
				return
			}
			prefix, _, _ := strings.Cut(keys(redis)[0], "{")
			signIn := func() string {
				v := h.visitor()
				v.to = p.addr
				state, _ := v.begin("/oauth2/start")
				v.do(request{session: true, failing: true, slow: true}, "GET",
					"/oauth2/callback?authCode="+v.code("lisi")+"&state="+url.QueryEscape(state))
				return v.identity()
			}
			if got := signIn(); !strings.HasPrefix(got, "bob ") {
				h.failf("before, lisi is %q", got)
			}
			attack(redis, prefix, s.unionID("lisi"))
			if got := signIn(); got != "" && !strings.HasPrefix(got, "bob ") {
				h.failf("afterwards, lisi is %q", got)
			}
		}})
	}
	return list
}
