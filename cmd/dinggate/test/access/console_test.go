package access

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
)

const consoleForm, ourPage = "Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin"

var consoleButton = regexp.MustCompile(`name="(session|person|request)" value="([^"]+)" aria-label="[^:]*: ([^"]+)"`)

// buttonOf finds the form that a button of the console sends for a person.
func buttonOf(t *testing.T, body, name, person string) string {
	t.Helper()
	for _, b := range consoleButton.FindAllStringSubmatch(body, -1) {
		if b[1] == name && b[3] == person {
			return url.Values{b[1]: {b[2]}}.Encode()
		}
	}
	t.Fatalf("the console has no button %s of %s: %s", name, person, body)
	return ""
}

// TestConsole checks that an administrator sees signed-in people and refusals, and ends
// sessions.
func TestConsole(t *testing.T) {
	h := servertest.New(t, servertest.Administrators)
	console := h.URL + "/oauth2/console"
	boss, other, again := h.NewClient(), h.NewClient(), h.NewClient()
	if a := boss.Get(console); a.StatusCode != 302 {
		t.Errorf("the console without a session = %d, want 302 to the sign-in", a.StatusCode)
	}
	if a := boss.SignIn(console+"/status", "zhangsan"); a.Header.Get("Location") != "/oauth2/console/status" {
		t.Errorf("the sign-in for the console leads to %q", a.Header.Get("Location"))
	}
	other.SignIn(h.URL+"/a", "lisi")
	again.SignIn(h.URL+"/a", "lisi")
	if a := h.NewClient().SignIn(h.URL+"/a", "sunqi"); a.StatusCode/100 == 3 {
		t.Log("sunqi is no member: refused on the page that follows")
	}
	var page string
	servertest.Eventually(t, "the sessions in the console", func() bool {
		page = boss.Get(console, "Accept-Language: en").Text
		return strings.Contains(page, "3 sessions")
	})
	for _, want := range []string{"张三", "李四", "This browser", "Signed in from", "127.0.0.1"} {
		if !strings.Contains(page, want) {
			t.Errorf("the console does not show %q: %s", want, page)
		}
	}
	if a := boss.Get(console+"?q=LISI", "Accept-Language: en"); !strings.Contains(a.Text, "2 sessions") ||
		strings.Contains(a.Text, "张三</bdi></h2>") {
		t.Errorf("a search = %s", a.Text)
	}
	one := buttonOf(t, page, "session", "李四")
	if a := boss.Do("POST", console, one+"&reason=lost+phone", consoleForm, ourPage, "Accept-Language: en"); a.StatusCode != 200 ||
		!strings.Contains(a.Text, "The session has ended.") || !strings.Contains(a.Text, "2 sessions") {
		t.Errorf("ending one = %d %s", a.StatusCode, a.Text)
	}
	if a := boss.Do("POST", console, one, consoleForm, ourPage, "Accept-Language: en"); a.StatusCode != 200 ||
		!strings.Contains(a.Text, "over already") {
		t.Errorf("ending it again = %d %s", a.StatusCode, a.Text)
	}
	page = boss.Get(console).Text
	if a := boss.Do("POST", console, buttonOf(t, page, "person", "李四"), consoleForm, ourPage); a.StatusCode != 200 {
		t.Errorf("ending a person = %d %s", a.StatusCode, a.Text)
	}
	for _, v := range []*servertest.Client{other, again} {
		if a := v.Get(h.URL + "/a"); a.StatusCode != 302 {
			t.Errorf("a page of a user whose sessions ended = %d, want 302", a.StatusCode)
		}
	}
	if a := boss.Do("POST", console, "user=lissi", consoleForm, ourPage, "Accept-Language: en"); a.StatusCode != 200 ||
		!strings.Contains(a.Text, "a misspelled one ends nothing") || strings.Contains(a.Text, "of this person have ended") {
		t.Errorf("ending an unknown userid = %d %s", a.StatusCode, a.Text)
	}
	record := regexp.MustCompile(`"audit":"sessions_ended","by":"console: 张三 \(zhangsan\)","reason":"lost phone"`)
	servertest.Eventually(t, "the record", func() bool { return record.MatchString(h.Log.String()) })
	for _, view := range []string{"/refusals", "/status"} {
		if a := boss.Get(console + view); a.StatusCode != 200 {
			t.Errorf("%s = %d %s", view, a.StatusCode, a.Text)
		}
	}
	if a := boss.Get(console + "/requests"); a.StatusCode != 404 { // requests for access are off
		t.Errorf("/requests = %d, want 404", a.StatusCode)
	}
}

