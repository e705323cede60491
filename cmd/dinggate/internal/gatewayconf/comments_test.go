package gatewayconf

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"dinggate/internal/i18n"
)

// TestComments checks that every comment of the templates has a Chinese translation, that
// every translation has a comment, and that both use the same actions.
func TestComments(t *testing.T) {
	known, used := translations(), map[string]bool{}
	han, mixed := regexp.MustCompile(`\p{Han}`), 0
	for _, files := range []fs.FS{templates, appTemplates} {
		err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := fs.ReadFile(files, path)
			if err != nil {
				return err
			}
			same := eachComment(string(text), func(english string) string {
				used[english] = true
				if known[english] == "" {
					t.Errorf("%s: comments.zh.txt lacks\n%s", path, english)
				}
				if han.MatchString(english) {
					mixed++
				}
				return english
			})
			if same != string(text) {
				t.Errorf("%s: eachComment changes what it does not translate", path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for english := range known {
		if !used[english] {
			t.Errorf("comments.zh.txt translates what no template says:\n%s", english)
		}
	}
	if len(used) < 90 || mixed == 0 {
		t.Errorf("there are %d comments, %d in both languages: something is wrong with this test", len(used), mixed)
	}
}

// TestChinese checks that everything except comments is the same in both languages.
func TestChinese(t *testing.T) {
	code := func(text string) string {
		var lines []string
		for line := range strings.SplitSeq(text, "\n") {
			if line = strings.TrimSpace(eachComment(line, func(string) string { return "" })); line != "" && line != "#" && line != "--" {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "\n")
	}
	for _, gateway := range Names() {
		s := &GatewayConfig{Hosts: []string{"app.example.com", "*.apps.example.org"}, Port: "443", TLS: true, Prefix: "/oauth2",
			Address: "127.0.0.1:4180", App: "127.0.0.1:8080", Cookie: "__Host-dinggate", Headers: []string{"X-Auth-Request-User"},
			Proofs: []string{"X-Dinggate-Assertion"}, Remove: []string{"X-Original-URL"}, AddressPort: "4180", AdminPort: "9180",
			AppHost: "app", AppName: "app", AppPort: "8080"}
		english := s.Render(gateway)
		s.Language = i18n.Chinese
		for i, file := range s.Render(gateway) {
			if got, want := code(file.Text), code(english[i].Text); got != want {
				t.Errorf("%s of %s differs in Chinese:\n%s\nwant\n%s", file.Name, gateway, got, want)
			}
			if strings.Contains(file.Text, "Change") || file.Text == english[i].Text {
				t.Errorf("%s of %s is not in Chinese:\n%s", file.Name, gateway, file.Text)
			}
		}
	}
}
