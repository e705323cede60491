package access

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"
)

// TestConsole_OtherReplica checks that the console lists the sessions of all replicas, and
// that ending a session closes its WebSocket on another one (the limit is 2 s; the log
// shows the actual time). A replica that starts later lists them too.
func TestConsole_OtherReplica(t *testing.T) {
	redis := servertest.DurableRedis(t)
	f := servertest.NewFleet(t, "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+redis.URL(), "DINGGATE_UPSTREAM=",
		"DINGGATE_SESSION_RECHECK=1h")
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := fmt.Sprintf("console: {access: {users: [zhangsan]}}\nroutes:\n  - {path: /kept/, upstream: %[1]q, access: {users: [zhangsan]}}\n"+
		"  - {path: /, upstream: %[1]q, websocket: true}\n", servertest.EchoUpstream(t))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	replica := func() *servertest.Program {
		cmd := exec.Command(servertest.Binary(t), "serve", "--config", file)
		cmd.Env = append(append(os.Environ(), servertest.Environ...), f.Environ...)
		return servertest.Start(t, cmd)
	}
	a, b := replica(), replica()
	boss, other := f.NewClient(a), f.NewClient(b)
	boss.SignInAt(a, "zhangsan")
	other.SignInAt(b, "lisi")
	gone := other.WebSocket(b)
	const console = servertest.FleetURL + "/oauth2/console"
	var page string
	servertest.Eventually(t, "the sessions of the other replica in the console", func() bool {
		page = boss.Get(console, "Accept-Language: en").Text
		return strings.Contains(page, "2 sessions on all replicas") || strings.Contains(page, "2 sessions") &&
			strings.Contains(page, "on all replicas") && strings.Contains(page, "李四")
	})
	if a := other.Get(servertest.FleetURL + "/kept/x"); a.StatusCode != 403 {
		t.Errorf("a page that the rule denies = %d, want 403", a.StatusCode)
	}
	outsider := f.NewClient(b)
	outsider.SignIn(servertest.FleetURL+"/", "sunqi")
	servertest.Eventually(t, "the refusals of the other replica in the console", func() bool {
		page := boss.Get(console+"/refusals", "Accept-Language: en").Text
		return strings.Contains(page, "李四") && strings.Contains(page, "gate.test/kept/") && strings.Contains(page, "wrong_organisation") &&
			strings.Contains(page, "all replicas refused") && strings.Contains(page, "2 entries")
	})
	if servertest.IsClosed(gone) {
		t.Fatal("the WebSocket has closed by itself")
	}
	begin := time.Now()
	if r := boss.Do("POST", console, buttonOf(t, page, "person", "李四"), consoleForm, ourPage); r.StatusCode != 200 {
		t.Fatalf("ending a person = %d %s", r.StatusCode, r.Text)
	}
	servertest.Eventually(t, "the console closes a WebSocket on the other replica", func() bool { return servertest.IsClosed(gone) })
	t.Logf("with the form's answer: after %v", time.Since(begin).Round(time.Millisecond))
	if got := other.Page(b).StatusCode; got != 302 {
		t.Errorf("the other replica answers %d, want 302", got)
	}
	late := replica()
	boss.To = late
	servertest.Eventually(t, "a replica that started later", func() bool {
		page = boss.Get(console, "Accept-Language: en").Text
		return strings.Contains(page, "1 session") && strings.Contains(page, "张三") && !strings.Contains(page, "李四")
	})
	if page := boss.Get(console + "/refusals").Text; !strings.Contains(page, "gate.test/kept/") || !strings.Contains(page, "wrong_organisation") {
		t.Errorf("a replica that started later does not list the refusals: %s", page)
	}
	servertest.Eventually(t, "three replicas", func() bool {
		return strings.Count(boss.Get(console+"/status", "Accept-Language: en").Text, "<dt><bdi>Replica ") == 3
	})
	b.Stop(t)
	servertest.Eventually(t, "one that stopped is not listed", func() bool {
		return strings.Count(boss.Get(console+"/status", "Accept-Language: en").Text, "<dt><bdi>Replica ") == 2
	})
}
