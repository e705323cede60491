package hostile

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// hostileTargets are return targets that leave the site, at least in some browser. The correct
// result for each is / or a refusal.
func hostileTargets() []string {
	var list []string
	add := func(targets ...string) { list = append(list, targets...) }

	// R1: two slashes begin a host, and browsers treat a backslash as a slash.
	for _, a := range []string{"/", `\`} {
		for _, b := range []string{"/", `\`} {
			for _, c := range []string{"", "/", `\`, "//"} {
				add(a+b+c+"evil.test", a+b+c+"evil.test/", a+b+c+"app.test@evil.test/x")
			}
		}
	}
	for _, dots := range []string{"/.", "/..", "/%2e", "/%2E%2e", "/.%2e", "/a/..", "/a/%2e%2e", "/./.", "/a/../.."} {
		for _, slashes := range []string{"//", `/\`, `\\`, "///"} {
			add(dots + slashes + "evil.test/")
		}
	}
	// R2: bytes that browsers drop or treat as blanks.
	for b := byte(0); b <= ' '; b++ {
		add(string(b)+"//evil.test/", "/"+string(b)+"/evil.test/", "https:"+string(b)+"//evil.test/")
	}
	for _, b := range []string{"\x7f", "\u00a0", "\u2028", "\u3000", "\ufeff", "\u200b", "\t\t", "\r\n", " \t "} {
		add(b+"//evil.test/", "/"+b+"/evil.test/", "ht"+b+"tps://evil.test/")
	}
	// R3: too few or too many slashes, other schemes.
	for _, scheme := range []string{"http", "https", "HTTPS", "hTtP"} {
		for _, slashes := range []string{":", ":/", "://", ":///", `:\`, `:\\`, `:/\`, `:\/`, ":////"} {
			add(scheme+slashes+"evil.test", scheme+slashes+"evil.test/path")
		}
	}
	for _, scheme := range []string{"javascript", "JaVaScRiPt", "data", "vbscript", "file", "ftp", "ws", "wss",
		"blob", "about", "mailto", "tel", "intent", "dingtalk", "view-source", "jar", "filesystem", "chrome", "x"} {
		add(scheme+":alert(1)", scheme+"://evil.test/", scheme+"://app.test/", scheme+"://%0aalert(1)")
	}
	// R4: a user name in front of the host.
	for _, at := range []string{"@", "%40", ":443@", ":x@", "%2f@", "/@", `\@`, "#@", "?@", "%00@", ";@", "&@"} {
		add("https://app.test"+at+"evil.test/", "//app.test"+at+"evil.test/")
	}
	add("https://user@app.test/", "https://user:pass@app.test/", "https://@app.test/", "https://:@app.test/")
	// R5: hosts that resemble ours.
	for _, host := range []string{
		"app.test.evil.test", "evilapp.test", "app.testevil", "app-test", "app.tes", "pp.test", "xapp.test",
		"app.test.", "app.test..", ".app.test", "app..test",
		"ａｐｐ.test", "app．test", "app。test", "app｡test", "app.te\u200bst", "\u200bapp.test", "app.te\u00adst",
		"xn--app-.test", "xn--pp-8ia.test", "аpp.test", "app.tеst", "APP.TEST.EVIL.TEST",
		"app.test%2eevil.test", "app%2etest", "%61pp.test", "app.test%00.evil.test", "app.test%23.evil.test",
		"app.test%3f.evil.test", "[::1]", "127.0.0.1", "2130706433", "0x7f.1", "localhost", "sub.app.test",
		"other.test.evil.test", "friend.test.evil.test", "evil.test",
		"ﬀ.test", "ﾠapp.test", "app.test\u2024", "app\u2215.test", "app.test\uff0fevil.test",
		"evil.test\uff03app.test", "evil.test\uff20app.test",
	} {
		if host != "app.test." { // one final dot is the same host: the result is canonical
			add("https://"+host+"/", "//"+host+"/")
		}
	}
	// R6: another port, or no TLS.
	for _, port := range []string{":80", ":8443", ":0", ":65536", ":4430", ":x", ":-1", ":0443x", ":443443", ":４４３"} {
		add("https://app.test"+port+"/", "http://app.test"+port+"/")
	}
	add("http://app.test/", "http://app.test:443/", "http://other.test/", "http://friend.test/")
	// R7: line breaks, and text that some decoder turns into one.
	for _, crlf := range []string{"\r\n", "\r", "\n", "%0d%0a", "%0D%0A", "嘊嘍", "%E5%98%8A%E5%98%8D", "\u0085",
		"\u2028", "\\r\\n"} {
		add("//evil.test/"+crlf+"Set-Cookie:x=1", crlf+"//evil.test/", "https://evil.test/"+crlf)
	}
	for _, line := range []string{"/a\r\nLocation: //evil.test/", "/a\nSet-Cookie: __Host-dinggate=x",
		"/\r\n\r\n<script>"} {
		add(line)
	}
	// Our own endpoints are not valid return targets.
	add("/oauth2/start", "/oauth2/start?rd=//evil.test", "/oauth2/sign_out?rd=https://evil.test",
		"/oauth2/callback?state=x", "/oauth2/../oauth2/start", "/%6fauth2/start", "https://app.test/oauth2/sign_out")
	// R12: longer than any cookie.
	add("/"+strings.Repeat("a", 64<<10-200), "/"+strings.Repeat("a", 1025),
		"https://app.test/"+strings.Repeat("%20", 2000))
	slices.Sort(list)
	return slices.Compact(list)
}

// ownTargets are valid targets and the Location that each must result in.
var ownTargets = map[string]string{
	"/": "/", "/a": "/a", "/a?b=1&c=2": "/a?b=1&c=2", "/a/b//c": "/a/b//c", "/a%2Fb": "/a%2Fb",
	"/a?rd=%2F%2Fevil.test":         "/a?rd=%2F%2Fevil.test",
	"/a?next=https://evil.test/":    "/a?next=https://evil.test/", // R10: dinggate never follows it
	"/a?next=//evil.test&x=%5Cevil": "/a?next=//evil.test&x=%5Cevil",
	"/%252f%252fevil.test":          "/%252f%252fevil.test", // R8: one path on our site
	"/%25252f":                      "/%25252f",
	"/https://evil.test":            "/https://evil.test",
	"/a@evil.test":                  "/a@evil.test", "/:80/evil": "/:80/evil", "/;/evil.test": "/;/evil.test",
	"https://app.test/x": "/x", "https://app.test:443/x": "/x", "https://APP.test/x": "/x",
	"HTTPS://app.test/x?y": "/x?y", "https://app.test./x": "/x", "https://app.test": "/",
	"https://friend.test/x": "https://friend.test/x", "https://Friend.Test:443/x": "https://friend.test/x",
	"/报表":    "/%E6%8A%A5%E8%A1%A8",
	"/嘊嘍Set": "/%E5%98%8A%E5%98%8DSet", // R7: its bytes contain no line break and are encoded separately
}

// corpus reads the WHATWG's test data, which is part of the module of the test's URL parser.
func corpus() (inputs []string) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/nlnwa/whatwg-url").Output()
	if err != nil {
		return nil
	}
	var rows []any
	readJSON(filepath.Join(strings.TrimSpace(string(dir)), "testdata", "urltestdata.json"), &rows)
	for _, row := range rows {
		if m, ok := row.(map[string]any); ok {
			inputs = append(inputs, m["input"].(string))
		}
	}
	rows = nil
	readJSON(filepath.Join(strings.TrimSpace(string(dir)), "testdata", "toascii.json"), &rows)
	for _, row := range rows {
		if m, ok := row.(map[string]any); ok {
			inputs = append(inputs, "https://"+m["input"].(string)+"/")
		}
	}
	slices.Sort(inputs)
	return slices.Compact(inputs)
}

func readJSON(file string, v any) {
	if b, err := os.ReadFile(file); err == nil {
		json.Unmarshal(b, v)
	}
}
