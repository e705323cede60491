package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/session"
)

// controlCommand runs a command of the real program that asks at the control socket.
func controlCommand(t *testing.T, socket string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	cmd.Env = append(append(os.Environ(), environment...), "DINGGATE_ADMIN_CONTROL="+socket, "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
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
	waitFor(t, "the control socket", func() bool { _, err := os.Stat(c.Path); return err == nil })
	return c.Path
}

// TestSessionsCommand: who is signed in is listed, and signed out by name and by id;
// the record says who did it and why.
func TestSessionsCommand(t *testing.T) {
	h := newTestEnv(t, nil)
	sessions := func() *session.Manager { return h.gate.Sessions }
	socket := serveControl(t, &admin.Control{Sessions: sessions, Log: h.kit.Log,
		Ends: &admin.SessionStore{Sessions: sessions, Note: h.kit.Note}})

	one, two, other := h.visitor(), h.visitor(), h.visitor()
	one.signIn(h.base+"/a", "zhangsan")
	two.signIn(h.base+"/a", "zhangsan")
	other.signIn(h.base+"/a", "lisi")
	out, err := controlCommand(t, socket, "sessions", "list", "--json")
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
	if out, err = controlCommand(t, socket, "sessions", "list", "--user", "zhangsan"); err != nil ||
		strings.Count(out, "张三") != 2 || strings.Contains(out, "lisi") ||
		!strings.Contains(out, "2 sessions, seen by this process since") {
		t.Errorf("list --user = %s, %v", out, err)
	}
	if out, err = controlCommand(t, socket, "sessions", "end", "zhangsan", "--reason", "lost phone"); err != nil ||
		!strings.Contains(out, "All sessions of zhangsan have ended; 2 of them were seen here.") {
		t.Errorf("end = %q, %v", out, err)
	}
	for _, v := range []*visitor{one, two} {
		if a := v.get(h.base + "/a"); a.StatusCode != 302 {
			t.Errorf("a page of somebody signed out = %d, want 302", a.StatusCode)
		}
	}
	if a := other.get(h.base + "/a"); a.StatusCode != 200 {
		t.Errorf("a page of somebody else = %d, want 200", a.StatusCode)
	}
	if out, err = controlCommand(t, socket, "sessions", "end", id); err != nil || !strings.Contains(out, "The session "+id) {
		t.Errorf("end of one = %q, %v", out, err)
	}
	if a := other.get(h.base + "/a"); a.StatusCode != 302 {
		t.Errorf("a page of the session that ended = %d, want 302", a.StatusCode)
	}
	if out, err = controlCommand(t, socket, "sessions", "end", "wangwu"); err != nil ||
		!strings.Contains(out, "has seen no session of wangwu") {
		t.Errorf("end of somebody unknown = %q, %v", out, err)
	}
	record := regexp.MustCompile(`"audit":"sessions_ended","by":"dinggate sessions","reason":"lost phone","who":"zhangsan","count":2`)
	waitFor(t, "the record", func() bool { return record.MatchString(h.log.String()) })
	if out, err := controlCommand(t, filepath.Join(t.TempDir(), "none"), "sessions", "list"); err == nil ||
		!strings.Contains(out, "no process answers at") {
		t.Errorf("without a process = %q, %v", out, err)
	}
}

// TestOwnSessionsPage: people end their own sessions over HTTP, and nobody else's.
func TestOwnSessionsPage(t *testing.T) {
	h := newTestEnv(t, nil)
	one, two, other := h.visitor(), h.visitor(), h.visitor()
	one.signIn(h.base+"/a", "zhangsan")
	two.signIn(h.base+"/a", "zhangsan")
	other.signIn(h.base+"/a", "lisi")
	page := h.base + "/oauth2/sessions"
	var list struct {
		Sessions []struct {
			Current bool
			End     string
		}
	}
	if a := one.get(page, "Accept: application/json"); a.StatusCode != 200 || json.Unmarshal([]byte(a.body), &list) != nil ||
		len(list.Sessions) != 2 || !list.Sessions[0].Current {
		t.Fatalf("sessions = %d %s", a.StatusCode, a.body)
	}
	const form, ours = "Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin"
	ends := "session=" + list.Sessions[1].End
	if a := one.do("POST", page, ends, form, "Sec-Fetch-Site: cross-site"); a.StatusCode != 403 {
		t.Errorf("from another site = %d, want 403", a.StatusCode)
	}
	if a := other.do("POST", page, ends, form, ours); a.StatusCode != 404 {
		t.Errorf("another person's = %d, want 404", a.StatusCode)
	}
	if a := two.get(h.base + "/a"); a.StatusCode != 200 {
		t.Fatalf("a page after refused forms = %d, want 200", a.StatusCode)
	}
	if a := one.do("POST", page, ends, form, ours); a.StatusCode != 303 {
		t.Errorf("ending one = %d %s, want 303", a.StatusCode, a.body)
	}
	if a := two.get(h.base + "/a"); a.StatusCode != 302 {
		t.Errorf("a page of the session that ended = %d, want 302", a.StatusCode)
	}
	if a := one.do("POST", page, "all=yes", form, ours); a.StatusCode != 303 {
		t.Errorf("ending all = %d %s, want 303", a.StatusCode, a.body)
	}
	if a := one.get(page); a.StatusCode != 401 {
		t.Errorf("the page afterwards = %d, want 401", a.StatusCode)
	}
	if a := other.get(h.base + "/a"); a.StatusCode != 200 {
		t.Errorf("a page of another person = %d, want 200", a.StatusCode)
	}
	for _, record := range []string{`"audit":"sign_out"`, `"audit":"sessions_ended"`} {
		found := regexp.MustCompile(record + `[^\n]*"how":"sessions","user":"zhangsan"`)
		waitFor(t, record, func() bool { return found.MatchString(h.log.String()) })
	}
}
