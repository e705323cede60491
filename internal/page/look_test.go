package page

import (
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestAccent: for any colour, the text on buttons is readable.
func TestAccent(t *testing.T) {
	rule := regexp.MustCompile(`:root\{--button:#([0-9a-f]{6});--over:#([0-9a-f]{6});--ink:#([0-9a-f]{6})\}</style>`)
	for _, colour := range []string{"#0f62de", "#ffffff", "#000000", "#ff6600", "#FFCC00", "#777777", "#008800",
		"#e60012"} {
		p := pages(t, Config{Accent: colour})
		found := rule.FindStringSubmatch(body(t,
			through(t, p, browser("GET", "/oauth2/sign_in"),
				shows(func(w http.ResponseWriter, r *http.Request) { p.SignIn(w, r, SignInData{}) }))))
		if found == nil || "#"+found[1] != strings.ToLower(colour) {
			t.Errorf("%s: the style ends with %q", colour, found)
			continue
		}
		for _, on := range found[1:3] {
			a, b := wcagLuminance(t, on), wcagLuminance(t, found[3])
			if got := (max(a, b) + 0.05) / (min(a, b) + 0.05); got < 4.5 {
				t.Errorf("%s: text #%s on #%s has a contrast of %.2f, want 4.5", colour, found[3], on, got)
			}
		}
	}
	for _, bad := range []string{"blue", "#fff", "0f62de", "#0f62dg", "#0f62de;}", " #0f62de"} {
		if _, err := New(Config{Accent: bad}); err == nil {
			t.Errorf("New with the colour %q is no error", bad)
		}
	}
}

// TestTemplates: an organisation's own files replace ours; an invalid one prevents the start.
func TestTemplates(t *testing.T) {
	own := func(name, text string) Config {
		return Config{Lead: Both("欢迎 welcome"), Templates: func(file string) ([]byte, error) {
			if file == name {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		}}
	}
	p := pages(t,
		own("sign_in.html",
			`{{define "main"}}<h1 id="heading">OURS {{.Words.SignInLead}}</h1><a href="{{.StartURL}}">go</a>{{end}}`))
	got := body(t,
		through(t, p, browser("GET", "/oauth2/sign_in"),
			shows(func(w http.ResponseWriter, r *http.Request) {
				p.SignIn(w, r, SignInData{StartURL: "/oauth2/start"})
			})))
	if !strings.Contains(got, `OURS 欢迎 welcome</h1><a href="/oauth2/start">`) ||
		!strings.Contains(got, "<style>:root") {
		t.Errorf("the page with an own template is\n%s", got)
	}
	for name, text := range map[string]string{"sign_in.html": `{{define "main"}}{{.NoSuchField}}{{end}}`,
		"who.html":     `{{define "main"}}{{range .Rows}}{{.NoSuchField}}{{end}}{{end}}`,
		"account.html": `{{define "main"}}{{with .QR}}{{.NoSuchField}}{{end}}{{end}}`,
		"error.html":   `{{define "main"}}{{if}}{{end}}`,
		"layout.html":  "{{define \"layout\"}}{{template \"nothing\"}}{{end}}"} {
		if _, err := New(own(name, text)); err == nil {
			t.Errorf("New with a broken %s is no error", name)
		}
	}
	if _, err := New(Config{Templates: func(string) ([]byte, error) { return nil, fs.ErrPermission }}); err == nil {
		t.Error("New with templates that cannot be read is no error")
	}
}
