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
	"time"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/session"
)

// sessionsCommand runs `dinggate sessions` of the real program.
func sessionsCommand(t *testing.T, socket string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(binary(t), append([]string{"sessions"}, args...)...)
	cmd.Env = append(append(os.Environ(), environment...), "DINGGATE_ADMIN_CONTROL="+socket, "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestSessionsCommand: who is signed in is listed, and signed out by name and by id;
// the record says who did it and why.
func TestSessionsCommand(t *testing.T) {
	h := newTestEnv(t, nil)
	socket := filepath.Join(t.TempDir(), "c.sock")
	sessions := func() *session.Manager { return h.gate.Sessions }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		admin.ServeControl(ctx, &admin.Control{Path: socket, Sessions: sessions, Log: h.kit.Log,
			Ends: &admin.SessionStore{Sessions: sessions, Started: time.Now(), Note: h.kit.Note}})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	waitFor(t, "the control socket", func() bool { _, err := os.Stat(socket); return err == nil })

	one, two, other := h.visitor(), h.visitor(), h.visitor()
	one.signIn(h.base+"/a", "zhangsan")
	two.signIn(h.base+"/a", "zhangsan")
	other.signIn(h.base+"/a", "lisi")
	out, err := sessionsCommand(t, socket, "list", "--json")
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
	if out, err = sessionsCommand(t, socket, "list", "--user", "zhangsan"); err != nil ||
		strings.Count(out, "张三") != 2 || strings.Contains(out, "lisi") ||
		!strings.Contains(out, "2 sessions, seen by this process since") {
		t.Errorf("list --user = %s, %v", out, err)
	}
	if out, err = sessionsCommand(t, socket, "end", "zhangsan", "--reason", "lost phone"); err != nil ||
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
	if out, err = sessionsCommand(t, socket, "end", id); err != nil || !strings.Contains(out, "The session "+id) {
		t.Errorf("end of one = %q, %v", out, err)
	}
	if a := other.get(h.base + "/a"); a.StatusCode != 302 {
		t.Errorf("a page of the session that ended = %d, want 302", a.StatusCode)
	}
	if out, err = sessionsCommand(t, socket, "end", "wangwu"); err != nil ||
		!strings.Contains(out, "has seen no session of wangwu") {
		t.Errorf("end of somebody unknown = %q, %v", out, err)
	}
	record := regexp.MustCompile(`"audit":"sessions_ended","by":"dinggate sessions","reason":"lost phone","who":"zhangsan","count":2`)
	waitFor(t, "the record", func() bool { return record.MatchString(h.log.String()) })
	if out, err := sessionsCommand(t, filepath.Join(t.TempDir(), "none"), "list"); err == nil ||
		!strings.Contains(out, "no process answers at") {
		t.Errorf("without a process = %q, %v", out, err)
	}
}
