package page

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"dinggate/internal/web"
)

func TestCatalogues(t *testing.T) {
	zh, en := slices.Sorted(maps.Keys(zhMessages)), slices.Sorted(maps.Keys(enMessages))
	if !slices.Equal(zh, en) {
		t.Fatalf("keys differ:\nzh %q\nen %q", zh, en)
	}
	for status, key := range byStatus {
		if _, ok := zhMessages[key]; !ok {
			t.Errorf("byStatus[%d] = %q, which has no message", status, key)
		}
	}
	for code := range otherAccount {
		if _, ok := zhMessages[code]; !ok {
			t.Errorf("otherAccount has %q, which has no message", code)
		}
	}
	han := func(s string) bool {
		return strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Han, r) })
	}
	for _, key := range zh {
		for _, texts := range [][2]string{{zhMessages[key].Title, enMessages[key].Title},
			{zhMessages[key].Text, enMessages[key].Text}, {zhMessages[key].Next, enMessages[key].Next}} {
			if !han(texts[0]) || han(texts[1]) || texts[1] == "" {
				t.Errorf("%s: %q in Chinese, %q in English", key, texts[0], texts[1])
			}
		}
	}
	chinese, english := textsOf(t, reflect.ValueOf(zhTexts)), textsOf(t, reflect.ValueOf(enTexts))
	for name := range chinese {
		if chinese[name] == "" || english[name] == "" {
			t.Errorf("the text %s is missing in a language", name)
		}
	}
	if len(chinese) < 50 {
		t.Fatalf("found %d texts: something is wrong with this test", len(chinese))
	}
}

// textsOf returns the texts by name, including those of embedded structs.
func textsOf(t *testing.T, v reflect.Value) map[string]string {
	all := map[string]string{}
	for f, value := range v.Fields() {
		group := map[string]string{f.Name: value.String()}
		if value.Kind() == reflect.Struct {
			group = textsOf(t, value)
		}
		for name, text := range group {
			if _, twice := all[name]; twice {
				t.Errorf("two texts are called %s: a template can read neither", name)
			}
			all[name] = text
		}
	}
	return all
}

func TestMessageKey(t *testing.T) {
	for _, row := range []struct {
		status int
		code   string
		want   string
	}{
		{403, "not_member", "not_member"}, {403, "new", "forbidden"}, {401, "new", "unauthenticated"},
		{404, "new", "not_found"}, {429, "new", "too_many_attempts"},
		{418, "new", "bad_request"}, {502, "new", "bad_gateway"}, {503, "new", "unready"}, {507, "new", "internal"},
		{500, "", "internal"},
	} {
		if got := messageKey(&web.Error{Status: row.status, Code: row.code}); got != row.want {
			t.Errorf("messageKey(%d %q) = %q, want %q", row.status, row.code, got, row.want)
		}
	}
}

// inCode finds codes in the source: in the literals of web.Error and identity.Failure, and after a
// class (`identity.Refused, "not_member"`).
var inCode = regexp.MustCompile(
	`(?:\bError\{|\bFailure\{)[^{}]*?Code:\s*"([a-z_]+)"|identity\.(?:Internal|Refused|Restart|Operator|Later), ` +
		`"([a-z_]+)"`,
)

// TestCodesUsed: every code that the program uses has a message of its own.
func TestCodesUsed(t *testing.T) {
	found := 0
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range inCode.FindAllStringSubmatch(string(text), -1) {
			found++
			if code := match[1] + match[2]; zhMessages[code] == (message{}) {
				t.Errorf("%s uses the code %q, which has no message: add one to messages_zh.go and messages_en.go",
					path, code)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Error("found no code at all")
	}
}
