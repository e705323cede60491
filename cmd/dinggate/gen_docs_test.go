package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/gatewayconf"
)

// marked is a block of a page that shows a file: a comment names the file, or
// a part of it, and the fence follows.
var marked = regexp.MustCompile("(?ms)^<!-- (deploy/[^ ,]+)(?:, from \"([^\"]+)\")?(?:,? to \"([^\"]+)\")? -->\n```([a-z]*)\n(.*?)^```\n")

// shownPart is what a page shows of a file: without the comment at its head, or
// what lies between two lines, moved to the margin.
func shownPart(t *testing.T, name, from, to string) string {
	t.Helper()
	data, err := os.ReadFile("../../" + name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	comment := func(line string) bool { return strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" }
	begin := slices.IndexFunc(lines, func(line string) bool { return !comment(line) })
	if from != "" {
		begin = slices.IndexFunc(lines, func(line string) bool { return strings.TrimSpace(line) == from })
	}
	if begin < 0 {
		t.Fatalf("%s has no line %q", name, from)
	}
	lines = lines[begin:]
	if to != "" {
		end := slices.IndexFunc(lines, func(line string) bool { return strings.TrimSpace(line) == to })
		if end < 0 {
			t.Fatalf("%s has no line %q after %q", name, to, from)
		}
		lines = lines[:end]
	}
	margin := len(lines[0]) - len(strings.TrimLeft(lines[0], " \t"))
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(line[min(margin, len(line)-len(strings.TrimLeft(line, " \t"))):])
	}
	return b.String()
}

// TestGatewayPages: the blocks are those of deploy/ (-update writes them), both
// languages show the same, no gateway is missing, every link leads somewhere.
func TestGatewayPages(t *testing.T) {
	shows := map[string][]string{}
	for _, name := range []string{"docs/gateways.md", "docs/gateways.zh-CN.md", "README.md", "README.zh-CN.md"} {
		path := filepath.Join("../..", name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		fresh := marked.ReplaceAllStringFunc(string(data), func(block string) string {
			m := marked.FindStringSubmatch(block)
			shows[name] = append(shows[name], m[1])
			head, _, _ := strings.Cut(block, "\n")
			return fmt.Sprintf("%s\n```%s\n%s```\n", head, m[4], shownPart(t, m[1], m[2], m[3]))
		})
		if *update {
			if err := os.WriteFile(path, []byte(fresh), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if fresh != string(data) {
			t.Errorf("%s shows another text than deploy/: %s (go test -run TestGatewayPages -update writes it)", name, firstDifference(string(data), fresh))
		}
		for _, gateway := range gatewayconf.Names() {
			if !strings.Contains(fresh, "`"+gateway+"`") && !strings.Contains(fresh, "`dinggate gen "+gateway+"`") {
				t.Errorf("%s does not name %s", name, gateway)
			}
		}
	}
	for page, least := range map[string]int{"docs/gateways": 13, "README": 8} {
		if en, zh := shows[page+".md"], shows[page+".zh-CN.md"]; !slices.Equal(en, zh) || len(en) < least {
			t.Errorf("%s shows %v, its twin %v, want the same and at least %d", page, en, zh, least)
		}
	}
}

func TestPageTwins(t *testing.T) {
	heading, link := regexp.MustCompile(`(?m)^#+ `), regexp.MustCompile(`\]\(([^):#]+)\)`)
	fence := regexp.MustCompile("(?ms)^```.*?^```\n")
	for _, name := range []string{"gateways", "from-oauth2-proxy", "pages", "single-page-apps", "performance"} {
		var shape []string
		for _, file := range []string{name + ".md", name + ".zh-CN.md"} {
			data, err := os.ReadFile("../../docs/" + file)
			if err != nil {
				t.Fatal(err)
			}
			prose := fence.ReplaceAllString(string(data), "FENCE\n")
			count := func(s string) int { return strings.Count(prose, s) }
			shape = append(shape, fmt.Sprintf("%d headings, %d blocks, %d points, %d rows", len(heading.FindAllString(prose, -1)), count("FENCE\n"), count("\n* "), count("\n|")))
			for _, m := range link.FindAllStringSubmatch(prose, -1) {
				if _, err := os.Stat("../../docs/" + m[1]); err != nil {
					t.Errorf("docs/%s: the link to %s leads nowhere", file, m[1])
				}
			}
		}
		if shape[0] != shape[1] {
			t.Errorf("%s: English has %s, Chinese %s", name, shape[0], shape[1])
		}
	}
}
