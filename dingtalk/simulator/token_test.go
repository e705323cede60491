package simulator_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
)

func compactKeys[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), " ")
}

func TestCodesAreOfOneKind(t *testing.T) {
	const dead = "400 invalidParameter.authCode.notFound"
	for _, c := range []struct {
		kind           simulator.Kind
		token, silence string // the answers of userAccessToken and getuserinfo
	}{
		{simulator.Browser, "200 <nil>", "40078"},
		{simulator.Silent, "200 <nil>", "0"},
		{simulator.SNS, dead, "40078"},
	} {
		w := demo(t)
		status, m := w.userToken(w.code(c.kind, "zhangsan"))
		if got := fmt.Sprint(status, " ", m["code"]); got != c.token {
			t.Errorf("userAccessToken(%s code) = %s, want %s", c.kind, got, c.token)
		}
		info := w.old("/topapi/v2/user/getuserinfo", `{"code":"`+w.code(c.kind, "zhangsan")+`"}`)
		if got := fmt.Sprint(info["errcode"]); got != c.silence {
			t.Errorf("getuserinfo(%s code) = %s, want %s", c.kind, got, c.silence)
		}
	}
}

func TestSilentCodeHasNoGrant(t *testing.T) {
	w := demo(t)
	_, token := w.userToken(w.SilentCode("zhangsan"))
	status, m := w.me(token["accessToken"].(string))
	if status != 403 || m["code"] != "Forbidden.AccessDenied.AccessTokenPermissionDenied" {
		t.Errorf("users/me with the token of a silent code = %d %v, want 403", status, m["code"])
	}
	if got := w.SilentCode("ghost"); got != "" {
		t.Errorf("SilentCode(ghost) = %q, want nothing", got)
	}
	info := w.old("/topapi/v2/user/getuserinfo", `{"code":"`+w.SilentCode("ouyang")+`"}`)["result"].(map[string]any)
	if info["userid"] != "ouyang-xiu_01.A@yunfan" || info["sys"] != true || fmt.Sprint(info["sys_level"]) != "1" ||
		info["unionid"] == "" {
		t.Errorf("getuserinfo = %v", info)
	}
}

func TestCodesAreUsedOnce(t *testing.T) {
	w := demo(t)
	code := w.code(simulator.Browser, "zhangsan")
	if status, _ := w.userToken(code); status != 200 {
		t.Fatalf("first exchange = %d", status)
	}
	status, m := w.userToken(code)
	if got, want := fmt.Sprint(status, compact(m)),
		`400{"code":"invalidParameter.authCode.notFound","message":"不合法的临时授权码"}`; got != want {
		t.Errorf("second exchange = %s, want %s", got, want)
	}
	silent := w.SilentCode("lisi")
	w.old("/topapi/v2/user/getuserinfo", `{"code":"`+silent+`"}`)
	if m := w.old("/topapi/v2/user/getuserinfo", `{"code":"`+silent+`"}`); fmt.Sprint(m["errcode"]) != "40078" {
		t.Errorf("second getuserinfo = %v, want 40078", m)
	}
}

func TestCodesAge(t *testing.T) {
	for _, c := range []struct {
		age  time.Duration
		want int
	}{{simulator.CodeLife - time.Second, 200}, {simulator.CodeLife, 400}} {
		start := time.Now()
		p := simulator.Demo()
		p.Now = func() time.Time { return start }
		w := serve(t, p)
		code := w.code(simulator.Browser, "zhangsan")
		w.Advance(c.age)
		if got, _ := w.userToken(code); got != c.want {
			t.Errorf("exchange after %v = %d, want %d", c.age, got, c.want)
		}
	}
}

func TestCodesBelongToOneApp(t *testing.T) {
	w := demo(t)
	if err := w.AddApp(simulator.App{ClientID: "dingother", ClientSecret: "x"}); err != nil {
		t.Fatal(err)
	}
	code, err := w.Code(simulator.Browser, "dingother", "zhangsan")
	if err != nil {
		t.Fatal(err)
	}
	if status, m := w.userToken(code); status != 400 {
		t.Errorf("a code of another app = %d %v, want 400", status, m)
	}
	status, _ := w.post("/v1.0/oauth2/userAccessToken",
		`{"clientId":"dingother","clientSecret":"x","grantType":"authorization_code","code":"`+code+`"}`)
	if status != 200 {
		t.Errorf("the code at its own app = %d, want 200", status)
	}
}

