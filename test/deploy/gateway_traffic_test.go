package deploy_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// gatewayDeepLink signs in from a deep link and returns to exactly that page.
func gatewayDeepLink(t *testing.T, h *gatewayEnv) {
	for _, path := range []string{
		"/reports/%E5%BC%A0%E4%B8%89?x=1&y=2&name=%E5%BC%A0%E4%B8%89",
		"/a%2Fb/c?next=%2Fpublic%2F&u=https://example.com//x&e=%26%3D%25",
		"/a/b+c%20d?q=a+b%20c&q=2&&=&rd=//evil.example/",
	} {
		v := h.visitor()
		back := v.signIn(path, "zhangsan")
		if back != h.base+path {
			t.Errorf("signing in from %s ends at %s, want the same page", path, back)
		}
		h.app.takeRequests()
		res := v.open(back)
		if got := h.app.takeRequests(); res.StatusCode != 200 || len(got) != 1 || got[0].uri != path {
			t.Errorf("GET %s after the sign-in = %d, the application got %v, want it as sent", path, res.StatusCode,
				got)
		}
	}
}

// gatewayCookies checks that the application receives its own cookies unchanged and none of dinggate's,
// at any position in the Cookie header (threats B2, C13).
func gatewayCookies(t *testing.T, h *gatewayEnv, v *gatewayVisitor) {
	ours := ""
	for pair := range strings.SplitSeq(v.cookies(), "; ") {
		if strings.HasPrefix(strings.TrimPrefix(pair, "Cookie: "), "dinggate=") {
			ours = strings.TrimPrefix(pair, "Cookie: ")
		}
	}
	if ours == "" {
		t.Fatalf("no session among the visitor's cookies")
	}
	for _, c := range []struct{ sent, want string }{
		{ours, ""},
		{"a=1; " + ours, "a=1"},
		{ours + "; a=1", "a=1"},
		{"a=1; " + ours + "; b=x=y", "a=1; b=x=y"},
		{"a-dinggate=1; " + ours + "; dinggatex=2", "a-dinggate=1; dinggatex=2"},
		{`a="q; r"; ` + ours, `a="q; r"`},
		{"a=1; " + ours + "; dinggate=planted", "a=1"},
		{"dinggate=planted; " + ours + "; a=1", "a=1"},
		{"__Host-dinggate=planted; a=1; " + ours, "a=1"},
		{"dinggate-attempt-0=x; a=1; " + ours + "; __Host-dinggate-attempt-4=x", "a=1"},
		{"dinggate-lang=zh; a=1; dinggate-link=x; " + ours + "; b=2; dinggate-hand-over=x; c=3; dinggate-attempt-5=x", "a=1; b=2; c=3"},
		{"dinggate-theme=1; " + ours + "; dinggate-attempt=2; dinggate-links=3", "dinggate-theme=1; dinggate-attempt=2; dinggate-links=3"},
	} {
		h.app.takeRequests()
		res := h.visitor().do("GET", "/a", "", "Cookie: "+c.sent)
		got := h.app.takeRequests()
		if res.StatusCode != 200 || len(got) != 1 {
			t.Errorf(
				"GET /a with the session among %d bytes of cookies = %d, the application got %d requests, want "+
					"200 and one", len(c.sent), res.StatusCode, len(got),
			)
		} else if have := strings.TrimRight(strings.Join(got[0].header["Cookie"], "; "), "; "); have != c.want {
			t.Errorf("the application got the cookies %q, want %q", have, c.want)
		}
	}
}

