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

// peopleService is an SSO service at which a code is the name of the person that
// it belongs to, with a unionid that a try chooses.
type peopleService struct {
	mu       sync.Mutex
	base     string
	unionIDs map[string]string // by username; "": none is told
	gone     map[string]bool
}

func newPeopleService(t *testing.T) *peopleService {
	s := &peopleService{unionIDs: map[string]string{}, gone: map[string]bool{}}
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

func (s *peopleService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
		if !ok || s.gone[name] {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"username":%q,"email":%q,"unionid":%q}`, name, name+"@service.test", s.unionIDs[name])
	default:
		http.NotFound(w, r)
	}
}

func (s *peopleService) tells(name, unionID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unionIDs[name] = unionID
}

func (s *peopleService) leaves(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone[name] = true
}

// openService starts the site whose people come from a service, beside local
// accounts of the same names.
func openService(t *testing.T) *env {
	dir, service := t.TempDir(), newPeopleService(t)
	file := &peopleFile{
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
	s.excused = []string{"which is soon guessed", "The configuration has no mistakes, but", "gives one unionid"}
	return s
}

// atService signs somebody in by the service.
func (v *visitor) atService(name string) *visitor {
	a := v.ask(request{}, "GET", "/oauth2/start?rd=%2F")
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
	if a = v.ask(request{session: true, slow: true}, "GET",
		back.RequestURI()+"&code="+url.QueryEscape(name)+"&state=s"); a.status != 302 || v.value(sessionCookie) == "" {
		v.h.failf("%s did not get a session: %v", name, a)
	}
	return v
}

// is what the application sees of a visitor, "" when it sees nothing.
func (v *visitor) is() string {
	before := len(v.h.env.up.of(v.h.id))
	a := v.ask(request{right: true, slow: true, cleared: true, session: true}, "GET", "/page")
	if seen := v.h.env.up.of(v.h.id); a.status == 200 && len(seen) == before+1 {
		return seen[before].value("X-Forwarded-User") + " " + seen[before].value("X-Forwarded-Email")
	}
	return ""
}

// sharedNames are T32 and T36: who is who at a dinggate behind a service.
func sharedNames(s *env) []try { return slices.Concat(twoOfAName(s), oneUnionID(s)) }

func twoOfAName(s *env) (list []try) {
	for i := range 4 {
		list = append(list, try{fmt.Sprintf("T32 a person leaves, whose name an account has, %d", i), func(h *client) {
			name := fmt.Sprint("leaver", i)
			person, account := h.visitor().atService(name), h.visitor().account(name)
			if got := person.is(); got != name+" "+name+"@service.test" {
				h.failf("the person is %q", got)
			}
			if got := account.is(); got != name+" " {
				h.failf("the account is %q", got)
			}
			s.nameService.leaves(name)
			if !until(func() bool { return account.is() != "" && person.is() == "" }) {
				h.failf("the person who left lives on the account")
			}
			if got := account.is(); got != name+" " {
				h.failf("the account of a person who left is %q", got)
			}
		}}, try{fmt.Sprintf("T32 the password of an account changes, whose name a person has, %d", i), func(h *client) {
			name := fmt.Sprint("local", i)
			person, account := h.visitor().atService(name), h.visitor().account(name)
			if err := s.htpasswd.set(name, "another"); err != nil {
				h.failf("%v", err)
			}
			if !until(func() bool { return account.is() == "" }) {
				h.failf("the account lives on its old password")
			}
			if got := person.is(); got != name+" "+name+"@service.test" {
				h.failf("the person is %q", got)
			}
		}}, try{fmt.Sprintf("T32 a person leaves whose name differs by case, %d", i), func(h *client) {
			name := fmt.Sprint("case", i)
			person, account := h.visitor().atService(strings.ToUpper(name)), h.visitor().account(name)
			s.nameService.leaves(strings.ToUpper(name))
			if !until(func() bool { return person.is() == "" }) || account.is() != name+" " {
				h.failf("the account is %q", account.is())
			}
		}})
	}
	return list
}

func oneUnionID(s *env) (list []try) {
	for i, id := range []string{"everybodys", "0", "null", "undefined", "-1", "corp", "dingcorp0123456789", "x"} {
		list = append(list, try{"T36 one unionid for two people: " + id, func(h *client) {
			one, two := fmt.Sprint("one", i), fmt.Sprint("two", i)
			s.nameService.tells(one, id)
			s.nameService.tells(two, id)
			first := h.visitor().atService(one)
			second := h.visitor().atService(two)
			if first.is() == "" { // it ends once, when the second claims their unionid
				first = h.visitor().atService(one)
			}
			for range 3 {
				for v, name := range map[*visitor]string{first: one, second: two} {
					if got := v.is(); got != name+" "+name+"@service.test" {
						h.failf("%s is %q", name, got)
					}
				}
			}
		}})
	}
	return list
}

// writers are K19: somebody else writes to the Redis that keeps the bindings.
func writers(s *env) (list []try) {
	swap := `local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do redis.call('HSET', KEYS[1], all[i], all[(i + 3 > #all) and 2 or i + 3]) end`
	keys := func(r *realtool.Redis) []string { return strings.Fields(r.Do("KEYS", "*bindings*")) }
	for name, attack := range map[string]func(r *realtool.Redis, prefix, person string){
		"plain ones, as earlier releases had": func(r *realtool.Redis, prefix, person string) {
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
		"plain ones, after all others are gone": func(r *realtool.Redis, prefix, person string) {
			for _, key := range keys(r) {
				r.Do("DEL", key)
			}
			r.Do("HSET", prefix+"{bindings}:people", person, "alice")
			r.Do("HSET", prefix+"{bindings}:sealed:people", person, "alice")
		},
	} {
		list = append(list, try{"K19 somebody writes to Redis: " + name, func(h *client) {
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
			enters := func() string {
				v := h.visitor()
				v.to = p.gate
				state, _ := v.begin("/oauth2/start")
				v.ask(request{session: true, failing: true, slow: true}, "GET",
					"/oauth2/callback?authCode="+v.code("lisi")+"&state="+url.QueryEscape(state))
				return v.is()
			}
			if got := enters(); !strings.HasPrefix(got, "bob ") {
				h.failf("before, lisi is %q", got)
			}
			attack(redis, prefix, s.unionID("lisi"))
			if got := enters(); got != "" && !strings.HasPrefix(got, "bob ") {
				h.failf("afterwards, lisi is %q", got)
			}
		}})
	}
	return list
}
