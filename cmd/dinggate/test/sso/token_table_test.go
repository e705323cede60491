package sso

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/servertest"
)

// TestTokenTable tests T4, T11–T14, T26. Every row has the right code and state. After all
// rows the legitimate client still gets its tokens.
func TestTokenTable(t *testing.T) {
	h, p := servertest.NewSSO(t)
	s := &table{t: t, h: h}
	v := h.NewClient()
	v.SignIn(h.URL+"/", "zhangsan")
	code, state := v.SSOCode(p, "&state=of-the-client")
	right := servertest.BasicAuth(p.ID, p.Secret)
	body := "code=" + code + "&state=" + state
	const plain = "Content-Type: text/plain"
	type row struct {
		name, method, path, body string
		headers                  []string
		status                   int
		code                     string
	}
	rows := []row{
		{"no credentials", "", "", body, []string{plain}, 401, "invalid_client"},
		{"empty", "", "", body, []string{plain, "Authorization: "}, 401, "invalid_client"},
		{"Bearer", "", "", body, []string{plain, strings.Replace(right, "Basic", "Bearer", 1)}, 401, "invalid_client"},
		{"no base64", "", "", body, []string{plain, "Authorization: Basic " + p.ID + ":" + p.Secret}, 401,
			"invalid_client"},
		{"no colon", "", "", body, []string{plain, "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(p.ID+p.Secret))}, 401, "invalid_client"},
		{"no name", "", "", body, []string{plain, servertest.BasicAuth("", p.Secret)}, 401, "invalid_client"},
		{"no password", "", "", body, []string{plain, servertest.BasicAuth(p.ID, "")}, 401, "invalid_client"},
		{"no padding", "", "", body, []string{plain, strings.TrimRight(servertest.BasicAuth("ab", "c"), "=")}, 401,
			"invalid_client"},
		{"two lines", "", "", body, []string{plain, right, right}, 401, "invalid_client"},
		{"two clients", "", "", body, []string{plain, right, servertest.BasicAuth("other", "other-secret-0123456789")}, 401,
			"invalid_client"},
		{"NUL", "", "", body, []string{plain, servertest.BasicAuth(p.ID, p.Secret+"\x00")}, 401, "invalid_client"},
		{"line break", "", "", body, []string{plain, servertest.BasicAuth(p.ID+"\r\n", p.Secret)}, 401, "invalid_client"},
		{"60 KiB", "", "", body, []string{plain, servertest.BasicAuth(p.ID, strings.Repeat("x", 40_000))}, 401,
			"invalid_client"},
		{"unknown client", "", "", body, []string{plain, servertest.BasicAuth("unknown", p.Secret)}, 401, "invalid_client"},
		{"client in capitals", "", "", body, []string{plain, servertest.BasicAuth("PLATFORM", p.Secret)}, 401,
			"invalid_client"},
		{"wrong first byte", "", "", body, []string{plain, servertest.BasicAuth(p.ID, "X"+p.Secret[1:])}, 401,
			"invalid_client"},
		{"wrong last byte", "", "", body, []string{plain, servertest.BasicAuth(p.ID, p.Secret[:len(p.Secret)-1]+"X")},
			401, "invalid_client"},
		{"a prefix", "", "", body, []string{plain, servertest.BasicAuth(p.ID, p.Secret[:5])}, 401, "invalid_client"},
		{"another's secret", "", "", body, []string{plain, servertest.BasicAuth(p.ID, "other-secret-0123456789")}, 401,
			"invalid_client"},
		{"credentials in the body", "", "", body + "&client_id=" + p.ID + "&client_secret=" + p.Secret,
			[]string{plain}, 401, "invalid_client"},
		{"credentials in the query", "", "?client_id=" + p.ID + "&client_secret=" + p.Secret, body, []string{plain},
			401, "invalid_client"},
		{"another client in the body", "", "", body + "&client_id=other", []string{plain, right}, 400,
			"invalid_request"},
		{"an odd client in the body", "", "", body + "&client_id=platform%00", []string{plain, right}, 400,
			"invalid_request"},

		{"JSON", "", "", `{"code":"` + code + `"}`, []string{"Content-Type: application/json", right}, 415,
			"invalid_request"},
		{"JSON type", "", "", body, []string{"Content-Type: application/json", right}, 415, "invalid_request"},
		{"multipart", "", "", body, []string{"Content-Type: multipart/form-data; boundary=x", right}, 415,
			"invalid_request"},
		{"html", "", "", body, []string{"Content-Type: text/html", right}, 415, "invalid_request"},
		{"two types", "", "", body, []string{plain, "Content-Type: application/x-www-form-urlencoded", right}, 415,
			"invalid_request"},
		{"no type at all", "", "", body, []string{"Content-Type: /", right}, 415, "invalid_request"},
		{"gzip", "", "", body, []string{plain, "Content-Encoding: gzip", right}, 415, "invalid_request"},
		{"identity", "", "", body, []string{plain, "Content-Encoding: identity", right}, 415, "invalid_request"},

		{"empty body", "", "", "", []string{plain, right}, 400, "invalid_request"},
		{"one byte", "", "", "c", []string{plain, right}, 400, "invalid_request"},
		{"no code", "", "", "state=" + state, []string{plain, right}, 400, "invalid_request"},
		{"no state", "", "", "code=" + code, []string{plain, right}, 400, "invalid_request"},
		{"empty code", "", "", "code=&state=" + state, []string{plain, right}, 400, "invalid_request"},
		{"empty state", "", "", "code=" + code + "&state=", []string{plain, right}, 400, "invalid_request"},
		{"code twice", "", "", body + "&code=" + code, []string{plain, right}, 400, "invalid_request"},
		{"state twice", "", "", body + "&state=" + state, []string{plain, right}, 400, "invalid_request"},
		{"Code beside code", "", "", body + "&Code=x", []string{plain, right}, 400, "invalid_request"},
		{"capitals", "", "", "CODE=" + code + "&STATE=" + state, []string{plain, right}, 400, "invalid_request"},
		{"array", "", "", "code[]=" + code + "&state=" + state, []string{plain, right}, 400, "invalid_request"},
		{"semicolon", "", "", "code=" + code + ";state=" + state, []string{plain, right}, 400, "invalid_request"},
		{"BOM", "", "", "\xef\xbb\xbf" + body, []string{plain, right}, 400, "invalid_request"},
		{"leading blank", "", "", " " + body, []string{plain, right}, 400, "invalid_request"},
		{"trailing blank", "", "", body + " ", []string{plain, right}, 400, "invalid_request"},
		{"two line breaks", "", "", body + "\n\n", []string{plain, right}, 400, "invalid_request"},
		{"line break inside", "", "", "code=" + code + "\n&state=" + state, []string{plain, right}, 400,
			"invalid_request"},
		{"NUL inside", "", "", body + "\x00", []string{plain, right}, 400, "invalid_request"},
		{"bad percent", "", "", body + "&x=%", []string{plain, right}, 400, "invalid_request"},
		{"final ampersand", "", "", body + "&", []string{plain, right}, 400, "invalid_request"},
		{"in quotes", "", "", `"` + body + `"`, []string{plain, right}, 400, "invalid_request"},
		{"only in the query", "", "?" + body, "x=y", []string{plain, right}, 400, "invalid_request"},
		{"another grant", "", "", body + "&grant_type=password", []string{plain, right}, 400, "unsupported_grant_type"},
		{"refresh without a token", "", "", body + "&grant_type=refresh_token", []string{plain, right}, 400,
			"invalid_request"},
		{"8 KiB and 1", "", "", body + "&x=" + strings.Repeat("x", 8<<10+1-len(body)-3), []string{plain, right}, 413,
			"invalid_request"},
		{"1 MiB", "", "", body + "&x=" + strings.Repeat("x", 1<<20), []string{plain, right}, 413, "invalid_request"},

		{"wrong state", "", "", body + "x", []string{plain, right}, 400, "invalid_grant"},
		{"code as state", "", "", "code=" + code + "&state=" + code, []string{plain, right}, 400, "invalid_grant"},
		{"swapped", "", "", "code=" + state + "&state=" + code, []string{plain, right}, 400, "invalid_grant"},
		{"unknown code", "", "", "code=" + strings.Repeat("A", len(code)) + "&state=" + state, []string{plain, right},
			400, "invalid_grant"},
		{"cut code", "", "", "code=" + code[:len(code)-1] + "&state=" + state, []string{plain, right}, 400,
			"invalid_grant"},
		{"longer code", "", "", "code=" + code + "A&state=" + state, []string{plain, right}, 400, "invalid_grant"},
		{"code in capitals", "", "", "code=" + strings.ToUpper(code) + "&state=" + state, []string{plain, right}, 400,
			"invalid_grant"},
		{"a huge code", "", "", "code=" + strings.Repeat("A", 7000) + "&state=" + state, []string{plain, right}, 400,
			"invalid_grant"},
		{"code as a refresh token", "", "", "grant_type=refresh_token&refresh_token=" + code, []string{plain, right},
			400, "invalid_grant"},
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		rows = append(rows, row{method, method, "?" + body, "", []string{plain, right}, 405, "invalid_request"})
	}
	unauthorized := map[string]bool{}
	for _, r := range rows {
		if r.method == "" {
			r.method = "POST"
		}
		a := s.quiet(r.name, func() servertest.Response {
			c := h.NewClient()
			c.Header = http.Header{}
			return c.Do(r.method, h.URL+"/dingtalk/token"+r.path, r.body, r.headers...)
		})
		if a.StatusCode != r.status ||
			r.method != "HEAD" && !strings.HasPrefix(a.Text, `{"error":"`+r.code+`","error_description":"`) ||
			a.Header.Get("Location") != "" || len(a.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s = %d %s %v, want %d %s", r.name, a.StatusCode, a.Text, a.Header, r.status, r.code)
		}
		if !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: Content-Type %q, want JSON", r.name, a.Header.Get("Content-Type"))
		}
		if r.status == 401 {
			unauthorized[a.Text] = true
			if !strings.HasPrefix(a.Header.Get("Www-Authenticate"), "Basic ") {
				t.Errorf("%s: WWW-Authenticate %q", r.name, a.Header.Get("Www-Authenticate"))
			}
		}
		if r.status == 405 && a.Header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow %q, want POST", r.name, a.Header.Get("Allow"))
		}
	}
	if len(unauthorized) != 1 {
		t.Errorf("401 has %d bodies, want one: %v", len(unauthorized), unauthorized)
	}
	if s.rows < 60 {
		t.Errorf("%d rows, want at least 60", s.rows)
	}
	if status, text := p.Token(code, state); status != 200 {
		t.Errorf("the rightful client after all that = %d %s, want its tokens", status, text)
	}
	// T11
	for _, kind := range []string{"text/plain; charset=utf-8", "TEXT/PLAIN", "application/x-www-form-urlencoded",
		"application/x-www-form-urlencoded; charset=UTF-8", ""} {
		code, state := v.SSOCode(p)
		headers := []string{right}
		if kind != "" {
			headers = append(headers, "Content-Type: "+kind)
		}
		a := s.quiet(kind, func() servertest.Response {
			return h.NewClient().Do("POST", h.URL+"/dingtalk/token", "code="+code+"&state="+state+"\n", headers...)
		})
		if a.StatusCode != 200 {
			t.Errorf("Content-Type %q = %d %s, want 200", kind, a.StatusCode, a.Text)
		}
	}
	// an empty state, as existing public scripts send it
	for given, want := range map[string]int{"": 200, "&state=": 200, "&state=s": 400} {
		code, _ := v.SSOCode(p, given)
		if status, text := p.Token(code, ""); status != want {
			t.Errorf("an empty state after authorize%s = %d %s, want %d", given, status, text, want)
		}
		if status, text := p.Token(code, ""); status != 400 || want == 200 && !strings.Contains(text, "invalid_grant") {
			t.Errorf("the same again = %d %s, want 400", status, text)
		}
		if status, _ := p.Token(code, "s"); (status == 200) != (want == 400) {
			t.Errorf("the code of authorize%s with its state afterwards = %d", given, status)
		}
	}
	for _, odd := range []string{"a+b/c=", "a%26b", "x y"} { // returned unchanged, or form-encoded
		for _, form := range []bool{false, true} {
			code, state := v.SSOCode(p, "&state="+url.QueryEscape(odd))
			if form || strings.ContainsAny(odd, " ") {
				state = url.QueryEscape(state)
			}
			if status, text := p.Token(code, state); status != 200 {
				t.Errorf("state %q sent back as %q = %d %s", odd, state, status, text)
			}
		}
	}
}

