package page

import (
	"net/http"
	"strings"
	"testing"
)

// TestText: a page has one language, also if only the other one is configured.
func TestText(t *testing.T) {
	two := func(s string) Text { return Text{Zh: s + "中", En: s + "E"} }
	for _, row := range []struct {
		c      Config
		zh, en string // contents of the sign-in pages, separated by |
	}{
		{Config{Title: two("T"), Lead: two("L"), Note: two("N"), Contact: two("C")}, "T中|L中|N中|C中", "TE|LE|NE|CE"},
		{Config{Title: Both("T1"), Lead: Both("L1"), Note: Both("N1"), Contact: Both("C1")}, "T1|L1|N1|C1",
			"T1|L1|N1|C1"},
		{Config{Title: Text{Zh: "云帆"}, Contact: Text{En: "it@example.com"}}, "云帆|mailto:it@example.com",
			"云帆|mailto:it@example.com"},
		{Config{Lead: Text{Zh: "只有中文"}, Note: Text{En: "English alone"}}, "只有中文|" + zhTexts.SignInNote,
			enTexts.SignInLead + "|English alone"},
		{Config{}, zhTexts.DefaultTitle + "|" + zhTexts.SignInNote, enTexts.DefaultTitle + "|" + enTexts.SignInNote},
	} {
		p := pages(t, row.c)
		for lang, want := range map[string]string{"zh": row.zh, "en": row.en} {
			for name, serve := range map[string]func(http.ResponseWriter, *http.Request){
				"sign-in": func(w http.ResponseWriter, r *http.Request) {
					p.SignIn(w, r, SignInData{StartURL: "/oauth2/start"})
				},
				"accounts": func(w http.ResponseWriter, r *http.Request) {
					p.Account(w, r, AccountData{Action: "/oauth2/sign_in?rd=%2F"})
				},
			} {
				text := body(t, through(t, p, browser("GET", "/oauth2/sign_in", "Accept-Language", lang), shows(serve)))
				for part := range strings.SplitSeq(want, "|") {
					if !strings.Contains(text, part) {
						t.Errorf("%+v: the page %s in %s lacks %q", row.c, name, lang, part)
					}
				}
			}
		}
	}
}
