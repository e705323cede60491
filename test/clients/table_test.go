package clients

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// features are the columns of the table in docs/oidc.md.
var features = []string{"discovery", "pkce", "nonce", "userinfo", "groups", "refresh", "logout", "wrong"}

// result is a row: what a client was seen to do.
type result struct {
	t    *testing.T
	name string

	mu   sync.Mutex
	seen map[string]bool
}

var (
	resultsMu sync.Mutex
	results   []*result
)

// row begins a client's row.
func row(t *testing.T, name string) *result {
	r := &result{t: t, name: name, seen: map[string]bool{}}
	resultsMu.Lock()
	defer resultsMu.Unlock()
	results = append(results, r)
	return r
}

// ok notes features whose check has passed.
func (r *result) ok(names ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if !slices.Contains(features, name) {
			r.t.Errorf("%s is no column of the table", name)
		}
		r.seen[name] = true
	}
}

// cells is the row as the table has it.
func (r *result) cells() string {
	cells := []string{r.name}
	for _, name := range features {
		mark := "–"
		if r.seen[name] && !r.t.Failed() {
			mark = "✓"
		}
		cells = append(cells, mark)
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

// TestMain compares the tables of docs with what ran.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if code == 0 {
		code = compare(flag.Lookup("test.run").Value.String() == "")
	}
	os.Exit(code)
}

// compare reports, as an exit code, whether both tables have the rows that ran, and
// after a whole run no others.
func compare(whole bool) (code int) {
	for _, file := range []string{"oidc.md", "oidc.zh-CN.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", file))
		if err != nil {
			fmt.Println(err)
			return 1
		}
		table := rows(string(text))
		for _, r := range results {
			if r.t.Skipped() {
				whole = false
				continue
			}
			at := slices.Index(table, r.cells())
			if at < 0 {
				fmt.Printf("docs/%s has no row as it ran:\n%s\n", file, r.cells())
				code = 1
				continue
			}
			table = slices.Delete(table, at, at+1)
		}
		if whole && len(table) > 0 {
			fmt.Printf("docs/%s has rows that did not run so:\n%s\n", file, strings.Join(table, "\n"))
			code = 1
		}
	}
	return code
}

// rows are the lines of the table of clients.
func rows(text string) (list []string) {
	_, rest, _ := strings.Cut(text, "`make clients`")
	_, rest, _ = strings.Cut(rest, "\n|---|---|---|---|---|---|---|---|---|\n")
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "| ") {
			break
		}
		list = append(list, strings.TrimSuffix(line, "\n"))
	}
	return list
}
