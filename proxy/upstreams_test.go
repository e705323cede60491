package proxy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/internal/realtool"
)

// Applications with HTTP implementations of their own: testdata/upstreams.

// setCookies are the cookies that each of them sets.
var setCookies = []string{"mydinggate=1; Path=/", "dinggate_theme=dark; Path=/", "dinggateway=gw; Path=/",
	"__Host-dinggate=planted; Path=/; Secure", "dinggate-lang=en; Path=/", "sid=own; Path=/"}

// express starts the one that runs in Node.
func express(t *testing.T) string {
	return run(t, "node", filepath.Join("testdata", "upstreams", "app.js"), realtool.NPM(t, "express@5.3.0"),
		realtool.NPM(t, "cookie-parser@1.4.7"), realtool.NPM(t, "express-ntlm@2.7.0"))
}

// run starts a program that prints its port and ends with its standard input.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(realtool.Path(t, name), args...)
	text, err := json.Marshal(setCookies)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env, cmd.Stderr = append(os.Environ(), "SET_COOKIES="+string(text), "NODE_NO_WARNINGS=1"), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s named no port: %v", name, err)
	}
	return "http://127.0.0.1:" + strings.TrimSpace(port)
}

// runPHP starts PHP's own server, which cannot choose its port.
func runPHP(t *testing.T) string {
	t.Helper()
	address := realtool.FreeAddr(t)
	text, err := json.Marshal(setCookies)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(realtool.Path(t, "php"), "-q", "-S", address, filepath.Join("testdata", "upstreams", "app.php"))
	cmd.Env = append(os.Environ(), "SET_COOKIES="+string(text))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return "http://" + address
		}
		if time.Now().After(deadline) {
			t.Fatal("php does not listen")
		}
	}
}

// TestCookiesOfRealApplications: cookies pass between an application and its users whatever
// their names are; ours do not, in any spelling that its parser reads as ours (C4, C11, C13, C14).
func TestCookiesOfRealApplications(t *testing.T) {
	goApp := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, line := range setCookies {
			w.Header().Add("Set-Cookie", line)
		}
		read := map[string]string{}
		for _, c := range r.Cookies() {
			read[c.Name] = c.Value
		}
		json.NewEncoder(w).Encode(read)
	})
	for name, start := range map[string]func(*testing.T) plan{
		"net/http": func(*testing.T) plan { return plan{app: goApp} },
		"Express":  func(t *testing.T) plan { return plan{upstream: express(t)} },
		"Python": func(t *testing.T) plan {
			return plan{upstream: run(t, "python3", filepath.Join("testdata", "upstreams", "app.py"))}
		},
		"PHP": func(t *testing.T) plan { return plan{upstream: runPHP(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, start(t))
			_, ours := d.signIn("zhangsan")
			_, value, _ := strings.Cut(ours, "=")
			res, body := d.do("GET /cookies",
				"Cookie: mydinggate=1; "+ours+
					"; dinggate_theme=dark; __Host-dinggate-attempt-0=x; dinggateway=gw; dinggate-lang=zh; sid=a")
			read := readCookies(t, body)
			for name, want := range map[string]string{"mydinggate": "1", "dinggate_theme": "dark",
				"dinggateway": "gw", "sid": "a"} {
				if read[name] != want {
					t.Errorf("the application reads %s = %q, want %q: %s", name, read[name], want, body)
				}
			}
			if len(read) != 4 {
				t.Errorf("the application reads %v, want its own four", read)
			}
			if got, want := names(res.Header["Set-Cookie"]), "mydinggate dinggate_theme dinggateway sid"; got != want {
				t.Errorf("the browser receives %q, want %q", got, want)
			}
			// The session's text under additional names that a parser may read as ours.
			for _, line := range []string{"NAME_0=TEXT", "NAME.0=TEXT", "NAME[]=TEXT", "NAME[a]=TEXT",
				"..Host-dinggate=TEXT", "__Host%2Ddinggate=TEXT", "NAME%20=TEXT", "a=x, NAME=TEXT", "a=x NAME=TEXT",
				`a="x; NAME=TEXT"`, `a="x;NAME =TEXT"`, "=NAME=TEXT", "NAME =TEXT", "dinggate=TEXT", "DINGGATE=TEXT",
				"__Secure-dinggate=TEXT", "$Version=1, NAME=TEXT"} {
				line = strings.NewReplacer("NAME", "__Host-dinggate", "TEXT", value).Replace(line)
				if _, body := d.do("GET /cookies", "Cookie: "+ours+"; sid=a; "+line); strings.Contains(body,
					value[:20]) || readCookies(t, body)["sid"] != "a" {
					t.Errorf("Cookie: … %.40q: the application reads %.300s", line, body)
				}
			}
		})
	}
}

func readCookies(t *testing.T, body string) map[string]string {
	t.Helper()
	read := map[string]any{}
	if err := json.Unmarshal([]byte(body), &read); err != nil {
		t.Fatalf("the application answered %q: %v", body, err)
	}
	texts := map[string]string{}
	for name, value := range read {
		texts[name] = fmt.Sprint(value)
	}
	return texts
}

func names(lines []string) string {
	list := slices.Clone(lines)
	for i, line := range list {
		list[i], _, _ = strings.Cut(line, "=")
	}
	return strings.Join(list, " ")
}

// TestConnectionAuthOfExpressNTLM: express-ntlm authenticates a connection, as IIS does. Behind
// the shared pool no request is served as another person, and no such sign-in is possible (M17).
func TestConnectionAuthOfExpressNTLM(t *testing.T) {
	app, client := express(t), realtool.NPM(t, "httpntlm@1.8.13")
	signIn := func(address, name string) string {
		cmd := exec.Command(realtool.Path(t, "node"), filepath.Join("testdata", "upstreams", "client.js"), client,
			address, name)
		cmd.Env = append(os.Environ(), "NODE_NO_WARNINGS=1")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("client.js: %v", err)
		}
		return strings.TrimSpace(string(out))
	}
	// the client and the application work together
	if got, want := signIn(app+"/windows/", "ZHANGSAN"), `200 {"user":"ZHANGSAN"}`; got != want {
		t.Fatalf("signing in without the proxy = %q, want %q", got, want)
	}
	d := open(t, plan{upstream: app})
	_, lisi := d.signIn("lisi")
	if got := signIn("http://"+d.addr+"/public/windows/", "ZHANGSAN"); !strings.HasPrefix(got, "error") {
		t.Errorf("signing in through the proxy = %q, want no challenge to answer", got)
	}
	for range 20 {
		for _, line := range []string{"GET /windows/", "GET /public/windows/"} {
			res, body := d.do(line, "Cookie: "+lisi)
			if res.StatusCode != 401 || strings.Contains(body, "ZHANGSAN") || len(res.Header["Www-Authenticate"]) > 0 {
				t.Fatalf("%s of another person = %d %q with the challenge %q, want 401 without", line, res.StatusCode,
					body, res.Header["Www-Authenticate"])
			}
		}
	}
}
