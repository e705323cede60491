package identity

import (
	"net/url"
	"strings"
	"testing"
)

func TestEncode(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "zhangsan": "zhangsan", "zhangsan@example.com": "zhangsan@example.com", "Zhang San": "Zhang San",
		"张三": "%E5%BC%A0%E4%B8%89", "a%b": "a%25b",
		" a": "%20a", "a\r\nX-Evil: 1": "a%0D%0AX-Evil%3A%201", "a\x00": "a%00", "\u202ea": "%E2%80%AEa",
	} {
		if got := Encode(in); got != want {
			t.Errorf("Encode(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("张三, 100%\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		got := Encode(s)
		if back, err := url.PathUnescape(got); err != nil || back != s {
			t.Errorf("Encode(%q) = %q, decoded %q, %v", s, got, back, err)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
			t.Errorf("Encode(%q) = %q is no header value", s, got)
		}
	})
}

func TestRender(t *testing.T) {
	u := &User{
		UnionID:     "U1",
		UserID:      "zhangsan",
		Username:    "zhangsan",
		Name:        "张三",
		Email:       "z@corp.test",
		JobNumber:   "007",
		Departments: []int64{2, 42},
		Roles:       []Role{{1, "主管"}, {2, "a,b"}, {3, "ops"}},
	}
	var rules HeaderRules
	for _, f := range Fields {
		rules = append(rules, HeaderRule{"X-" + f, f})
	}
	want := map[string]string{"X-username": "zhangsan", "X-email": "z@corp.test", "X-name": "%E5%BC%A0%E4%B8%89",
		"X-groups": "%E4%B8%BB%E7%AE%A1,a%2Cb,ops", "X-roles": "%E4%B8%BB%E7%AE%A1,a%2Cb,ops",
		"X-departments": "2,42", "X-userid": "zhangsan", "X-unionid": "U1", "X-job_number": "007",
		"X-access_token": "T"}
	for _, h := range rules.Render(u, Token{Access: "T"}) {
		if len(h.Value) != 1 || h.Value[0] != want[h.Name] {
			t.Errorf("Render %s = %q, want %q", h.Name, h.Value, want[h.Name])
		}
	}
	for _, h := range rules.Render(nil, Token{Access: "T"}) {
		if len(h.Value) != 1 || h.Value[0] != "" {
			t.Errorf("Render(nil) %s = %q, want it there and empty", h.Name, h.Value)
		}
	}
	for range 500 {
		u.Roles = append(u.Roles, Role{9, strings.Repeat("很", 20)})
	}
	if h := (HeaderRules{{"G", "groups"}}).Render(u, Token{}); len(h[0].Value[0]) > maxListLength ||
		strings.HasSuffix(h[0].Value[0], "%") {
		t.Errorf("Render of 500 roles is %d bytes, want at most %d and whole names", len(h[0].Value[0]), maxListLength)
	}
}

func TestNormalizeEmail(t *testing.T) {
	for in, want := range map[string]string{
		"Zhang.San@Example.COM": "zhang.san@example.com", "": "", "a": "", "@b": "", "a@": "", "a@b@c": "",
		"a b@c": "", "a@b,c": "", "<a@b>": "", "a@b.": "", "a@b\r\n": "", `"a"@b`: "", "a@b;c@d": "",
		"a+x@b.cn": "a+x@b.cn", "\u212aate@b.cn": "", "a@b\u3002cn": "",
	} {
		if got := NormalizeEmail(in); got != want {
			t.Errorf("NormalizeEmail(%q) = %q, want %q", in, got, want)
		}
	}
}
