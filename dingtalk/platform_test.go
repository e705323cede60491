package dingtalk_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/dingtalk"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/identity"
)

// env is our client with a simulated DingTalk.
type env struct {
	*simulator.Platform
	client *dingtalk.Client
	dir    *dingtalk.Directory
	web    *dingtalk.WebLogin
	silent *dingtalk.SilentLogin

	mu    sync.Mutex
	calls []dingtalk.Call
}

func newEnv(t *testing.T) *env {
	t.Helper()
	return newEnvOf(t, simulator.Demo())
}

func newEnvOf(t *testing.T, sim *simulator.Platform) *env {
	t.Helper()
	sim.AckWithin = 500 * time.Millisecond
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	t.Cleanup(sim.Close)
	return envAt(t, sim, server.URL)
}

func envAt(t *testing.T, sim *simulator.Platform, base string) *env {
	t.Helper()
	g := &env{Platform: sim}
	g.client = &dingtalk.Client{
		Config: dingtalk.Config{
			ClientID:     simulator.DemoClientID,
			ClientSecret: conf.NewSecret(simulator.DemoClientSecret),
			CorpID:       simulator.DemoCorpID,
			LoginURL:     base,
			APIURL:       base,
			OAPIURL:      base,
		},
		Timeout: 5 * time.Second,
		Observe: func(_ context.Context, c dingtalk.Call) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.calls = append(g.calls, c)
		},
	}
	t.Cleanup(g.client.CloseIdleConnections)
	g.dir = &dingtalk.Directory{Client: g.client, Ancestors: true}
	g.web = &dingtalk.WebLogin{Client: g.client, Directory: g.dir}
	g.silent = &dingtalk.SilentLogin{Client: g.client, Directory: g.dir}
	return g
}

// observed returns all calls so far. The call for the app's token continues after its
// caller has given up, so more calls may follow at any time.
func (g *env) observed() []dingtalk.Call {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.calls)
}

// results lists the results of one path.
func (g *env) results(path string) []string {
	var list []string
	for _, c := range g.observed() {
		if c.Name == path {
			list = append(list, c.Result)
		}
	}
	return list
}

// signIn makes the exchange of a browser sign-in.
func (g *env) signIn(t *testing.T, person string) (identity.User, identity.Token, error) {
	t.Helper()
	code, err := g.Code(simulator.Browser, "", person)
	if err != nil {
		t.Fatal(err)
	}
	return g.web.Exchange(context.Background(), code, "state")
}

func (g *env) unionID(t *testing.T, person string) string {
	t.Helper()
	who, ok := g.Who(person)
	if !ok {
		t.Fatalf("no %s", person)
	}
	return who.UnionID
}

// verdict returns class and code of err, as `refused not_member`; "" for none.
func verdict(err error) string {
	if err == nil {
		return ""
	}
	f, ok := errors.AsType[*identity.Failure](err)
	if !ok {
		return "no Failure: " + err.Error()
	}
	return [...]string{"internal", "refused", "restart", "operator", "later"}[f.Class] + " " + f.Code
}

// half reports an identity that is neither complete nor absent.
func half(u identity.User) bool {
	absent := fmt.Sprint(u) == fmt.Sprint(identity.User{})
	complete := u.UnionID != "" && u.UserID != "" && u.Username != ""
	return !absent && !complete
}

const (
	pathAppToken     = "/v1.0/oauth2/accessToken"
	pathUserToken    = "/v1.0/oauth2/userAccessToken"
	pathMe           = "/v1.0/contact/users/me"
	pathGetUserInfo  = "/topapi/v2/user/getuserinfo"
	pathGetByUnionID = "/topapi/user/getbyunionid"
	pathUserGet      = "/topapi/v2/user/get"
	pathParents      = "/topapi/v2/department/listparentbyuser"
)

func TestWebLogin(t *testing.T) {
	g := newEnv(t)
	u, token, err := g.signIn(t, "zhangsan")
	if err != nil {
		t.Fatal(err)
	}
	want := identity.User{
		UnionID:     g.unionID(t, "zhangsan"),
		UserID:      "zhangsan",
		Username:    "zhangsan",
		Name:        "张三",
		Email:       "zhangsan@yunfan.example",
		OrgEmail:    true,
		JobNumber:   "0004",
		Departments: []int64{4201},
		Ancestors:   []int64{1, 42, 4201},
		Roles:       []identity.Role{{ID: 100, Name: "主管"}},
	}
	if fmt.Sprint(u) != fmt.Sprint(want) {
		t.Errorf("Exchange = %v, want %v", u, want)
	}
	if left := time.Until(token.Expires); token.Access == "" || token.Refresh == "" || left < time.Hour ||
		left > 2*time.Hour {
		t.Errorf("Exchange token lives %v, want about 2h and both tokens", left)
	}
	for _, path := range []string{pathAppToken, pathUserToken, pathMe, pathGetByUnionID, pathUserGet, pathParents} {
		if n := g.Calls(path); n != 1 {
			t.Errorf("Calls(%s) = %d, want 1", path, n)
		}
	}
}

