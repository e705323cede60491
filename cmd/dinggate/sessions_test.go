package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
	"dinggate/session"

	"github.com/alicebob/miniredis/v2"
)

// TestSessionsWithoutValidFile checks that the command calls the process that serves
// although the file has a mistake. If no process answers, the mistakes are reported.
func TestSessionsWithoutValidFile(t *testing.T) {
	h := servertest.New(t, nil)
	sessions := func() *session.Manager { return h.Gateway.Sessions }
	socket := serveControl(t, &admin.Control{Sessions: sessions, Log: h.Kit.Log,
		Ends: &admin.SessionStore{Sessions: sessions, Note: h.Kit.Note}})
	v := h.NewClient()
	v.SignIn(h.URL+"/a", "zhangsan")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a mistake": "no_such_key: 1\n", "no YAML": "routes: [\n", "no file": "",
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if text != "" {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, errs, code := servertest.RunControlApart(t, socket, "sessions", "list", "--config", file)
		if code != 0 || !strings.Contains(out, "zhangsan") || !strings.Contains(errs, "the configuration has mistakes") ||
			!strings.Contains(errs, socket) {
			t.Errorf("%s: list = %d %q %q, want the list and a warning", name, code, out, errs)
		}
		out, errs, code = servertest.RunControlApart(t, filepath.Join(dir, "none"), "sessions", "list", "--config", file)
		if code != 1 || out != "" || !strings.Contains(errs, file) || strings.Contains(errs, "all the same") {
			t.Errorf("%s, without a process: list = %d %q %q, want the mistakes", name, code, out, errs)
		}
	}
	if _, errs, code := servertest.RunControlApart(t, socket, "sessions", "list", "--no-such-flag"); code != 2 {
		t.Errorf("a wrong flag = %d %q, want 2", code, errs)
	}
	file := filepath.Join(dir, "a-mistake")
	if out, _, code := servertest.RunControlApart(t, socket, "sessions", "end", "zhangsan", "--config", file); code != 0 ||
		!strings.Contains(out, "All sessions of zhangsan have ended") {
		t.Errorf("end = %d %q", code, out)
	}
	if a := v.Get(h.URL + "/a"); a.StatusCode != 302 {
		t.Errorf("a page of a user who is signed out = %d, want 302", a.StatusCode)
	}
}

// serveControl serves a control socket until the test ends.
func serveControl(t *testing.T, c *admin.Control) (socket string) {
	t.Helper()
	c.Path = filepath.Join(t.TempDir(), "c.sock")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		admin.ServeControl(ctx, c)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	servertest.Eventually(t, "the control socket", func() bool { _, err := os.Stat(c.Path); return err == nil })
	return c.Path
}

// TestSessionsCommand checks that sessions are listed, and ended by name and by id. The
// audit record contains the administrator and the reason.
func TestSessionsCommand(t *testing.T) {
	h := servertest.New(t, nil)
	sessions := func() *session.Manager { return h.Gateway.Sessions }
	socket := serveControl(t, &admin.Control{Sessions: sessions, Log: h.Kit.Log,
		Ends: &admin.SessionStore{Sessions: sessions, Note: h.Kit.Note}})

	one, two, other := h.NewClient(), h.NewClient(), h.NewClient()
	one.SignIn(h.URL+"/a", "zhangsan")
	two.SignIn(h.URL+"/a", "zhangsan")
	other.SignIn(h.URL+"/a", "lisi")
	out, err := servertest.RunControl(t, socket, "sessions", "list", "--json")
	var list admin.SessionList
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list.Sessions) != 3 {
		t.Fatalf("list --json = %s, %v, want 3 sessions", out, err)
	}
	id := ""
	for _, s := range list.Sessions {
		if s.User == "lisi" && s.Name == "李四" && !s.SignedIn.IsZero() && s.Ends.After(s.SignedIn) {
			id = s.ID
		}
	}
	if out, err = servertest.RunControl(t, socket, "sessions", "list", "--user", "zhangsan"); err != nil ||
		strings.Count(out, "张三") != 2 || strings.Contains(out, "lisi") ||
		!strings.Contains(out, "2 sessions, seen by this process since") {
		t.Errorf("list --user = %s, %v", out, err)
	}
	if out, err = servertest.RunControl(t, socket, "sessions", "end", "zhangsan", "--reason", "lost phone"); err != nil ||
		!strings.Contains(out, "All sessions of zhangsan have ended; 2 of them were listed.") {
		t.Errorf("end = %q, %v", out, err)
	}
	for _, v := range []*servertest.Client{one, two} {
		if a := v.Get(h.URL + "/a"); a.StatusCode != 302 {
			t.Errorf("a page of a user who is signed out = %d, want 302", a.StatusCode)
		}
	}
	if a := other.Get(h.URL + "/a"); a.StatusCode != 200 {
		t.Errorf("a page of another person = %d, want 200", a.StatusCode)
	}
	if out, err = servertest.RunControl(t, socket, "sessions", "end", id); err != nil || !strings.Contains(out, "The session "+id) {
		t.Errorf("end of one = %q, %v", out, err)
	}
	if a := other.Get(h.URL + "/a"); a.StatusCode != 302 {
		t.Errorf("a page of the session that ended = %d, want 302", a.StatusCode)
	}
	if out, err = servertest.RunControl(t, socket, "sessions", "end", "wangwu"); err == nil ||
		!strings.Contains(out, "no session of wangwu was found") {
		t.Errorf("end of an unknown user = %q, %v, want exit code 1", out, err)
	}
	record := regexp.MustCompile(`"audit":"sessions_ended","by":"dinggate sessions","reason":"lost phone","who":"zhangsan","count":2`)
	servertest.Eventually(t, "the record", func() bool { return record.MatchString(h.Log.String()) })
	if out, err := servertest.RunControl(t, filepath.Join(t.TempDir(), "none"), "sessions", "list"); err == nil ||
		!strings.Contains(out, "no process answers at") {
		t.Errorf("without a process = %q, %v", out, err)
	}
}

