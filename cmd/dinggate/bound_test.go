package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/realtool"
	"dinggate/session"
)

// TestNamesThatLookLikeAnAccount: where binding is optional, nobody gets in under
// a name that can be taken for an account's (threats T35), be that one of the
// file or one that is only bound.
func TestNamesThatLookLikeAnAccount(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	htpasswd(t, file, "alice")
	h := newTestEnv(t, func(c *config.Config) {
		c.Accounts.HtpasswdFile, c.Accounts.Binding = file, account.Optional
		c.DingTalk.Username = "name"
	})
	if err := h.stores.Bindings.Add(t.Context(), account.Binding{
		UnionID:  "somebody else",
		Username: "bob",
	}); err == nil {
		t.Fatal("a unionid with blanks is bound")
	}
	if err := h.stores.Bindings.Add(t.Context(), account.Binding{
		UnionID:  "somebody-else",
		Username: "bob",
	}); err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		name string
		in   bool
	}{
		{"alice", false}, {"Alice", false}, {"ALICE", false}, {"ａｌｉｃｅ", false}, {"аlice", false}, {"alісе", false},
		{"al\u200bice", false}, {"\ufeffalice", false}, {"alice\u00ad", false}, {"aIice", false}, {"a1ice", false},
		{"𝒂𝒍𝒊𝒄𝒆", false}, {"ⓐlice", false}, {"alıce", false}, {"ALİCE", false},
		{"bob", false}, {"Bob", false}, {"bоb", false}, {"b0b", false}, {"ｂｏｂ", false},
		{"alicia", true}, {"bobby", true}, {"爱丽丝", true},
	} {
		id := fmt.Sprint("person", i)
		if err := h.platform.Join(simulator.Person{
			ID:          id,
			UserID:      id,
			Name:        tt.name,
			Nick:        tt.name,
			Departments: []int64{42},
		}); err != nil {
			t.Fatal(err)
		}
		v := h.visitor()
		a := v.signIn(h.base+"/oauth2/start?rd=%2F", id)
		if in := sessionOf(a) != ""; in != tt.in || !in && a.StatusCode != 403 {
			t.Errorf("%q (%+q) gets in: %v, %d; want %v", tt.name, tt.name, in, a.StatusCode, tt.in)
		}
	}
}

// TestSomebodyElseWritesToRedis: another tenant of the Redis can take bindings
// away, and never make somebody the account of another (threats K19).
func TestSomebodyElseWritesToRedis(t *testing.T) {
	redis := realtool.StartRedis(t)
	file := filepath.Join(t.TempDir(), "htpasswd")
	htpasswd(t, file, "admin", "ls")
	h := newTestEnv(t, func(c *config.Config) {
		c.Accounts.HtpasswdFile, c.Accounts.Binding = file, account.Required
		c.Session.Store, c.Redis.URL = session.StoreRedis, conf.NewSecret(redis.URL())
	})
	unionID := map[string]string{}
	enters := func(who, account string) string {
		t.Helper()
		v := h.visitor()
		a := v.signIn(h.base+"/oauth2/start?rd=%2F", who)
		if link := linkAddress.FindStringSubmatch(a.body); link != nil && account != "" {
			a = v.password(h.base+link[1], account, "pw-"+account)
		}
		if sessionOf(a) == "" {
			return ""
		}
		v.get(h.base + "/")
		return h.app.last(t).Header.Get("X-Forwarded-User")
	}
	for who, name := range map[string]string{"zhangsan": "admin", "lisi": "ls"} {
		if got := enters(who, name); got != name {
			t.Fatalf("%s binds %s and is %q", who, name, got)
		}
		if got := enters(who, ""); got != name {
			t.Fatalf("%s, bound to %s, is %q", who, name, got)
		}
		b, err := h.stores.Bindings.Find(t.Context(), account.Binding{Username: name})
		if err != nil {
			t.Fatal(err)
		}
		unionID[who] = b.UnionID
	}
	dump := func() string { return redis.Do("KEYS", "*bindings*") }
	prefix, _, _ := strings.Cut(strings.Fields(dump())[0], "{")
	for _, attack := range []struct {
		what string
		do   func()
	}{
		{"as an older release kept them", func() {
			redis.Do("HSET", prefix+"{bindings}:people", unionID["lisi"], "admin")
			redis.Do("HSET", prefix+"{bindings}:accounts", "admin", unionID["lisi"])
		}},
		{"every value in every other place", func() {
			for _, key := range strings.Fields(dump()) {
				redis.Do("EVAL", `local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do redis.call('HSET', KEYS[1], all[i], all[(i + 3 > #all) and 2 or i + 3]) end`, "1", key)
			}
		}},
		{"the words themselves", func() {
			for _, key := range strings.Fields(dump()) {
				for _, field := range strings.Fields(redis.Do("HKEYS", key)) {
					redis.Do("HSET", key, field, "admin")
				}
			}
		}},
		{"nothing", func() { redis.Do("DEL", strings.Fields(dump())[0]) }},
	} {
		attack.do()
		if got := enters("lisi", ""); got != "" && got != "ls" {
			t.Errorf("with %s in Redis, lisi is %q", attack.what, got)
		}
	}
}

