package main

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
)

// steppable is the shipped program with one thing changed: time.Now adds what a
// file says to the wall clock, and leaves the monotonic one alone, as the kernel
// does when somebody sets the clock. Nothing that is loaded before it could do
// that, since Go asks the kernel itself.
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
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for at, text := range map[string]string{
		filepath.Join(source, "time.go"):    strings.Replace(string(text), now, now+"\tsec += Stepped.Load()\n", 1),
		filepath.Join(source, "stepped.go"): "package time\n\nimport \"sync/atomic\"\n\nvar Stepped atomic.Int64\n",
		filepath.Join(here, "stepped.go"): `package main

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
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return path
}

// TestClockIsSetWhileServing: threats V18. The clock of a process that serves
// goes ahead and back by an hour and by a day: what docs/running.md says of it
// happens. It compiles the standard library anew: make endure.
func TestClockIsSetWhileServing(t *testing.T) {
	if !endure() {
		t.Skip("only with ENDURE=1: it compiles the standard library")
	}
	f := newFleet(t)
	step := filepath.Join(t.TempDir(), "step")
	cmd := exec.Command(steppable(t), "serve")
	cmd.Env = append(append(append(os.Environ(), environment...), f.env...), "STEPPED="+step,
		"DINGGATE_UPSTREAM="+echo(t))
	p := startProgram(t, cmd)
	set := func(ahead time.Duration) {
		t.Helper()
		if err := os.WriteFile(step+".new", []byte(fmt.Sprint(int64(ahead/time.Second))), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(step+".new", step); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprint("the clock is ", ahead, " ahead"), func() bool {
			r, err := http.NewRequest("GET", p.admin+"/status", nil)
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
	wants := func(when string, c *caller, want int) {
		t.Helper()
		if a := c.page(p); a.StatusCode != want {
			t.Errorf("%s: the page = %d to %.60q, want %d", when, a.StatusCode, a.Header.Get("Location"), want)
		}
	}
	const lookup, token = "/topapi/v2/user/get", "/v1.0/oauth2/accessToken"
	asked := func(what string, most int64, do func()) {
		t.Helper()
		before := f.platform.Calls(lookup)
		do()
		if n := int64(f.platform.Calls(lookup) - before); n > most {
			t.Errorf("%s: DingTalk was asked for %d records, want at most %d", what, n, most)
		}
	}
	many := func(c *caller) func() {
		return func() {
			for range 50 {
				wants("one of many", c, 200)
			}
		}
	}

	zhang, late := f.caller(p), f.caller(p)
	zhang.enters(p, "zhangsan")
	early := f.copy(zhang) // with the cookie of now, whatever comes
	attempt := late.choose(late.leave(fleetURL+"/"), "wangwu")

	set(time.Hour)
	asked("an hour ahead", 2, func() { wants("an hour ahead, confirmed first", zhang, 200); many(zhang)() })
	if a := late.get(attempt); a.StatusCode == 302 && a.Header.Get("Location") == "/" {
		t.Error("a sign-in that was begun an hour ago, by the clock, is ended")
	}
	li := f.caller(p)
	li.enters(p, "lisi")
	socket := li.socket(p)

	set(0)
	wants("set back: signed in in the future", li, 302)
	eventually(t, "and its WebSocket ends", func() bool { return isClosed(socket) })
	asked("set back", 2, many(early))
	li.enters(p, "lisi")
	asked("set back, signed in again", 2, many(li))
	if err := f.platform.Leave("lisi"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a leaver is out", func() bool { return li.page(p).StatusCode == 302 })

	set(25 * time.Hour)
	wants("a day ahead: past its lifetime", early, 302)
	zhang.enters(p, "zhangsan")
	set(-25 * time.Hour)
	wants("two days back", zhang, 302)
	zhang.enters(p, "zhangsan")
	asked("two days back, signed in again", 2, many(zhang))
	set(0)
	wants("right again: past its lifetime", zhang, 302)
	zhang.enters(p, "zhangsan")
	if n := f.platform.Calls(token); n != 1 {
		t.Errorf("the app's token was asked for %d times, want once: it is as old as ever", n)
	}
	if got := p.metric(t, "dinggate_events_connected_since_seconds"); got == "0" || got == "" {
		t.Errorf("events_connected_since_seconds = %q: the event stream is lost", got)
	}
	p.stop(t)
}
