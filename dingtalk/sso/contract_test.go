package sso

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestParseTokenRequest(t *testing.T) {
	for _, row := range []struct {
		body string
		want TokenRequest
	}{
		{"code=a&state=b", TokenRequest{Code: "a", State: "b", RawState: "b", StateGiven: true}},
		{"state=b&code=a\n", TokenRequest{Code: "a", State: "b", RawState: "b", StateGiven: true}},
		{"code=a&state=b\r\n", TokenRequest{Code: "a", State: "b", RawState: "b", StateGiven: true}},
		{"code=a&state=x+y/z=", TokenRequest{Code: "a", State: "x y/z=", RawState: "x+y/z=", StateGiven: true}},
		{"code=%61&state=x%2By", TokenRequest{Code: "a", State: "x+y", RawState: "x%2By", StateGiven: true}},
		{"code=a&state=", TokenRequest{Code: "a", StateGiven: true}},
		{"code=a", TokenRequest{Code: "a"}},
		{"grant_type=refresh_token&refresh_token=r&unknown=1", TokenRequest{
			GrantType:    "refresh_token",
			RefreshToken: "r",
		}},
		{"code=a&state=b&client_id=c&Other=", TokenRequest{
			Code:       "a",
			State:      "b",
			RawState:   "b",
			StateGiven: true,
			ClientID:   "c",
		}},
	} {
		if got, err := ParseTokenRequest(row.body); err != nil || got != row.want {
			t.Errorf("ParseTokenRequest(%q) = %+v, %v, want %+v", row.body, got, err, row.want)
		}
	}
	for _, body := range []string{ // T12
		"", "\n", "code", "code=a&code=b", "code=a&state=b&code=a", "code=a&Code=b", "code=a&state=b&STATE=b",
		"code[]=a&state=b", "code[0]=a", "code=a;state=b", "code=a&state=b;", "code=a&&state=b",
		"code=a&state=b&", "&code=a", "=a&state=b", "\ufeffcode=a&state=b", " code=a&state=b", "code=a &state=b",
		"code=a\n&state=b", "code=a&state=b\n\n", "code=a&state=%", "code=a&state=%zz", "code=a&state=%0a",
		"code=a&state=%00", "code=%ff&state=b",
		"code=a\x00&state=b", "code=a&state=\x7f", "code=张&state=b", `{"code":"a","state":"b"}`, `"code=a&state=b"`,
		"<code>a</code>", "co%64e=a&state=b",
	} {
		if got, err := ParseTokenRequest(body); err == nil {
			t.Errorf("ParseTokenRequest(%q) = %+v, want an error", body, got)
		}
	}
}

func TestParseBasic(t *testing.T) {
	enc := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, line := range []string{enc("app:secret"), strings.Replace(enc("app:secret"), "Basic", "basic", 1),
		strings.Replace(enc("app:secret"), " ", "   ", 1), enc("应用:密码"), enc("app:a:b")} {
		if id, secret, err := parseBasic(http.Header{"Authorization": {line}}); err != nil || id == "" || secret == "" {
			t.Errorf("parseBasic(%q) = %q, %q, %v", line, id, secret, err)
		}
	}
	good := enc("app:secret")
	for _, lines := range [][]string{ // T4
		nil, {""}, {good, good}, {"Basic"}, {"Basic "}, {"Bearer " + good[6:]}, {good[6:]}, {"Basic" + good[6:]},
		{"Basic\t" + good[6:]}, {strings.TrimRight(good, "=")}, {good + "="}, {good + " "}, {good + "\n"},
		{good[:8] + "\n" + good[8:]}, {"Basic !!!"},
		{enc("app")}, {enc(":secret")}, {enc("app:")}, {enc(":")}, {enc("app:sec\x00ret")}, {enc("app:sec\nret")},
		{enc("app:\xff")}, {enc("app:" + strings.Repeat("x", maxSecret+1))},
		{enc(strings.Repeat("x", maxName+1) + ":s")}, {"Basic " + strings.Repeat("QUJD", 20_000)},
		{"Basic YXBwOnNlY3JldB=="}, {`Basic "` + good[6:] + `"`}, {good + "," + good},
		{"Basic " + base64.URLEncoding.EncodeToString([]byte("app:\u00ff\u00fe\u00ff?>"))},
	} {
		if id, _, err := parseBasic(http.Header{"Authorization": lines}); err == nil {
			t.Errorf("parseBasic(%.80q) = %q, want an error", lines, id)
		}
	}
}

