package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	shellBlock = regexp.MustCompile("(?ms)^ *```(?:sh|console|bash)\n(.*?)^ *```$")
	inlineCode = regexp.MustCompile("`(dinggate [^`\n]+)`")
	// Matches the end of a command, or the start of text that does not belong to it.
	commandEnd = regexp.MustCompile(`\s*(?:\s#|[|;<>]|&&|\\$).*`)
	assigned   = regexp.MustCompile(`^(?:[A-Z_]+=(?:"[^"]*"|\S*) +)+`)
)

// documentedCommands returns the calls of dinggate in the documentation, by page.
func documentedCommands(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		pages, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(filepath.Base(page), "CHANGELOG") { // of earlier versions
				continue
			}
			var lines []string
			for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
				lines = append(lines, strings.Split(block[1], "\n")...)
			}
			for _, span := range inlineCode.FindAllStringSubmatch(string(text), -1) {
				lines = append(lines, span[1])
			}
			for _, line := range lines {
				line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
				line = strings.TrimPrefix(assigned.ReplaceAllString(strings.TrimPrefix(line, "sudo "), ""), "./")
				line = commandEnd.ReplaceAllString(line, "")
				if strings.HasPrefix(line, "dinggate ") && !strings.Contains(line, "COMMAND") && !strings.Contains(line, "命令") {
					all[strings.TrimPrefix(page, "../../")] = append(all[strings.TrimPrefix(page, "../../")], line)
				}
			}
		}
	}
	return all
}

// TestDocumentedCommands checks that every call of dinggate in the documentation is valid:
// the command and its flags exist. With --help no command is executed.
func TestDocumentedCommands(t *testing.T) {
	n := 0
	for page, commands := range documentedCommands(t) {
		for _, command := range commands {
			n++
			var out strings.Builder
			args := append(strings.Fields(strings.NewReplacer(`"`, "", "'", "").Replace(command))[1:], "--help")
			if code := run(args, nil, &out, &out); code != 0 {
				t.Errorf("%s: `%s` is not taken (%d):\n%s", page, command, code, out.String())
			}
		}
	}
	if n < 200 {
		t.Errorf("%d commands: something is wrong with this test", n)
	}
	t.Logf("%d commands", n)
}