func TestAppTokenIsReusedAndExtended(t *testing.T) {
	start := time.Now()
	p := simulator.Demo()
	p.Now = func() time.Time { return start }
	w := serve(t, p)
	call := func(token string) string {
		_, m := w.post("/topapi/v2/user/get?access_token="+token, `{"userid":"zhangsan"}`)
		return fmt.Sprint(m["errcode"], " ", m["sub_code"])
	}
	first := w.appToken()
	w.Advance(2*time.Hour - time.Second)
	if again := w.appToken(); again != first {
		t.Errorf("within its life a second token came")
	}
	w.Advance(2*time.Hour - time.Second)
	if got := call(first); got != "0 <nil>" {
		t.Errorf("extended token = %s, want 0", got)
	}
	w.Advance(time.Second)
	if got := call(first); got != "88 42001" {
		t.Errorf("expired token = %s, want 88 42001", got)
	}
	second := w.appToken()
	if second == first {
		t.Errorf("an expired token came back")
	}
	if err := w.KillAppToken(""); err != nil {
		t.Fatal(err)
	}
	if got := call(second); got != "88 40014" {
		t.Errorf("killed token = %s, want 88 40014", got)
	}
	if third := w.appToken(); third == second {
		t.Errorf("a killed token came back")
	}
}

func TestAllTokenCallsGiveTheSameToken(t *testing.T) {
	w := demo(t)
	want := w.appToken()
	_, text := w.send("GET", "/gettoken?appkey="+simulator.DemoClientID+"&appsecret="+simulator.DemoClientSecret, "",
		"")
	if got := decode(t, text); got["access_token"] != want || fmt.Sprint(got["errcode"]) != "0" {
		t.Errorf("gettoken = %v", got)
	}
	status, m := w.post("/v1.0/oauth2/"+simulator.DemoCorpID+"/token", corpBody)
	if status != 200 || m["access_token"] != want || fmt.Sprint(m["expires_in"]) != "7200" {
		t.Errorf("corp token = %d %v", status, m)
	}
}

const corpBody = `{"client_id":"` + simulator.DemoClientID + `","client_secret":"` + simulator.DemoClientSecret +
	`","grant_type":"client_credentials"}`

func TestTokensAreNotInterchangeable(t *testing.T) {
	w := demo(t)
	_, m := w.userToken(w.code(simulator.Browser, "zhangsan"))
	user := m["accessToken"].(string)
	if _, m := w.post("/topapi/v2/user/get?access_token="+user, `{"userid":"zhangsan"}`); m["sub_code"] != "40014" {
		t.Errorf("user token at the old host = %v, want 40014", m)
	}
	if status, m := w.me(w.appToken()); status != 403 {
		t.Errorf("app token at users/me = %d %v, want 403", status, m)
	}
	if status, _ := w.me(user); status != 200 {
		t.Errorf("user token at users/me = %d, want 200", status)
	}
	w.Advance(2 * time.Hour)
	if status, m := w.me(user); status != 400 || m["code"] != "accesstoken.expired" {
		t.Errorf("expired user token = %d %v", status, m["code"])
	}
}

func TestRefreshRotates(t *testing.T) {
	w := demo(t)
	_, m := w.userToken(w.code(simulator.Browser, "zhangsan"))
	refresh := func(token any) (int, map[string]any) {
		return w.post("/v1.0/oauth2/userAccessToken",
			fmt.Sprintf(`{%s,"grantType":"refresh_token","refreshToken":%q}`, credentials, token))
	}
	status, next := refresh(m["refreshToken"])
	if status != 200 || next["refreshToken"] == m["refreshToken"] {
		t.Fatalf("refresh = %d %v", status, next)
	}
	if status, _ := w.me(next["accessToken"].(string)); status != 200 {
		t.Errorf("users/me with the new token = %d", status)
	}
	if status, no := refresh(m["refreshToken"]); status != 400 || no["code"] != "invalidParameter.authCode.notFound" {
		t.Errorf("the old refresh token = %d %v, want dead", status, no)
	}
	w.Advance(30 * 24 * time.Hour)
	if status, _ := refresh(next["refreshToken"]); status != 400 {
		t.Errorf("refresh after 30 days = %d, want 400", status)
	}
}