func TestAccepts(t *testing.T) { // R14, R15
	exact := App{RedirectURLs: []string{"https://other.test/callback", "https://other.test/with?tenant=1",
		"http://localhost:8080/cb"}}
	loose := App{RedirectURLs: exact.RedirectURLs, AllowQuery: true}
	for _, row := range []struct {
		url          string
		exact, loose bool
	}{
		{"https://other.test/callback", true, true}, {"https://other.test/with?tenant=1", true, true},
		{"http://localhost:8080/cb", true, true},
		{"https://other.test/callback?", false, true}, {"https://other.test/callback?a=b", false, true},
		{"https://other.test/with?tenant=2", false, true}, {"https://other.test/with", false, true},
		{"https://other.test/callback?next=https://evil.test/", false, true},
		{"", false, false}, {"https://other.test", false, false}, {"https://other.test/", false, false},
		{"https://other.test/callback/", false, false}, {"https://other.test/callback/x", false, false},
		{"https://other.test/callback#", false, false}, {"https://other.test/callback?a#b", false, false},
		{"https://other.test/./callback", false, false}, {"https://other.test/x/../callback", false, false},
		{"https://other.test/callback%2f", false, false}, {"https://other.test/%63allback", false, false},
		{"https://other.test//callback", false, false}, {"https://other.test/Callback", false, false},
		{"HTTPS://other.test/callback", false, false}, {"https://OTHER.test/callback", false, false},
		{"http://other.test/callback", false, false}, {"https://other.test:443/callback", false, false},
		{"https://other.test:8443/callback", false, false}, {"//other.test/callback", false, false},
		{"/callback", false, false},
		{"https://user@other.test/callback", false, false}, {"https://other.test@evil.test/callback", false, false},
		{"https://other.test.evil.test/callback", false, false}, {"https://other.test./callback", false, false},
		{`https://other.test\callback`, false, false}, {`https://other.test/callback?\`, false, false},
		{" https://other.test/callback", false, false}, {"https://other.test/callback ", false, false},
		{"https://other.test/callback\n", false, false}, {"https://other.test/callback\x00", false, false},
		{"https://other.test/callback?a\r\nb", false, false}, {"https://other.test/callback?张", false, false},
		{"https://other.test/callback;x", false, false},
		{"javascript:alert(1)", false, false},
		{"https://other.test/callback?" + strings.Repeat("x", maxURL), false, false},
	} {
		if got := exact.accepts(row.url); got != row.exact {
			t.Errorf("accepts(%.80q) = %v, want %v", row.url, got, row.exact)
		}
		if got := loose.accepts(row.url); got != row.loose {
			t.Errorf("with allow_query accepts(%.80q) = %v, want %v", row.url, got, row.loose)
		}
	}
}

func TestWithAnswer(t *testing.T) { // R18
	for _, row := range [][2]string{
		{"https://o.test/cb", "https://o.test/cb?code=C&state=S"},
		{"https://o.test/cb?", "https://o.test/cb?code=C&state=S"},
		{"https://o.test/cb?a=1", "https://o.test/cb?a=1&code=C&state=S"},
		{"https://o.test/cb?code=old&a=%2f&state=old&state=", "https://o.test/cb?a=%2f&code=C&state=S"},
		{"https://o.test/cb?c%6fde=old&%73tate=old&a", "https://o.test/cb?a&code=C&state=S"},
		{"https://o.test/cb?Code=theirs&codes=x", "https://o.test/cb?Code=theirs&codes=x&code=C&state=S"},
	} {
		if got := withAnswer(row[0], "C", "S"); got != row[1] {
			t.Errorf("withAnswer(%q) = %q, want %q", row[0], got, row[1])
		}
	}
	if got := withAnswer("https://o.test/cb", "C",
		"a&b=c d\r\n张"); got != "https://o.test/cb?code=C&state=a%26b%3Dc+d%0D%0A%E5%BC%A0" {
		t.Errorf("withAnswer with an odd state = %q", got)
	}
}

func TestReadToken(t *testing.T) {
	for _, row := range []struct {
		body            string
		access, refresh string
		life            time.Duration
	}{
		{`{"access_token":"5b14","expiry_in":7200,"refresh_token":"ab76","token_type":"Bearer"}`, "5b14", "ab76",
			2 * time.Hour},
		{`{"access_token":"a","expires_in":"60","token_type":"bearer"}`, "a", "", time.Minute},
		{`{"access_token":"a","expiry_in":"60","expires_in":70}`, "a", "", time.Minute},
		{`{"access_token":"a","expiry_in":60.5,"refresh_token":null,"scope":["x",{"y":1}]}`, "a", "", time.Minute},
		{"\ufeff {\"access_token\":\"a\"}\r\n", "a", "", 0},
	} {
		access, refresh, life, err := readToken([]byte(row.body))
		if err != nil || access != row.access || refresh != row.refresh || life != row.life {
			t.Errorf("readToken(%s) = %q, %q, %v, %v", row.body, access, refresh, life, err)
		}
	}
	for _, body := range []string{
		``, `null`, `[]`, `"a"`, `{}`, `{"access_token":""}`, `{"access_token":1}`, `{"access_token":"a b"}`,
		`{"access_token":"a\nb"}`, `{"access_token":"a","access_token":"b"}`, `{"access_token":"a"}{}`,
		`{"access_token":"a"} x`, `{"access_token":"a",}`, `{'access_token':'a'}`,
		`{"access_token":"a","token_type":"mac"}`, `{"access_token":"a","expiry_in":-1}`,
		`{"access_token":"a","expiry_in":1e999}`, `{"access_token":"a","expiry_in":"soon"}`,
		`{"access_token":"a","expiry_in":true}`, `{"access_token":"a","refresh_token":"a b"}`, `{"Access_Token":"a"}`,
		`<html>`, `{"access_token":"a"`, `{"access_token":"` + strings.Repeat("x", maxToken+1) + `"}`,
	} {
		if access, _, _, err := readToken([]byte(body)); err == nil {
			t.Errorf("readToken(%.80s) = %q, want an error", body, access)
		}
	}
}

func TestReadUser(t *testing.T) {
	u, err := readUser([]byte(`{"username":"xxx","email":"xxx@example.com"}`))
	if err != nil || u.Username != "xxx" || u.Email != "xxx@example.com" {
		t.Errorf("the document's sample = %+v, %v", u, err)
	}
	u, err = readUser(
		[]byte(
			`{"username":"张三","email":null,"departments":[1,"x"],"roles":[{"id":1}],"userid":7,"unionid":"u",` +
				`"name":"张\n三"}`,
		),
	)
	if err != nil || u.Username != "张三" || u.Departments != nil || u.Roles != nil || u.UserID != "" ||
		u.UnionID != "u" || u.Name != "" {
		t.Errorf("an answer with odd extras = %+v, %v, want them left out", u, err)
	}
	for _, body := range []string{`{"email":"a@b"}`, `{"username":""}`, `{"username":" a"}`, `{"username":"a\r\nb"}`,
		`{"username":1}`, `{"username":"a","email":1}`, `{"username":"a","username":"b"}`,
		`{"username":"` + strings.Repeat("x", 256) + `"}`, `{"data":{"username":"a"}}`} {
		if u, err := readUser([]byte(body)); err == nil {
			t.Errorf("readUser(%.80s) = %+v, want an error", body, u)
		}
	}
}

// Law: parsing and writing a body is stable, and a body with an additional duplicate
// parameter is refused.
func FuzzTokenRequest(f *testing.F) {
	for _, s := range []string{"code=a&state=b", "grant_type=refresh_token&refresh_token=r", "code=%26&state=a+b%2B",
		"state=\x00", "code=a&code=a", "code=a;b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		q, err := ParseTokenRequest(body)
		if err != nil {
			return
		}
		if strings.Contains(body, "code=") && q.Code != "" {
			if _, err := ParseTokenRequest(strings.TrimRight(body, "\r\n") + "&code=x"); err == nil {
				t.Errorf("%q and another code is accepted", body)
			}
		}
		written := q.String()
		if written == "" {
			return
		}
		again, err := ParseTokenRequest(written)
		plus := func(s string) string { return strings.ReplaceAll(s, "+", " ") } // `+` is sent unencoded, see String
		if err != nil || again.Code != plus(q.Code) || again.State != plus(q.State) ||
			again.RefreshToken != plus(q.RefreshToken) || again.GrantType != plus(q.GrantType) {
			t.Errorf("%q reads %+v, is written %q, reads %+v, %v", body, q, written, again, err)
		}
	})
}

// Law: written credentials are parsed to the same values, and parsed credentials are
// written to the same header.
func FuzzBasic(f *testing.F) {
	f.Add("app", "secret", "Basic YXBwOnNlY3JldA==")
	f.Add("a", ":", "basic  YTpi")
	f.Fuzz(func(t *testing.T, id, secret, line string) {
		gotID, gotSecret, err := parseBasic(http.Header{"Authorization": {basic(id, secret)}})
		if err == nil && !strings.Contains(id, ":") && (gotID != id || gotSecret != secret) {
			t.Errorf("basic(%q, %q) reads %q, %q", id, secret, gotID, gotSecret)
		}
		if id, secret, err := parseBasic(http.Header{"Authorization": {line}}); err == nil {
			if !strings.EqualFold(strings.ReplaceAll(basic(id, secret), " ", ""), strings.ReplaceAll(line, " ", "")) {
				t.Errorf("%q reads %q and %q, is written %q", line, id, secret, basic(id, secret))
			}
		}
	})
}

// Law: an address is accepted only if a registered one is equal up to the query, and the
// address that is sent then has code and state once.
func FuzzRedirectURL(f *testing.F) {
	for _, s := range []string{"https://other.test/cb", "https://other.test/cb?x=1&code=2", "https://other.test/cb#",
		"https://other.test\\cb", "https://other.test/cb?state&%73tate=1"} {
		f.Add(s)
	}
	app := App{RedirectURLs: []string{"https://other.test/cb"}, AllowQuery: true}
	f.Fuzz(func(t *testing.T, raw string) {
		if !app.accepts(raw) {
			return
		}
		sent := withAnswer(raw, "C", "S")
		u, err := url.Parse(sent)
		if err != nil || u.Scheme != "https" || u.Host != "other.test" || u.Path != "/cb" || u.Fragment != "" {
			t.Fatalf("accepts(%q), and %q is sent", raw, sent)
		}
		codes, states := 0, 0
		for pair := range strings.SplitSeq(u.RawQuery, "&") {
			name, _, _ := strings.Cut(pair, "=")
			if name, err := url.QueryUnescape(name); err == nil && name == "code" {
				codes++
			} else if err == nil && name == "state" {
				states++
			}
		}
		if codes != 1 || states != 1 {
			t.Errorf("accepts(%q), and %q is sent", raw, sent)
		}
	})
}

// Laws: no panic. A token is complete or absent, and so is a person.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`{"access_token":"5b14","expiry_in":7200,"refresh_token":"ab76","token_type":"Bearer"}`,
		`{"username":"xxx","email":"xxx@example.com","roles":["a"]}`, "\ufeff{}", `{"a":{"b":[1,2]}}`,
		`{"expiry_in":"1e3"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		access, refresh, life, err := readToken(body)
		if (err == nil) != (access != "") || err != nil && (refresh != "" || life != 0) || life < 0 ||
			strings.ContainsAny(access+refresh, "\r\n\x00 ") {
			t.Errorf("readToken(%q) = %q, %q, %v, %v", body, access, refresh, life, err)
		}
		u, err := readUser(body)
		if (err == nil) != (u.Username != "") ||
			strings.ContainsFunc(u.Username+u.Email+u.Name+u.UserID+u.UnionID, control) {
			t.Errorf("readUser(%q) = %+v, %v", body, u, err)
		}
	})
}