// TestSessionsEndWithoutStore checks that without Redis the sessions end in this process
// only, and that the command reports this, not just a failure.
func TestSessionsEndWithoutStore(t *testing.T) {
	redis := miniredis.RunT(t)
	h := servertest.New(t, func(cfg *config.Config) {
		cfg.Session.Store, cfg.Redis.URL = "redis", conf.NewSecret("redis://"+redis.Addr())
	})
	sessions := func() *session.Manager { return h.Gateway.Sessions }
	socket := serveControl(t, &admin.Control{Sessions: sessions, Log: h.Kit.Log,
		Ends: &admin.SessionStore{Sessions: sessions, Note: h.Kit.Note}})
	v := h.NewClient()
	v.SignIn(h.URL+"/a", "zhangsan")
	for _, flags := range []string{"", "--json"} {
		out, errs, code := servertest.RunControlApart(t, socket, strings.Fields("sessions list "+flags)...)
		if code != 0 || errs != "" || !strings.Contains(out, "zhangsan") {
			t.Errorf("list %s = %d %q %q", flags, code, out, errs)
		}
	}
	redis.SetError("LOADING Redis is loading the dataset in memory")
	for _, flags := range []string{"", "--json"} {
		out, errs, code := servertest.RunControlApart(t, socket, strings.Fields("sessions list "+flags)...)
		if code != 1 || !strings.Contains(errs, "the list is INCOMPLETE: session index: reading") || !strings.Contains(out, "zhangsan") {
			t.Errorf("list %s while Redis is away = %d %q %q, want what is known and exit code 1", flags, code, out, errs)
		}
		if strings.Contains(out, "on all replicas") || flags == "" && !strings.Contains(out, "incomplete") {
			t.Errorf("list %s while Redis is away = %q, want that stdout itself says that it is incomplete", flags, out)
		}
	}
	out, err := servertest.RunControl(t, socket, "sessions", "end", "zhangsan")
	if err == nil || !strings.Contains(out, "in this process only") || !strings.Contains(out, "Run the command again") {
		t.Errorf("end while Redis is away = %q, %v", out, err)
	}
	if a := v.Get(h.URL + "/a"); a.StatusCode == 200 {
		t.Errorf("a page of a user who is signed out = %d", a.StatusCode)
	}
}

