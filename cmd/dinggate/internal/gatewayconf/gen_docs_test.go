package gatewayconf_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/gatewayconf"
	"dinggate/cmd/dinggate/internal/servertest"
)

// marked is a block of a page that shows a file: a comment names the file, or a part of
// it, and the fence follows.
var marked = regexp.MustCompile(
	"(?ms)^<!-- (deploy/[^ ,]+)(?:, from \"([^\"]+)\")?(?:,? to \"([^\"]+)\")? -->\n```([a-z]*)\n(.*?)^```\n",
)

// shownPart returns the part of a file that a page shows: the file without the comment at
// its beginning, or the text between two lines, without indentation.
func shownPart(t *testing.T, name, from, to string) string {
	t.Helper()
	data, err := os.ReadFile("../../../../" + name)
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

// gatewayPages are the pages that show deploy/: one for each gateway in both languages,
// and the README, for which this is optional.
func gatewayPages(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("../../../../docs/gateways/*.md")
	if err != nil || len(pages) < 28 {
		t.Fatalf("found %d pages of gateways (%v), want 14 in two languages", len(pages), err)
	}
	return append(pages, "../../../../docs/gateways.md", "../../../../docs/gateways.zh-CN.md", "../../../../README.md",
		"../../../../README.zh-CN.md")
}

// TestGatewayPages checks that the blocks equal the files in deploy/ (-update writes
// them), that both languages show the same, and that every gateway has a page.
func TestGatewayPages(t *testing.T) {
	shows, text := map[string][]string{}, map[string]string{}
	for _, path := range gatewayPages(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(path, "../../../../")
		fresh := marked.ReplaceAllStringFunc(string(data), func(block string) string {
			m := marked.FindStringSubmatch(block)
			shows[name] = append(shows[name], m[1])
			head, _, _ := strings.Cut(block, "\n")
			return fmt.Sprintf("%s\n```%s\n%s```\n", head, m[4], shownPart(t, m[1], m[2], m[3]))
		})
		text[name] = fresh
		servertest.Golden(t, path, fresh)
	}
	for name := range text {
		if english, ok := strings.CutSuffix(name, ".zh-CN.md"); ok && !slices.Equal(shows[name], shows[english+".md"]) {
			t.Errorf("%s shows %v, its twin %v", name, shows[name], shows[english+".md"])
		}
	}
	for _, gateway := range gatewayconf.Names() {
		page := map[string]string{"k8s": "kubernetes", "traefik-kubernetes": "traefik"}[gateway]
		if page == "" {
			page = gateway
		}
		for _, suffix := range []string{".md", ".zh-CN.md"} {
			name := "docs/gateways/" + page + suffix
			folder := func(shown string) bool { return strings.HasPrefix(shown, "deploy/"+page+"/") }
			if !slices.ContainsFunc(shows[name], folder) {
				t.Errorf("%s shows nothing of deploy/%s", name, page)
			}
			if !strings.Contains(text[name], "`dinggate gen "+gateway) {
				t.Errorf("%s does not name dinggate gen %s", name, gateway)
			}
			if overview := "docs/gateways" + suffix; !strings.Contains(text[overview], "`"+gateway+"`") {
				t.Errorf("%s does not name %s", overview, gateway)
			}
			if readme := "README" + suffix; !strings.Contains(text[readme], "("+name+")") {
				t.Errorf("%s does not lead to %s", readme, name)
			}
		}
	}
}