// gatewayBodies sends uploads that are smaller and larger than every gateway's buffers.
func gatewayBodies(t *testing.T, h *gatewayEnv, people map[string]*gatewayVisitor) {
	for _, c := range []struct {
		size    int
		who     string
		chunked bool
		status  int
	}{
		{300 << 10, "zhangsan", false, 200},
		{2 << 20, "zhangsan", false, 200},
		{300 << 10, "zhangsan", true, 200},
		{2 << 20, "zhangsan", true, 200},
		{300 << 10, "", false, 401},
		{2 << 20, "", false, 401},
		{2 << 20, "", true, 401},
	} {
		body := strings.Repeat("钉钉 upload ", c.size/14+1)[:c.size]
		var reader io.Reader = strings.NewReader(body)
		if c.chunked {
			reader = io.MultiReader(reader) // of unknown length
		}
		r, err := http.NewRequest("POST", h.base+"/upload", reader)
		if err != nil {
			t.Fatal(err)
		}
		h.app.takeRequests()
		res, err := people[c.who].client.Do(r)
		if err != nil {
			if c.status == 401 { // refused and closed before all was sent: a client may see either
				t.Logf("POST of %d bytes without session: %v", c.size, err)
			} else {
				t.Errorf("POST of %d bytes, chunked %v: %v", c.size, c.chunked, err)
			}
		} else {
			res.Body.Close()
			if res.StatusCode != c.status {
				t.Errorf("POST of %d bytes, chunked %v, by %q = %d, want %d", c.size, c.chunked, c.who,
					res.StatusCode, c.status)
			}
		}
		got := h.app.takeRequests()
		if c.status != 200 {
			if len(got) > 0 {
				t.Errorf("POST of %d bytes without session reached the application", c.size)
			}
			continue
		}
		if want := fmt.Sprintf("%d %x", c.size, sha256.Sum256([]byte(body))); len(got) != 1 || got[0].body != want {
			t.Errorf("POST of %d bytes, chunked %v: the application got %v, want %s", c.size, c.chunked, got, want)
		}
	}
}

func gatewaySockets(t *testing.T, h *gatewayEnv, people map[string]*gatewayVisitor) {
	for _, c := range []struct {
		who, path string
		status    int
	}{
		{"zhangsan", "/socket", 101},
		{"zhangsan", "/admin/socket", 101},
		{"", "/public/socket", 101},
		{"", "/socket", 401},
		{"zhaoliu", "/admin/socket", 403},
	} {
		h.app.takeRequests()
		echo, status := people[c.who].echo(c.path, "钉钉 ping")
		got := h.app.takeRequests()
		if status != c.status || (status == 101) != (echo == "钉钉 ping") {
			t.Errorf("WebSocket %s by %q = %d %q, want %d", c.path, c.who, status, echo, c.status)
		}
		if (c.status == 101) != (len(got) == 1) {
			t.Errorf("WebSocket %s by %q: the application got %v", c.path, c.who, got)
		} else if c.status == 101 {
			gatewayIdentity(t, h, "WebSocket "+c.path, got[0], gatewayPeople[c.who])
		}
	}
}

// gatewayUpgrades checks that an application receives no upgrade to a protocol other than
// WebSocket, because requests inside the other protocol would not be authorized (threats M6).
func gatewayUpgrades(t *testing.T, h *gatewayEnv, people map[string]*gatewayVisitor) {
	for _, token := range []string{"h2c", "H2C", "websocket, h2c", "TLS/1.0", "websocket2", "foo",
		"h2c\nUpgrade: websocket", "websocket\nUpgrade: h2c", "foo\nUpgrade: websocket", "websocket\nUpgrade: foo",
		"websocket, foo"} {
		for who, path := range map[string]string{"": "/public/x", "zhangsan": "/a"} {
			h.app.takeRequests()
			res := people[who].do("GET", path, "",
				append(strings.Split("Upgrade: "+token, "\n"), "Connection: Upgrade, HTTP2-Settings",
					"HTTP2-Settings: AAMAAABkAAQAAP__")...)
			for _, got := range h.app.takeRequests() {
				if v := strings.Join(got.header["Upgrade"], ", "); v != "" && !strings.EqualFold(v, "websocket") {
					t.Errorf("Upgrade: %s by %q = %d, and the application got %q", token, who, res.StatusCode, v)
				}
			}
			if res.StatusCode == 101 {
				t.Errorf("Upgrade: %s by %q became a tunnel", token, who)
			}
		}
	}
}

// gatewayForeignHost claims another host, to which another rule might apply.
func gatewayForeignHost(t *testing.T, h *gatewayEnv, member *gatewayVisitor, status int) {
	h.app.takeRequests()
	res := member.page("/public/x", "Host: evil.example")
	if got := h.app.takeRequests(); res.StatusCode != status || len(got) > 0 {
		t.Errorf("GET with Host evil.example = %d, the application got %v, want %d and nothing", res.StatusCode, got,
			status)
	}
}
