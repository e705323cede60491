package signin

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/realtool"
	"dinggate/session"
)

// TestNamesThatLookLikeAnAccount checks that with optional binding no person signs in
// under a name that resembles an account's name (threats T35), for accounts of the file
// and for accounts that are only bound.
func TestNamesThatLookLikeAnAccount(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "alice")
	h := servertest.New(t, func(c *config.Config) {
		c.Accounts.HtpasswdFile, c.Accounts.Binding = file, account.Optional
		c.DingTalk.Username = "name"
	})
	if err := h.Stores.Bindings.Add(t.Context(), account.Binding{
		UnionID:  "with a blank",
		Username: "bob",
	}); err == nil {
		t.Fatal("a unionid with blanks is bound")
	}
	if err := h.Stores.Bindings.Add(t.Context(), account.Binding{
		UnionID:  "another-user",
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
		if err := h.Platform.Join(simulator.Person{
			ID:      id,
			Account: simulator.Account{Nick: tt.name},
			Record:  simulator.Record{UserID: id, Name: tt.name, Departments: []int64{42}},
		}); err != nil {
			t.Fatal(err)
		}
		v := h.NewClient()
		a := v.SignIn(h.URL+"/oauth2/start?rd=%2F", id)
		if in := servertest.SessionOf(a) != ""; in != tt.in || !in && a.StatusCode != 403 {
			t.Errorf("%q (%+q) signs in: %v, %d; want %v", tt.name, tt.name, in, a.StatusCode, tt.in)
		}
	}
}