// TestWhoMayEnter tests threats K1, K2, K8, K9.
func TestWhoMayEnter(t *testing.T) {
	g := newEnv(t)
	for _, c := range []struct{ person, want string }{
		{"zhangsan", ""},
		{"lisi", ""},
		{"wangwu", ""},
		{"zhaoliu", ""},
		{"ouyang", ""},
		{"sunqi", "refused not_member"},
		{"zhouba", "refused external_contact"},
		{"wujiu", "refused inactive"},
		{"zhengshi", "refused disabled"},
	} {
		if c.person == "sunqi" {
			// the page requested no organisation: the token response has no corpId
			if _, err := g.dir.Person(t.Context(), g.unionID(t, "sunqi")); verdict(err) != c.want {
				t.Errorf("Person(%s) = %v, want %s", c.person, err, c.want)
			}
			continue
		}
		u, _, err := g.signIn(t, c.person)
		if verdict(err) != c.want || half(u) {
			t.Errorf("Exchange(%s) = %v, %v, want %s", c.person, u, err, c.want)
		}
	}
	u, _, _ := g.signIn(t, "lisi")
	if u.Email != "lisi@yunfan.example" {
		t.Errorf("e-mail of lisi = %q, want the directory's", u.Email)
	}
	if u, _, _ = g.signIn(t, "ouyang"); u.Email != "ouyang.xiu@yunfan.example" {
		t.Errorf("e-mail of ouyang = %q, want lower case", u.Email)
	}
	if u, _, _ = g.signIn(t, "wangwu"); u.Name != "王五" || u.Email != "" {
		t.Errorf("wangwu = %q %q, want 王五 without e-mail (nickname admin)", u.Name, u.Email)
	}
}

func TestSilentLogin(t *testing.T) {
	g := newEnv(t)
	for _, c := range []struct{ person, want string }{
		{"zhangsan", ""},
		{"zhouba", "refused external_contact"},
		{"wujiu", "refused inactive"},
		{"zhengshi", "refused disabled"},
	} {
		u, err := g.silent.Exchange(t.Context(), g.SilentCode(c.person))
		if verdict(err) != c.want || half(u) || c.want == "" && u.UserID != c.person {
			t.Errorf("silent Exchange(%s) = %v, %v, want %s", c.person, u, err, c.want)
		}
	}
}

// One exchange per kind of code; a code is sent once (threats K6, D6).
func TestCodes(t *testing.T) {
	g := newEnv(t)
	browser := func() string { code, _ := g.Code(simulator.Browser, "", "zhangsan"); return code }
	used := browser()
	if _, _, err := g.web.Exchange(t.Context(), used, ""); err != nil {
		t.Fatal(err)
	}
	old := browser()
	g.Advance(simulator.CodeLife + time.Second)
	for _, c := range []struct {
		name, code string
		calls      int
	}{
		{"used", used, 1}, {"old", old, 1}, {"garbage", "no-such-code", 1},
		{"empty", "", 0}, {"long", strings.Repeat("a", 1025), 0}, {"control", "a\nb", 0}, {"not ASCII", "码", 0},
	} {
		g.ResetCalls()
		if _, _, err := g.web.Exchange(t.Context(), c.code, ""); verdict(err) != "restart code_rejected" {
			t.Errorf("Exchange(%s) = %v, want restart code_rejected", c.name, err)
		}
		if n := g.Calls(pathUserToken); n != c.calls {
			t.Errorf("Exchange(%s) made %d calls, want %d", c.name, n, c.calls)
		}
		g.ResetCalls()
		if _, err := g.silent.Exchange(t.Context(), c.code); verdict(err) != "restart code_rejected" {
			t.Errorf("silent Exchange(%s) = %v, want restart code_rejected", c.name, err)
		}
		if n := g.Calls(pathGetUserInfo); n != c.calls {
			t.Errorf("silent Exchange(%s) made %d calls, want %d", c.name, n, c.calls)
		}
	}
	if _, err := g.silent.Exchange(t.Context(), browser()); verdict(err) != "restart code_rejected" {
		t.Errorf("silent Exchange(browser code) = %v, want restart code_rejected", err)
	}
	if _, _, err := g.web.Exchange(t.Context(), g.SilentCode("zhangsan"), ""); err == nil {
		t.Error("Exchange(silent code) signed a person in")
	}
}

