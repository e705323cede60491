package account

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParseCSV(t *testing.T) {
	const h = "unionid,username\n"
	for _, tt := range []struct {
		name, text string
		want       []Binding
		bad        string // line numbers and what is wrong, joined
	}{
		{"plain", h + "U1,zhangsan\nU2,lisi\n", []Binding{{"U1", "zhangsan"}, {"U2", "lisi"}}, ""},
		{"with BOM, CRLF, blank lines, no end", "\xef\xbb\xbfunionid,username\r\nU1,zhangsan\r\n\r\n\nU2,张三",
			[]Binding{{"U1", "zhangsan"}, {"U2", "张三"}}, ""},
		{"quoted", h + `"U1","a,""b"""` + "\n", []Binding{{"U1", `a,"b"`}}, ""},
		{"header alone", h, nil, ""},
		{"empty", "", nil, "1 is not the header unionid,username"},
		{"no header", "U1,zhangsan\n", nil, "1 is not the header unionid,username"},
		{"header the other way round", "username,unionid\nU1,zhangsan\n", []Binding{{"U1", "zhangsan"}},
			"1 is not the header unionid,username"},
		{"UTF-16", "\xff\xfeu\x00n\x00", nil, "1 is UTF-16; save the file as CSV UTF-8"},
		{"GBK", h + "U1,\xd5\xc5\xc8\xfd\n", nil, "2 is not UTF-8; save the file as CSV UTF-8"},
		{"every bad line", h + "U1,a\nU2\n,b\nU3,\nU1,c\nU4,a\nU5,d,e\nU 6,f\n\"U7,g\nU8,h\n",
			[]Binding{{"U1", "a"}, {"U8", "h"}},
			"3 has 1 fields, not unionid,username|4 has no unionid|5 has no account name|6 repeats the unionid " +
				"of line 2|7 repeats the account of line 2|8 has 3 fields, not unionid,username|9 has a " +
				"unionid with characters that DingTalk never uses|10 has mismatched quotes"},
		{"a quoted line break is two bad lines", h + "\"U1\nX\",a\n", nil,
			"2 has mismatched quotes|3 has mismatched quotes"},
		{"blanks", h + "U1, a\n U2,b\n   \n", nil,
			"2 has spaces around a name|3 has a unionid with characters that DingTalk never uses|4 has 1 fields, " +
				"not unionid,username"},
		{"tricks", h + "U1,a\u202eb\nU2,a\x00b\nU3,a:b\nU4,a\rb\nU5,a\u2028b\nU6,a\u00a0b\n",
			[]Binding{{"U6", "a\u00a0b"}},
			"2 has a colon or an invisible character in a name|3 has a colon or an invisible character in a " +
				"name|4 has a colon or an invisible character in a name|5 has a colon or an invisible character " +
				"in a name|6 has a colon or an invisible character in a name"},
		{"formulas are names", h + "U1,=1+1\n", []Binding{{"U1", "=1+1"}}, ""},
		{"long", h + strings.Repeat("U", 129) + ",a\nU," + strings.Repeat("a", 129) + "\n", nil,
			"2 has a unionid longer than 128 bytes|3 has an account name longer than 128 bytes"},
		{"too large", strings.Repeat("x", MaxCSV+1), nil, "0 is larger than 16 MiB"},
	} {
		all, lines, bad := ParseCSV([]byte(tt.text))
		var texts []string
		for _, p := range bad {
			texts = append(texts, fmt.Sprintf("%d %s", p.Line, p.Text))
		}
		if got := strings.Join(texts, "|"); got != tt.bad {
			t.Errorf("%s: ParseCSV reports %q, want %q", tt.name, got, tt.bad)
		}
		if len(all)+len(tt.want) > 0 && !reflect.DeepEqual(all, tt.want) || len(lines) != len(all) {
			t.Errorf("%s: ParseCSV = %v (lines %v), want %v", tt.name, all, lines, tt.want)
		}
	}
}

// FuzzParseCSV: whatever comes, what is read is good both ways, every line is a
// binding, blank or reported, and what is written is read again.
func FuzzParseCSV(f *testing.F) {
	for _, seed := range []string{"", "unionid,username\nU1,a\n", "\xef\xbb\xbfunionid,username\r\nU1,\"a,\"\"\"\r\n",
		"unionid,username\nU1,a\nU1,b\nU2,a\n\"\n", "\xff\xfe"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		all, lines, bad := ParseCSV(text)
		if _, err := Plan(all, func(Binding) (Binding, error) { return Binding{}, ErrNone }); err != nil {
			t.Errorf("ParseCSV(%q) = %q, which cannot be stored: %v", text, all, err)
		}
		for i, line := range lines {
			if line < 2 || i > 0 && line <= lines[i-1] {
				t.Errorf("ParseCSV(%q): lines %v do not ascend", text, lines)
			}
		}
		for _, p := range bad {
			if p.Text.IsZero() || p.Line > bytes.Count(text, []byte("\n"))+1 {
				t.Errorf("ParseCSV(%q) reports %q in line %d", text, p.Text, p.Line)
			}
		}
		again, _, bad := ParseCSV(FormatCSV(all))
		if len(bad) > 0 || len(again)+len(all) > 0 && !reflect.DeepEqual(again, all) {
			t.Errorf("FormatCSV(%q) reads as %q, %v", all, again, bad)
		}
	})
}