// TestAnotherTenantWritesToRedis: another tenant of the Redis can remove bindings, and can
// never bind a person to another person's account (threats K19).
func TestAnotherTenantWritesToRedis(t *testing.T) {
	redis := realtool.StartRedis(t)
	file := filepath.Join(t.TempDir(), "htpasswd")
	servertest.WriteHtpasswd(t, file, "admin", "ls")
	h := servertest.New(t, func(c *config.Config) {
		c.Accounts.HtpasswdFile, c.Accounts.Binding = file, account.Required
		c.Session.Store, c.Redis.URL = session.StoreRedis, conf.NewSecret(redis.URL())
	})
	unionID := map[string]string{}
	signIn := func(who, account string) string {
		t.Helper()
		v := h.NewClient()
		a := v.SignIn(h.URL+"/oauth2/start?rd=%2F", who)
		if link := servertest.LinkAddress.FindStringSubmatch(a.Text); link != nil && account != "" {
			a = v.SubmitPassword(h.URL+link[1], account, "pw-"+account)
		}
		if servertest.SessionOf(a) == "" {
			return ""
		}
		v.Get(h.URL + "/")
		return h.Upstream.Last(t).Header.Get("X-Forwarded-User")
	}
	for who, name := range map[string]string{"zhangsan": "admin", "lisi": "ls"} {
		if got := signIn(who, name); got != name {
			t.Fatalf("%s binds %s and is %q", who, name, got)
		}
		if got := signIn(who, ""); got != name {
			t.Fatalf("%s, bound to %s, is %q", who, name, got)
		}
		b, err := h.Stores.Bindings.Find(t.Context(), account.Binding{Username: name})
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
		{"as an older release stored them", func() {
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
		if got := signIn("lisi", ""); got != "" && got != "ls" {
			t.Errorf("with %s in Redis, lisi is %q", attack.what, got)
		}
	}
}

// TestBindingsOfAnOlderRelease checks that such bindings in Redis have no effect until an
// administrator has reviewed and imported them again.
func TestBindingsOfAnOlderRelease(t *testing.T) {
	redis := realtool.StartRedis(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL(),
		"DINGGATE_ACCOUNTS_BINDING=required", "DINGGATE_DINGTALK_EVENTS=false", "LC_ALL=C")
	people := idsOf(t, f.Platform)
	redis.Do("HSET", "dinggate:{bindings}:people", people["zhangsan"], "zs")
	redis.Do("HSET", "dinggate:{bindings}:accounts", "zs", people["zhangsan"])
	command := func(in string, args ...string) (string, error) {
		return servertest.RunProgram(t, f.Environ, in, append([]string{"bindings"}, args...)...)
	}
	a, b := f.Replica(), f.Replica()
	is := func(p *servertest.Program) string {
		c := f.NewClient(p)
		if reply := c.SignIn(servertest.FleetURL+"/", "zhangsan"); servertest.SessionOf(reply) == "" {
			return fmt.Sprint(reply.StatusCode)
		}
		c.Page(p)
		return f.Upstream.Last(t).Header.Get("X-Forwarded-User")
	}
	if got := is(a); got != "503" {
		t.Errorf("with a binding of an older release zhangsan is %q, want to be refused", got)
	}
	servertest.Eventually(t,
		"the log says so", func() bool { return strings.Contains(a.Log.String(), "not sealed and have no effect") })
	list, err := command("", "list")
	if err != nil || !strings.HasPrefix(list, "unionid,username\n") ||
		!strings.HasSuffix(list, "\n"+people["zhangsan"]+",zs\n") || !strings.Contains(list, "have no effect") {
		t.Fatalf("list = %q, %v", list, err)
	}
	if out, err := command("unionid,username\n"+people["zhangsan"]+",zs\n", "import", "-"); err != nil {
		t.Fatalf("import = %q, %v", out, err)
	}
	if list, err := command("", "list"); err != nil || list != "unionid,username\n"+people["zhangsan"]+",zs\n" {
		t.Errorf("after the import list = %q, %v", list, err)
	}
	for _, p := range []*servertest.Program{a, b} {
		if got := is(p); got != "zs" {
			t.Errorf("after the import zhangsan is %q, want zs", got)
		}
	}
	if out := redis.Do("KEYS", "*bindings}:people"); strings.TrimSpace(out) != "" && !strings.Contains(out, "sealed") {
		t.Errorf("left in Redis: %q", out)
	}
}

// TestSecretOfBindingsChanges checks that bindings survive the rotation of cookie.secrets,
// also in a reload: all are sealed with the first secret before the old one is removed.
func TestSecretOfBindingsChanges(t *testing.T) {
	dir := t.TempDir()
	s := servertest.NewFileEnv(t, "upstream: http://127.0.0.1:9\nstate_dir: "+dir+"\naccounts: {binding: required}\n")
	list := func() string {
		out, err := servertest.RunProgram(t, nil, "", "bindings", "list", "--config", s.File)
		if err != nil {
			out += err.Error()
		}
		return out
	}
	servertest.Eventually(t, "the control socket", func() bool {
		_, err := os.Stat(filepath.Join(dir, admin.ControlName))
		return err == nil
	})
	if out, err := servertest.RunProgram(t, nil, "unionid,username\nU1,zs\n", "bindings", "import", "-", "--config", s.File); err != nil {
		t.Fatalf("import = %q, %v", out, err)
	}
	const want = "unionid,username\nU1,zs\n"
	text, err := os.ReadFile(s.Secret)
	if err != nil {
		t.Fatal(err)
	}
	old := strings.TrimSpace(string(text))
	next := config.NewSecret()
	for _, secrets := range []string{"NEW\n" + old, "NEW"} {
		secrets = strings.ReplaceAll(secrets, "NEW", next)
		before := s.Reloads()
		s.Write(t, "secrets", secrets+"\n")
		servertest.Eventually(t, "a reload", func() bool { return s.Reloads() > before })
		if strings.Contains(secrets, "\n") {
			servertest.Eventually(t,
				"the log's word on it", func() bool {
					return strings.Contains(s.Log.String(), "sealed with the first of cookie.secrets")
				})
		}
		if got := list(); got != want {
			t.Errorf("under %d secrets list = %q, want %q", strings.Count(secrets, "\n")+1, got, want)
		}
	}
}

// idsOf returns the ids of all people, by their names in the simulator.
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