// TestBindingsOfAnOlderRelease: in Redis they count for nothing until somebody has
// looked them through and imported them again.
func TestBindingsOfAnOlderRelease(t *testing.T) {
	redis := realtool.StartRedis(t)
	f := newFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL(),
		"DINGGATE_ACCOUNTS_BINDING=required", "DINGGATE_DINGTALK_EVENTS=false", "LC_ALL=C")
	people := idsOf(t, f.platform)
	redis.Do("HSET", "dinggate:{bindings}:people", people["zhangsan"], "zs")
	redis.Do("HSET", "dinggate:{bindings}:accounts", "zs", people["zhangsan"])
	command := func(in string, args ...string) (string, error) {
		return bindingsIn(t, f.env, in, args...)
	}
	a, b := f.replica(), f.replica()
	is := func(p *program) string {
		c := f.caller(p)
		if reply := c.signIn(fleetURL+"/", "zhangsan"); sessionOf(reply) == "" {
			return fmt.Sprint(reply.StatusCode)
		}
		c.page(p)
		return f.app.last(t).Header.Get("X-Forwarded-User")
	}
	if got := is(a); got != "503" {
		t.Errorf("with a binding of an older release zhangsan is %q, want to be refused", got)
	}
	eventually(t,
		"the log says so", func() bool { return strings.Contains(a.log.String(), "not sealed and count for nothing") })
	list, err := command("", "list")
	if err != nil || !strings.HasPrefix(list, "unionid,username\n") ||
		!strings.HasSuffix(list, "\n"+people["zhangsan"]+",zs\n") || !strings.Contains(list, "count for nothing") {
		t.Fatalf("list = %q, %v", list, err)
	}
	if out, err := command("unionid,username\n"+people["zhangsan"]+",zs\n", "import", "-"); err != nil {
		t.Fatalf("import = %q, %v", out, err)
	}
	if list, err := command("", "list"); err != nil || list != "unionid,username\n"+people["zhangsan"]+",zs\n" {
		t.Errorf("after the import list = %q, %v", list, err)
	}
	for _, p := range []*program{a, b} {
		if got := is(p); got != "zs" {
			t.Errorf("after the import zhangsan is %q, want zs", got)
		}
	}
	if out := redis.Do("KEYS", "*bindings}:people"); strings.TrimSpace(out) != "" && !strings.Contains(out, "sealed") {
		t.Errorf("left in Redis: %q", out)
	}
}

// TestSecretOfBindingsChanges: bindings outlive the rotation of cookie.secrets, in
// a reload too: all are sealed under the first before the old one goes.
func TestSecretOfBindingsChanges(t *testing.T) {
	dir := t.TempDir()
	s := newSite(t, "upstream: http://127.0.0.1:9\nstate_dir: "+dir+"\naccounts: {binding: required}\n")
	list := func() string {
		out, err := bindingsIn(t, nil, "", "list", "--config", s.file)
		if err != nil {
			out += err.Error()
		}
		return out
	}
	waitFor(t, "the control socket", func() bool {
		_, err := os.Stat(filepath.Join(dir, admin.ControlName))
		return err == nil
	})
	if out, err := bindingsIn(t, nil, "unionid,username\nU1,zs\n", "import", "-", "--config", s.file); err != nil {
		t.Fatalf("import = %q, %v", out, err)
	}
	const want = "unionid,username\nU1,zs\n"
	text, err := os.ReadFile(s.secret)
	if err != nil {
		t.Fatal(err)
	}
	old := strings.TrimSpace(string(text))
	next := newSecret()
	for _, secrets := range []string{"NEW\n" + old, "NEW"} {
		secrets = strings.ReplaceAll(secrets, "NEW", next)
		before := s.reloads()
		s.write(t, "secrets", secrets+"\n")
		eventually(t, "a reload", func() bool { return s.reloads() > before })
		if strings.Contains(secrets, "\n") {
			eventually(t,
				"the log's word on it", func() bool {
					return strings.Contains(s.log.String(), "sealed under the first of cookie.secrets now")
				})
		}
		if got := list(); got != want {
			t.Errorf("under %d secrets list = %q, want %q", strings.Count(secrets, "\n")+1, got, want)
		}
	}
}

// bindingsIn runs `dinggate bindings` with this environment.
func bindingsIn(t *testing.T, env []string, in string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(binary(t), append([]string{"bindings"}, args...)...)
	cmd.Env = append(append(os.Environ(), env...), "LC_ALL=C")
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// idsOf are everybody's, by their names in the simulator.
func idsOf(t *testing.T, p *simulator.Platform) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest("GET", "/_simulator/people", nil))
	var people []simulator.Person
	if err := json.Unmarshal(w.Body.Bytes(), &people); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, one := range people {
		all[one.ID] = one.UnionID
	}
	return all
}