// TestTokenBodies tests T13: an endless body is truncated, a slow one ends after ten
// seconds, and neither delays the response.
func TestTokenBodies(t *testing.T) {
	h, p := servertest.NewSSO(t)
	send := func(head, body string, slow bool) (string, time.Duration) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(40 * time.Second))
		began := time.Now()
		fmt.Fprintf(conn, "POST /dingtalk/token HTTP/1.1\r\nHost: %s\r\n%s\r\n%s\r\n\r\n%s",
			strings.TrimPrefix(h.URL, "http://"), servertest.BasicAuth(p.ID, p.Secret), head, body)
		if slow {
			go func() {
				for range 30 {
					time.Sleep(500 * time.Millisecond)
					if _, err := io.WriteString(conn, "c"); err != nil {
						return
					}
				}
			}()
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v", head, err)
		}
		return strings.TrimSpace(line), time.Since(began)
	}
	if line, _ := send("Content-Length: 104857600", "code=", false); line != "HTTP/1.1 413 Request Entity Too Large" {
		t.Errorf("100 MiB announced = %s, want 413", line)
	}
	if line, _ := send("Transfer-Encoding: chunked", "4000\r\n"+strings.Repeat("x", 0x4000)+"\r\n",
		false); line != "HTTP/1.1 413 Request Entity Too Large" {
		t.Errorf("16 KiB of a body without end = %s, want 413", line)
	}
	if line, took := send("Content-Length: 100", "code=", true); line != "HTTP/1.1 408 Request Timeout" ||
		took < 9*time.Second {
		t.Errorf("a byte now and then = %s after %v, want 408 after 10 s", line, took)
	}
}
