package endurance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"
)

// steppable is the shipped program with one change: time.Now adds the content of a file to
// the wall clock and does not change the monotonic clock, as the kernel does when the
// clock is set. A preloaded library could not do that, since Go calls the kernel itself.
func steppable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if !strings.Contains(string(text), now) {
		t.Skip("SKIPPED: this Go release has another time.Now")
	}
	command, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for at, text := range map[string]string{
		filepath.Join(source, "time.go"):    strings.Replace(string(text), now, now+"\tsec += Stepped.Load()\n", 1),
		filepath.Join(source, "stepped.go"): "package time\n\nimport \"sync/atomic\"\n\nvar Stepped atomic.Int64\n",
		filepath.Join(command, "stepped.go"): `package main

import (
	"fmt"
	"os"
	"time"
)

func init() {
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			text, _ := os.ReadFile(os.Getenv("STEPPED"))
			var seconds int64
			if n, _ := fmt.Sscan(string(text), &seconds); n == 1 {
				time.Stepped.Store(seconds)
			}
		}
	}()
}
`} {
		to := filepath.Join(dir, fmt.Sprint(len(replace), ".go"))
		replace[at] = to
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "dinggate")
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", path, command)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return path
}

// TestClockIsSetWhileServing tests threats V18. The clock of a process that serves is set
// forward and back by an hour and by a day, with the effects that docs/operating.md
// describes. It recompiles the standard library: make endure.
func TestClockIsSetWhileServing(t *testing.T) {
	if !soaking() {
		t.Skip("only with ENDURE=1: it compiles the standard library")
	}
	f := servertest.NewFleet(t)
	step := filepath.Join(t.TempDir(), "step")
	cmd := exec.Command(steppable(t), "serve")
	cmd.Env = append(append(append(os.Environ(), servertest.Environ...), f.Environ...), "STEPPED="+step,
		"DINGGATE_UPSTREAM="+servertest.EchoUpstream(t))
	p := servertest.Start(t, cmd)
	set := func(ahead time.Duration) {
		t.Helper()
		if err := os.WriteFile(step+".new", []byte(fmt.Sprint(int64(ahead/time.Second))), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(step+".new", step); err != nil {
			t.Fatal(err)
		}
		servertest.Eventually(t, fmt.Sprint("the clock is ", ahead, " ahead"), func() bool {
			r, err := http.NewRequest("GET", p.Admin+"/status", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept", "application/json")
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var status struct{ Now time.Time }
			return json.NewDecoder(res.Body).Decode(&status) == nil &&
				status.Now.Sub(time.Now().Add(ahead)).Abs() < 5*time.Minute
		})
	}
	wants := func(when string, c *servertest.FleetClient, want int) {
		t.Helper()
		if a := c.Page(p); a.StatusCode != want {
			t.Errorf("%s: the page = %d to %.60q, want %d", when, a.StatusCode, a.Header.Get("Location"), want)
		}
	}
	const lookup, token = "/topapi/v2/user/get", "/v1.0/oauth2/accessToken"
	lookups := func(what string, most int64, do func()) {
		t.Helper()
		before := f.Platform.Calls(lookup)
		do()
		if n := int64(f.Platform.Calls(lookup) - before); n > most {
			t.Errorf("%s: DingTalk was called for %d records, want at most %d", what, n, most)
		}
	}
	many := func(c *servertest.FleetClient) func() {
		return func() {
			for range 50 {
				wants("one of many", c, 200)
			}
		}
	}

	zhang, late := f.NewClient(p), f.NewClient(p)
	zhang.SignInAt(p, "zhangsan")
	early := f.Copy(zhang) // has the current cookie in every case
	attempt := late.Choose(late.StartSignIn(servertest.FleetURL+"/"), "wangwu")

	set(time.Hour)
	lookups("an hour ahead", 2, func() { wants("an hour ahead, confirmed first", zhang, 200); many(zhang)() })
	if a := late.Get(attempt); a.StatusCode == 302 && a.Header.Get("Location") == "/" {
		t.Error("a sign-in that was begun an hour ago, by the clock, is ended")
	}
	li := f.NewClient(p)
	li.SignInAt(p, "lisi")
	socket := li.WebSocket(p)

	set(0)
	wants("set back: signed in in the future", li, 302)
	servertest.Eventually(t, "and its WebSocket ends", func() bool { return servertest.IsClosed(socket) })
	lookups("set back", 2, many(early))
	li.SignInAt(p, "lisi")
	lookups("set back, signed in again", 2, many(li))
	if err := f.Platform.Leave("lisi"); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "a leaver is out", func() bool { return li.Page(p).StatusCode == 302 })

	set(25 * time.Hour)
	wants("a day ahead: past its lifetime", early, 302)
	zhang.SignInAt(p, "zhangsan")
	set(-25 * time.Hour)
	wants("two days back", zhang, 302)
	zhang.SignInAt(p, "zhangsan")
	lookups("two days back, signed in again", 2, many(zhang))
	set(0)
	wants("right again: past its lifetime", zhang, 302)
	zhang.SignInAt(p, "zhangsan")
	if n := f.Platform.Calls(token); n != 1 {
		t.Errorf("the app's token was requested %d times, want once: it is as old as ever", n)
	}
	if got := p.Metric(t, "dinggate_events_connected_since_seconds"); got == "0" || got == "" {
		t.Errorf("events_connected_since_seconds = %q: the event stream is lost", got)
	}
	p.Stop(t)
}