// TestOwnSessionsPage checks that people end their own sessions over HTTP, and no other
// person's.
func TestOwnSessionsPage(t *testing.T) {
	h := servertest.New(t, nil)
	one, two, other := h.NewClient(), h.NewClient(), h.NewClient()
	one.SignIn(h.URL+"/a", "zhangsan")
	two.SignIn(h.URL+"/a", "zhangsan")
	other.SignIn(h.URL+"/a", "lisi")
	page := h.URL + "/oauth2/sessions"
	var list struct {
		Sessions []struct {
			Current bool
			End     string
		}
	}
	if a := one.Get(page, "Accept: application/json"); a.StatusCode != 200 || json.Unmarshal([]byte(a.Text), &list) != nil ||
		len(list.Sessions) != 2 || !list.Sessions[0].Current {
		t.Fatalf("sessions = %d %s", a.StatusCode, a.Text)
	}
	const form, ours = "Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin"
	ends := "session=" + list.Sessions[1].End
	if a := one.Do("POST", page, ends, form, "Sec-Fetch-Site: cross-site"); a.StatusCode != 403 {
		t.Errorf("from another site = %d, want 403", a.StatusCode)
	}
	if a := other.Do("POST", page, ends, form, ours); a.StatusCode != 404 {
		t.Errorf("another person's = %d, want 404", a.StatusCode)
	}
	if a := two.Get(h.URL + "/a"); a.StatusCode != 200 {
		t.Fatalf("a page after refused forms = %d, want 200", a.StatusCode)
	}
	if a := one.Do("POST", page, ends, form, ours); a.StatusCode != 303 {
		t.Errorf("ending one = %d %s, want 303", a.StatusCode, a.Text)
	}
	if a := two.Get(h.URL + "/a"); a.StatusCode != 302 {
		t.Errorf("a page of the session that ended = %d, want 302", a.StatusCode)
	}
	if a := one.Do("POST", page, "all=yes", form, ours); a.StatusCode != 303 {
		t.Errorf("ending all = %d %s, want 303", a.StatusCode, a.Text)
	}
	if a := one.Get(page); a.StatusCode != 401 {
		t.Errorf("the page afterwards = %d, want 401", a.StatusCode)
	}
	if a := other.Get(h.URL + "/a"); a.StatusCode != 200 {
		t.Errorf("a page of another person = %d, want 200", a.StatusCode)
	}
	for _, record := range []string{`"audit":"sign_out"`, `"audit":"sessions_ended"`} {
		found := regexp.MustCompile(record + `[^\n]*"how":"sessions","user":"zhangsan"`)
		servertest.Eventually(t, record, func() bool { return found.MatchString(h.Log.String()) })
	}
}

// TestListedSessions checks that the line below the list agrees with its number in English.
func TestListedSessions(t *testing.T) {
	for _, tt := range []struct {
		scope  session.Scope
		n      int
		en, zh string // how the line begins
	}{
		{session.ScopeFleet, 0, "0 sessions on all replicas.", "所有副本共 0 个会话。"},
		{session.ScopeFleet, 1, "1 session on all replicas.", "所有副本共 1 个会话。"},
		{session.ScopeFleet, 2, "2 sessions on all replicas.", "所有副本共 2 个会话。"},
		{session.ScopeMachine, 1, "1 session on this machine;", "本机共 1 个会话；"},
		{session.ScopeProcess, 1, "1 session, seen by this process since ", "共 1 个会话，为本进程自 "},
	} {
		list := admin.SessionList{Scope: string(tt.scope), Sessions: make([]admin.SessionLine, tt.n)}
		for language, want := range map[i18n.Language]string{i18n.English: tt.en, i18n.Chinese: tt.zh} {
			if got := listedSessions(cli.Invocation{Language: language}, list); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\n") {
				t.Errorf("%d of %s: %q, want %q", tt.n, tt.scope, got, want)
			}
		}
	}
}