// TestConsole_Attacks checks that a person who is no administrator sees and ends nothing
// (threats G1, G6).
func TestConsole_Attacks(t *testing.T) {
	h := servertest.New(t, func(c *config.Config) {
		servertest.Administrators(c)
		c.Hosts = "any"
	})
	console := h.URL + "/oauth2/console"
	boss, other := h.NewClient(), h.NewClient()
	boss.SignIn(h.URL+"/a", "zhangsan")
	other.SignIn(h.URL+"/a", "lisi")
	var page string
	servertest.Eventually(t, "the sessions in the console", func() bool {
		page = boss.Get(console).Text
		return strings.Contains(page, "张三") && strings.Contains(page, "李四")
	})
	victim := buttonOf(t, page, "session", "张三")
	all := buttonOf(t, page, "person", "张三")
	guessed := "session=" + base64.RawURLEncoding.EncodeToString(make([]byte, 16))
	form := []string{consoleForm, ourPage}
	rows := []struct {
		what   string
		by     *servertest.Client
		method string
		path   string
		body   string
		header []string
		status int
	}{
		{"no administrator", other, "GET", "", "", nil, 403},
		{"no administrator, another view", other, "GET", "/refusals", "", nil, 403},
		{"no administrator ends a session", other, "POST", "", victim, form, 403},
		{"no administrator ends a person", other, "POST", "", all, form, 403},
		{"without a session", h.NewClient(), "POST", "", victim, form, 401},
		{"another site's form", boss, "POST", "", victim, []string{consoleForm, "Sec-Fetch-Site: cross-site"}, 403},
		{"a sibling's form", boss, "POST", "", victim, []string{consoleForm, "Sec-Fetch-Site: same-site"}, 403},
		{"another origin, without fetch metadata", boss, "POST", "", victim, []string{consoleForm, "Origin: http://evil.example"}, 403},
		{"origin null, without fetch metadata", boss, "POST", "", victim, []string{consoleForm, "Origin: null"}, 403},
		{"a script of an application on our host", boss, "POST", "", victim,
			append([]string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, form...), 403},
		{"a script reads it", boss, "GET", "", "", []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-origin"}, 403},
		{"a frame shows it", boss, "GET", "", "", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 403},
		{"a GET that would end", boss, "GET", "?" + victim, "", nil, 200},
		{"another method", boss, "DELETE", "?" + victim, "", form, 405},
		{"nothing named", boss, "POST", "", "", form, 400},
		{"two things named", boss, "POST", "", victim + "&user=lisi", form, 400},
		{"a grant where no request is possible", boss, "POST", "", "request=x", form, 400},
		{"a reason with a line break", boss, "POST", "", victim + "&reason=a%0Ab", form, 422},
		{"a reason with a tab", boss, "POST", "", victim + "&reason=a%09b", form, 422},
		{"a reason that is no UTF-8", boss, "POST", "", victim + "&reason=a%FFb", form, 422},
		{"a reason without end", boss, "POST", "", victim + "&reason=" + strings.Repeat("x", 300), form, 422},
		{"a body without end", boss, "POST", "", victim + "&reason=" + strings.Repeat("x", 80<<10), form, 413},
		{"a guessed id", boss, "POST", "", guessed, form, 200},
		{"a made-up person", boss, "POST", "", "person=x", form, 200},
		{"a path below", boss, "GET", "/../console/x", "", nil, 400},
		{"an unknown view", boss, "GET", "/x", "", nil, 404},
		{"a page without end", boss, "GET", "?page=99999999999999999999", "", nil, 200},
		{"a negative page", boss, "GET", "?page=-1", "", nil, 200},
		{"a search without end", boss, "GET", "?q=" + strings.Repeat("x", 2000), "", nil, 422},
		{"a search for a zero-width space", boss, "GET", "?q=%E2%80%8B", "", nil, 422},
		{"a search for a control character", boss, "GET", "?q=%00", "", nil, 422},
		{"a search that is no UTF-8", boss, "GET", "?q=%FF", "", nil, 422},
		{"a search that does not decode", boss, "GET", "?q=%ZZ", "", nil, 422},
	}
	for _, row := range rows {
		a := row.by.Do(row.method, console+row.path, row.body, row.header...)
		if a.StatusCode != row.status {
			t.Errorf("%s = %d, want %d: %.300s", row.what, a.StatusCode, row.status, a.Text)
		}
		if row.by != boss && strings.Contains(a.Text, strings.TrimPrefix(victim, "session=")) {
			t.Errorf("%s: the answer shows a session", row.what)
		}
		if row.status == 422 && (!strings.Contains(a.Text, `id="wrong"`) || strings.Contains(row.path, "q=") &&
			strings.Contains(a.Text, strings.TrimPrefix(victim, "session="))) {
			t.Errorf("%s: the page names no mistake, or lists all users: %s", row.what, a.Text)
		}
	}
	if a := boss.Get(console+`?q="><script>alert(1)</script>`, "Accept-Language: en"); strings.Contains(a.Text, "<script") {
		t.Errorf("a search is shown as HTML: %s", a.Text)
	}
	if a := boss.Get(console, "X-Forwarded-Host: other.example.com"); a.StatusCode == 200 {
		t.Error("the console answers on another host")
	}
	for who, v := range map[string]*servertest.Client{"zhangsan": boss, "lisi": other} {
		if a := v.Get(h.URL + "/a"); a.StatusCode != 200 {
			t.Errorf("after all that a page of %s = %d, want 200", who, a.StatusCode)
		}
	}
	record := regexp.MustCompile(`"audit":"console_denied"[^\n]*"user":"lisi"`)
	servertest.Eventually(t, "the record", func() bool { return record.MatchString(h.Log.String()) })
}

// TestConsole_Names checks that text from the directory and from a browser is shown as
// text (threats G3).
func TestConsole_Names(t *testing.T) {
	h := servertest.New(t, servertest.Administrators)
	const nasty = `<img src=x onerror=alert(1)>"'&李`
	if err := h.Platform.Rename("lisi", nasty); err != nil {
		t.Fatal(err)
	}
	boss, other := h.NewClient(), h.NewClient()
	boss.SignIn(h.URL+"/a", "zhangsan")
	other.SignIn(h.URL+"/a", "lisi")
	var page string
	servertest.Eventually(t, "the sessions in the console", func() bool {
		page = boss.Get(h.URL + "/oauth2/console").Text
		return strings.Contains(page, "lisi")
	})
	if strings.Contains(page, "<img") || strings.Contains(page, `onerror=alert(1)>"`) || !strings.Contains(page, "&lt;img") {
		t.Errorf("a name is shown as HTML: %s", page)
	}
}
