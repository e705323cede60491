package config

import (
	"fmt"
	"strings"
	"testing"

	"dinggate/internal/i18n"
)

// TestMisprints checks that characters inserted by an input method or an editor are
// reported with their line, in both languages, and that no message contains the value.
func TestMisprints(t *testing.T) {
	for _, tt := range []struct {
		yaml string
		line int
		want string
	}{
		{"public_url：https://canary.example.com\n", 1, wideColon.Format},
		{"public_url：https://canary.example.com\nlisten: 127.0.0.1:0\n", 1, wideColon.Format},
		{"listen: 127.0.0.1:0\nprefix：/canary\npath_case: sensitive\n", 2, wideColon.Format},
		{"session:\n  lifetime：8h\n  idle：1h\n", 2, "session " + wideColon.Format},
		{"session:\n  lifetime: 8h\n  idle：canary\nprefix: /x\n", 3, wideColon.Format},
		{"cookie：\n  secrets: [canary]\n", 1, wideColon.Format},
		{"session: {lifetime：8h, idle: 1h}\n", 1, "session " + wideColon.Format},
		{"session: {lifetime: 8h，idle: 1h}\n", 1, wideComma.Format},
		{"session: {lifetime: 8h，idle：1h}\n", 1, "session.lifetime " + wideColon.Format},
		{"session: {lifetime: 8h， idle: 1h}\n", 1, wideComma.Format},
		{"routes:\n  - path：/canary\n    access: public\n", 2, wideColon.Format},
		{"# 注意：中文注释里的全角冒号没有关系\nlisten: 127.0.0.1:0\nprefix：/canary\npath_case: sensitive\n", 3, wideColon.Format},
		{"session:\n\tlifetime: 8h\n", 2, tabIndent.Format},
		{"session:\n  lifetime: 8h\n\tidle: 1h\n", 3, tabIndent.Format},
		{"session:\n  \tlifetime: 8h\n", 2, tabIndent.Format},
		{"routes:\r\n  - path: /canary\r\n\t  access: public\r\n", 3, tabIndent.Format},
		{"session:\n\u3000\u3000lifetime: 8h\n", 2, wideIndent.Format},
		{"session:\n\u00a0\u00a0lifetime: 8h\n", 2, wideIndent.Format},
		{"session:\n  lifetime:8h\n  idle: 1h\n", 2, bareColon.Format},
		{"session:\n  lifetime:8h\n", 2, "session " + bareColon.Format},
		{"sign_in:\n  title: \xc4\xe3\xba\xc3\n", 2, notUTF8.Format},                 // 你好 as GBK
		{"prefix: /x\n# \xd7\xa2\xca\xcd\nlisten: 127.0.0.1:0\n", 2, notUTF8.Format}, // a comment is checked too
	} {
		_, problems := loadText(tt.yaml, nil, required)
		var all []string
		for _, p := range problems {
			all = append(all, p.String())
			if zh := i18n.Chinese.Problem(p); strings.Contains(p.String()+zh, "canary") || zh == p.String() {
				t.Errorf("load(%q) says %q, in Chinese %q", tt.yaml, p, zh)
			}
		}
		if want := fmt.Sprintf("config.yaml:%d: %s", tt.line, tt.want); !strings.Contains(strings.Join(all, "\n")+
			"\n", want+"\n") {
			t.Errorf("load(%q) = %q, want %q", tt.yaml, all, want)
		}
	}
	// Texts that resemble a misprint and are valid.
	for _, yaml := range []string{
		"\ufeffpublic_url: https://app.example.com\r\nlisten: 127.0.0.1:0\r\n",
		"sign_in: {title: 公司：登录，欢迎}\n", "sign_in:\n  title: \"公司：登录\"\n",
		"prefix:\t/x\n", "sign_in:\n  title: a\tb\n", "public_url : https://app.example.com\n",
	} {
		if _, problems := loadText(yaml, nil, required); len(problems) > 0 {
			t.Errorf("load(%q) = %v, want no problem", yaml, problems)
		}
	}
}
