package docs

import (
	"regexp"
	"strings"
	"testing"
)

// limits are the numbers that operating.md gives and the constants they come from:
// the row of the table begins with row and holds says.
var limits = []struct{ constant, row, rowZH, says, saysZH string }{
	{`readHeader\w+ += 10 \* time\.Second`, "request header, complete", "收齐请求头", "10 s", "10 秒"},
	{`maxHeaderBytes +(?:int +)?= 64 << 10`, "size of the header", "请求头大小", "68 KiB", "68 KiB"}, // net/http adds 4 KiB
	{`maxCookies +(?:int +)?= 3_?000`, "cookies of a request", "一个请求的 Cookie", "3,000", "3,000"},
	{`maxCookieBytes +(?:int +)?= 48 << 10`, "cookies of a request", "一个请求的 Cookie", "48 KiB", "48 KiB"},
	{`\bidle\w+ += 2 \* time\.Minute`, "idle connection", "空闲连接", "2 min", "2 分钟"},
	{`\w*[bB]ody\w* += 10 \* time\.Second`, "body to our own endpoints", "发往自有端点的请求体", "10 s", "10 秒"},
	{`MaxForm += 8 << 10`, "body to our own endpoints", "发往自有端点的请求体", "8 KiB", "8 KiB"},
	{`maxBody +(?:int +)?= 8 << 10`, "body to our own endpoints", "发往自有端点的请求体", "token request 8 KiB", "令牌请求 8 KiB"},
	{`maxSilent +(?:int +)?= 4 << 10`, "body to our own endpoints", "发往自有端点的请求体", "4 KiB", "4 KiB"},
	{`MaxBytesReader\(w, r\.Body, 64<<10\)`, "body to our own endpoints", "发往自有端点的请求体", "64 KiB", "64 KiB"},
	{`MaxWatches, 50_?000\)`, "open WebSockets and streams", "用户打开的 WebSocket 和流", "50,000", "50,000"},
	{`leastSessions += 10_?000`, "verified sessions in memory", "内存中已验证的会话", "10,000", "10,000"},
	{`mostSessions += 50_?000`, "verified sessions in memory", "内存中已验证的会话", "50,000", "50,000"},
	{`writeAtMost += 4 << 20`, "log records that wait", "等待写出的日志", "4 MiB", "4 MiB"},
	{`startsLimit += ratelimit\.Rate\{Every: time\.Second / 20, Burst: 600\}`, "sign-ins begun by one client",
		"同一来源发起的登录", "20 a second, 600 at once", "突发 600"},
	{`exchangesLimit += ratelimit\.Rate\{Every: time\.Second / 5, Burst: 60\}`, "codes of one client",
		"同一来源未能登录成功的授权码", "5 a second, 60 at once", "60"},
	{`signInsLimit += ratelimit\.Rate\{Every: 10 \* time\.Second, Burst: 3_?000\}`,
		"sign-ins of one person or account", "同一人或同一账号的登录", "3,000 at once, then one in 10 s", "3,000"},
}

// TestLimits: the limits in operating.md are those of the program. A constant that
// has another form now needs another row here, and a look at the page.
func TestLimits(t *testing.T) {
	var source strings.Builder
	for _, folder := range []string{"account", "cmd", "dingtalk", "internal", "oidc", "proxy", "session", "store"} {
		for _, text := range goSource(t, folder) {
			source.WriteString(text)
		}
	}
	all := pages(t)
	for _, l := range limits {
		if !regexp.MustCompile(l.constant).MatchString(source.String()) {
			t.Errorf("no constant %s: what is the limit now, and does docs/operating.md say so?", l.constant)
		}
		for _, c := range []struct{ page, row, says string }{{"docs/operating.md", l.row, l.says},
			{"docs/operating.zh-CN.md", l.rowZH, l.saysZH}} {
			found := false
			for line := range strings.Lines(all[c.page].text) {
				found = found || strings.HasPrefix(line, "| "+c.row) && strings.Contains(line, c.says)
			}
			if !found {
				t.Errorf("%s has no row %q with %q", c.page, c.row, c.says)
			}
		}
	}
}