func TestUsername(t *testing.T) {
	g := newEnv(t)
	for _, c := range []struct{ person, field, want string }{
		{"zhangsan", "", "zhangsan"}, {"zhangsan", "userid", "zhangsan"}, {"zhangsan", "job_number", "0004"},
		{"zhangsan", "email", "zhangsan@yunfan.example"},
		{"zhangsan", "email_localpart", "zhangsan"}, {"zhangsan", "name", "张三"},
		{"zhangsan", "unionid", g.unionID(t, "zhangsan")},
		{"ouyang", "userid", "ouyang-xiu_01.A@yunfan"},
		{"wangwu", "email", "refused no_username"}, {"wangwu", "email_localpart", "refused no_username"},
		{"wangwu", "job_number", "refused no_username"},
		{"zhangsan", "nick", "refused no_username"},
	} {
		dir := &dingtalk.Directory{Client: g.client, Username: c.field}
		u, err := dir.Person(t.Context(), g.unionID(t, c.person))
		if got := u.Username + verdict(err); got != c.want {
			t.Errorf("Person(%s).Username by %q = %q, want %q", c.person, c.field, got, c.want)
		}
	}
	if n := g.Calls(pathParents); n != 0 {
		t.Errorf("without Ancestors %d calls of listparentbyuser, want 0", n)
	}
}

// A person leaves, is disabled, moves, loses the userid (threats K7, K10, K12).
func TestRecheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*env) error
		want   string
	}{
		{"leaves", func(g *env) error { return g.Leave("zhangsan") }, "refused not_member"},
		{"disabled", func(g *env) error { return g.Disable("zhangsan") }, "refused disabled"},
		{"blocked", func(g *env) error {
			return g.Change("zhangsan", func(p *simulator.Person) { p.Blocked = true })
		}, "refused disabled"},
		{"becomes external",
			func(g *env) error { return g.Change("zhangsan", func(p *simulator.Person) { p.External = true }) },
			"refused external_contact"},
		{"userid reassigned", func(g *env) error {
			return g.Reassign("zhangsan", simulator.Person{ID: "other", Record: simulator.Record{Name: "另一个张三", Departments: []int64{1}}})
		}, "refused not_member"},
		{"out of scope",
			func(g *env) error { return g.ChangeApp("", func(a *simulator.App) { a.Scope = []int64{43} }) },
			"refused out_of_scope"},
		{"moves", func(g *env) error { return g.Move("zhangsan", 43) }, ""},
	} {
		g := newEnv(t)
		id := g.unionID(t, "zhangsan")
		if err := c.change(g); err != nil {
			t.Fatal(err)
		}
		u, err := g.dir.Person(t.Context(), id)
		if verdict(err) != c.want || half(u) {
			t.Errorf("Person after %s = %v, %v, want %s", c.name, u, err, c.want)
		}
		if c.name == "moves" && fmt.Sprint(u.Ancestors) != "[1 43]" {
			t.Errorf("Ancestors after %s = %v, want [1 43]", c.name, u.Ancestors)
		}
	}
}

func TestHints(t *testing.T) {
	for _, c := range []struct {
		change func(*simulator.App)
		want   string
		hint   string
	}{
		{func(a *simulator.App) { a.Missing = []string{"Contact.User.Read"} }, "operator permission_missing",
			"通讯录个人信息读权限 Contact.User.Read — 开发者后台 > 权限管理"},
		{func(a *simulator.App) { a.Missing = []string{"qyapi_get_member"} }, "operator permission_missing",
			"成员信息读权限 qyapi_get_member — 开发者后台 > 权限管理"},
		{func(a *simulator.App) { a.Addresses = []string{"192.0.2.1"} }, "operator ip_not_allowed", "出口 IP 127.0.0.1"},
		{func(a *simulator.App) { a.ClientSecret = "changed" }, "operator credentials_wrong", "凭证与基础信息"},
		{func(a *simulator.App) { a.Missing = []string{"qyapi_get_department_list"} }, "", ""},
	} {
		g := newEnv(t)
		code, _ := g.Code(simulator.Browser, "", "zhangsan")
		if err := g.ChangeApp("", c.change); err != nil {
			t.Fatal(err)
		}
		u, _, err := g.web.Exchange(t.Context(), code, "")
		f, _ := errors.AsType[*identity.Failure](err)
		if verdict(err) != c.want || f != nil && !strings.Contains(f.Hint, c.hint) {
			t.Errorf("Exchange = %v, %v, want %s with hint %s", u, err, c.want, c.hint)
		}
		if err == nil && (u.Ancestors != nil || len(u.Departments) != 1) {
			t.Errorf("Ancestors without the permission = %v, want nil", u.Ancestors)
		}
	}
}

func TestAuthURL(t *testing.T) {
	l := &dingtalk.WebLogin{Client: &dingtalk.Client{Config: dingtalk.Config{ClientID: "dingabc", CorpID: "dingcorp"}}}
	got := l.AuthURL("https://app.example.com/oauth2/callback", "s+/= &x")
	want := "https://login.dingtalk.com/oauth2/auth?redirect_uri=https%3A%2F%2Fapp.example.com%2Foauth2%2Fcallback&" +
		"response_type=code&client_id=dingabc" +
		"&scope=openid%20corpid&corpId=dingcorp&prompt=consent&state=s%2B%2F%3D%20%26x"
	if got != want {
		t.Errorf("AuthURL = %s, want %s", got, want)
	}
	u, err := url.Parse(got)
	if err != nil || u.Query().Get("state") != "s+/= &x" {
		t.Errorf("state of AuthURL = %q, want it back", u.Query().Get("state"))
	}
}
