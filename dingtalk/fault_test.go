package dingtalk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/realtool"
)

// Each fault at each call of a sign-in: the expected failure, no partial identity, and the
// expected number of calls (threats V2, V3, V4, V5, D7, K4, K5, K11).
func TestFaults(t *testing.T) {
	const later, bad = "later unavailable", "later bad_answer"
	for _, c := range []struct {
		on    string
		do    simulator.Verb
		want  string
		calls int
	}{
		{pathAppToken, simulator.Status(503), later, 1},
		{pathAppToken, simulator.Body("{}"), bad, 1},
		{pathAppToken, simulator.Body(`{"accessToken":"a b"}`), bad, 1},
		{pathAppToken, simulator.Code("invalidClientIdOrSecret"), "operator credentials_wrong", 1},
		{pathUserToken, simulator.Status(500), later, 1},
		{pathUserToken, simulator.Status(429), "later throttled", 1},
		{pathUserToken, simulator.Refuse(), later, 1},
		{pathUserToken, simulator.Reset(), later, 1},
		{pathUserToken, simulator.TLS(), later, 1},
		{pathUserToken, simulator.Cut(10), bad, 1},
		{pathUserToken, simulator.Body(""), bad, 1},
		{pathUserToken, simulator.Body("{}"), bad, 1},
		{pathUserToken, simulator.Body("<html>busy</html>"), bad, 1},
		{pathUserToken, simulator.Body(`{"accessToken":"x\r\nX-Evil: 1"}`), bad, 1},
		{pathUserToken, simulator.Body(`{"accessToken":"x","accessToken":"y"}`), bad, 1},
		{pathUserToken, simulator.Body(`{"errcode":404,"errmsg":"请求的URI地址不存在"}`), "internal bad_request", 1},
		{pathUserToken, simulator.Body(`{"accessToken":"x","corpId":"dingother"}`), "refused wrong_organisation", 1},
		{pathUserToken, simulator.Gzip("no gzip"), bad, 1},
		{pathUserToken, simulator.Flood(2 << 20), bad, 1},
		{pathUserToken, simulator.Redirect("http://127.0.0.1:1/"), bad, 1},
		{pathMe, simulator.Body("{}"), bad, 1},
		{pathMe, simulator.Body(`{"unionId":""}`), bad, 1},
		{pathMe, simulator.Body(`{"unionId":7}`), bad, 1},
		{pathMe, simulator.Code("Forbidden.AccessDenied.AccessTokenPermissionDenied"), "operator permission_missing",
			1},
		{pathMe, simulator.Code("Forbidden.AccessDenied.QpsLimitForApi"), "later throttled", 1},
		{pathMe, simulator.Code("Forbidden.AccessDenied.ApiCountLimitForOrg"), "operator quota_exhausted", 1},
		{pathMe, simulator.Code("InvalidAuthentication"), "restart code_rejected", 1},
		{pathGetByUnionID, simulator.Code(-1), later, 4},
		{pathGetByUnionID, simulator.Code(60121), "refused not_member", 1},
		{pathGetByUnionID, simulator.Code(60011), "operator permission_missing", 1},
		{pathGetByUnionID, simulator.Code(90018), "later throttled", 1},
		{pathGetByUnionID, simulator.Code(90020), "operator quota_exhausted", 1},
		{pathGetByUnionID, simulator.Code(40014), "operator token_refused", 2},
		{pathGetByUnionID, simulator.Code(123456), "refused unrecognized", 1},
		{pathGetByUnionID, simulator.Status(502), later, 1},
		{pathGetByUnionID, simulator.Body(`{"errmsg":"ok","result":{"contact_type":0,"userid":"zhangsan"}}`), bad, 1},
		{pathGetByUnionID, simulator.Body(`{"errcode":0,"errmsg":"ok"}`), bad, 1},
		{pathGetByUnionID, simulator.Body(`{"errcode":0,"result":null}`), bad, 1},
		{pathGetByUnionID, simulator.Body(`{"errcode":0,"result":{"userid":"zhangsan"}}`), bad, 1},
		{pathGetByUnionID, simulator.Body(`{"errcode":0,"result":{"userid":"zhangsan","contact_type":"x"}}`), bad, 1},
		{pathGetByUnionID, simulator.Body(`{"errcode":0,"result":{"userid":"zhangsan","contact_type":"1"}}`),
			"refused external_contact", 1},
		{pathGetByUnionID, simulator.Body(`{"errcode":0,"result":{"userid":"","contact_type":0}}`), bad, 1},
		{pathGetByUnionID, simulator.Body(`{"errcode":0,"result":{"userid":"lisi","contact_type":0}}`),
			"refused not_member", 1},
		{pathUserGet, simulator.Body(`{"errcode":0,"result":{"userid":"zhangsan","unionid":"","active":true}}`), bad,
			1},
		{pathUserGet, simulator.Body(`{"errcode":0,"result":{"userid":"zhangsan","unionid":"x","active":true}}`),
			"refused not_member", 1},
		{pathUserGet, simulator.Body("{\"errcode\":0,\"result\":{\"name\":\"\xff\"}}"), bad, 1},
		{pathUserGet, simulator.Body(`{"errcode":0,"result":{"name":1e999}}`), bad, 1},
		{pathUserGet, simulator.Body(strings.Repeat(`{"errcode":`, 100_000)), bad, 1},
		{pathUserGet, simulator.Cut(60), bad, 1},
		{pathUserGet, simulator.Stringly(), "", 1},
		{pathGetByUnionID, simulator.Stringly(), "", 1},
		{pathParents, simulator.Stringly(), "", 1},
		{pathParents, simulator.Code(60011), "", 1},
		{pathParents, simulator.Code(60003), "", 1},
		{pathParents, simulator.Code(50004), "", 1},
		{pathParents, simulator.Code(60121), "refused not_member", 1},
		{pathParents, simulator.Code(90002), "later throttled", 1},
		{pathParents, simulator.Body("[]"), bad, 1},
	} {
		t.Run(c.on+" "+fmt.Sprintf("%.40s", c.do), func(t *testing.T) {
			g := newEnv(t)
			g.Fault(simulator.Fault{On: c.on, Do: c.do})
			u, token, err := g.signIn(t, "zhangsan")
			if verdict(err) != c.want || half(u) {
				t.Errorf("Exchange = %v, %v, want %s", u, err, c.want)
			}
			if err != nil && (token.Access != "" || token.Refresh != "") {
				t.Error("Exchange failed and gave a token")
			}
			if n := g.Calls(c.on); n != c.calls {
				t.Errorf("%d calls, want %d", n, c.calls)
			}
			if n := g.Calls(pathUserToken); n > 1 {
				t.Errorf("the code was sent %d times, want once", n)
			}
		})
	}
}

// A slow or unanswered call ends at the sign-in's deadline, which covers all calls
// (threats V1).
func TestSlow(t *testing.T) {
	for _, c := range []struct {
		on string
		do simulator.Verb
	}{
		{pathUserToken, simulator.Hang()}, {pathUserGet, simulator.Hang()}, {pathAppToken, simulator.Hang()},
		{"", simulator.Delay(150 * time.Millisecond)},
	} {
		g := newEnv(t)
		g.client.Timeout = 400 * time.Millisecond
		g.Fault(simulator.Fault{On: c.on, Do: c.do})
		began := time.Now()
		_, _, err := g.signIn(t, "zhangsan")
		if verdict(err) != "later unavailable" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Exchange with %s at %q = %v, want later unavailable by the deadline", c.do, c.on, err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("Exchange with %s at %q took %v, want about 400ms", c.do, c.on, took)
		}
	}
}

// Failures below HTTP; only a failed connect is retried (threats V5).
func TestUnreachable(t *testing.T) {
	refused := "http://" + realtool.FreeAddr(t)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for _, c := range []struct {
		base string
		want []string
	}{
		{refused, []string{"connect", "connect"}},
		{secure.URL, []string{"tls"}}, // self-signed
	} {
		g := envAt(t, simulator.Demo(), c.base)
		_, _, err := g.web.Exchange(t.Context(), "the-code", "")
		if got := g.results(pathUserToken); verdict(err) != "later unavailable" || !slices.Equal(got, c.want) {
			t.Errorf("Exchange at %s = %v, %v, want %v", c.base, err, got, c.want)
		}
	}
}

// A redirect is not followed: it would receive the secret (threats L8).
func TestRedirect(t *testing.T) {
	var reached atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(other.Close)
	for _, path := range []string{pathAppToken, pathUserToken, pathMe, pathGetByUnionID} {
		g := newEnv(t)
		g.Fault(simulator.Fault{On: path, Do: simulator.Redirect(other.URL)})
		if _, _, err := g.signIn(t, "zhangsan"); verdict(err) != "later bad_answer" {
			t.Errorf("Exchange redirected at %s = %v, want later bad_answer", path, err)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d redirects were followed, want 0", n)
	}
}

// A busy response, then a successful one.
func TestBusyThenGood(t *testing.T) {
	g := newEnv(t)
	g.Fault(simulator.Fault{On: pathUserGet, Do: simulator.Code(-1), Times: 2})
	if _, _, err := g.signIn(t, "zhangsan"); err != nil {
		t.Errorf("Exchange after two -1 = %v, want nil", err)
	}
	g.Fault(simulator.Fault{On: pathGetUserInfo, Do: simulator.Code(-1)})
	g.ResetCalls()
	if _, err := g.silent.Exchange(t.Context(), g.SilentCode("zhangsan")); verdict(err) != "later unavailable" ||
		g.Calls(pathGetUserInfo) != 1 {
		t.Errorf("silent Exchange at -1 = %v after %d calls, want later unavailable after 1", err,
			g.Calls(pathGetUserInfo))
	}
}

// 1111 in either form stops all calls (§15); other HTML does not.
func TestPunished(t *testing.T) {
	for _, body := range []string{simulator.PunishBody, simulator.PunishPage} {
		g := newEnv(t)
		var late atomic.Int64
		g.client.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
		g.Fault(simulator.Fault{On: pathUserToken, Do: simulator.Body(body), Times: 1})
		for range 3 {
			if _, _, err := g.signIn(t, "zhangsan"); verdict(err) != "later throttled" {
				t.Errorf("Exchange when punished = %v, want later throttled", err)
			}
		}
		if _, err := g.dir.Person(t.Context(), g.unionID(t, "zhangsan")); verdict(err) != "later throttled" {
			t.Errorf("Person when punished = %v, want later throttled", err)
		}
		if n := len(g.AllCalls()); n != 1 || g.Calls(pathUserToken) != 1 {
			t.Errorf("calls when punished = %v, want one", g.AllCalls())
		}
		late.Store(int64(7 * time.Minute))
		if _, _, err := g.signIn(t, "zhangsan"); err != nil {
			t.Errorf("Exchange 7 minutes later = %v, want nil", err)
		}
	}
}

// The app token becomes invalid early: one renewal for all calls, one retry (threats K14).
func TestTokenDies(t *testing.T) {
	g := newEnv(t)
	id := g.unionID(t, "zhangsan")
	if _, err := g.dir.Person(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := g.KillAppToken(""); err != nil {
		t.Fatal(err)
	}
	g.ResetCalls()
	var wait sync.WaitGroup
	for range 100 {
		wait.Go(func() {
			if _, err := g.dir.Person(t.Context(), id); err != nil {
				t.Errorf("Person after the token died = %v, want nil", err)
			}
		})
	}
	wait.Wait()
	if n := g.Calls(pathAppToken); n != 1 {
		t.Errorf("%d calls of accessToken, want 1", n)
	}
	if n := g.Calls(pathUserGet); n != 100 {
		t.Errorf("%d calls of user/get, want 100", n)
	}
}

// No error contains a secret, whatever the response is, even if it echoes one (threats L1,
// L3).
func TestCanaries(t *testing.T) {
	const secret, token, user, refresh, code = "canary/secret+1", "canary/app+2", "canary/user+3", "canary/refresh+4",
		"canary/code+5"
	canary := func(text string) bool { return strings.Contains(strings.ToLower(text), "canary") }
	echo := func(w http.ResponseWriter, r *http.Request, kind string) {
		body, _ := io.ReadAll(r.Body) // a hanging server does not detect a client that disconnects before the body's end
		query := r.URL.Query().Get("access_token")
		all := strings.TrimSpace(r.URL.RawQuery + " " + query + " " + r.Header.Get("X-Acs-Dingtalk-Access-Token") +
			" " + string(body))
		switch kind {
		case "refusal":
			fmt.Fprintf(w,
				`{"errcode":99999,"code":%q,"errmsg":%q,"message":%[2]q,"request_id":%[2]q,"requestid":%[2]q,`+
					`"accessdenieddetail":{"requiredScopes":[%[3]q]}}`,
				"x"+all, all, query)
		case "status":
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"code":%q,"message":%q}`, all, all)
		case "garbage":
			fmt.Fprint(w, all)
		case "type":
			fmt.Fprintf(w, `{"errcode":%q,"unionId":{"a":%[1]q},"accessToken":{"a":%[1]q}}`, all)
		case "reset":
			conn, _, _ := http.NewResponseController(w).Hijack()
			conn.Close()
		case "broken":
			conn, _, _ := http.NewResponseController(w).Hijack()
			fmt.Fprintf(conn, "HTTP/1.1 %s\r\n\r\n", strings.ReplaceAll(all, "\n", " "))
			conn.Close()
		case "hang":
			<-r.Context().Done()
		}
	}
	for _, kind := range []string{"refusal", "status", "garbage", "type", "reset", "broken", "hang"} {
		for _, at := range []string{pathAppToken, pathUserToken, pathMe, pathGetByUnionID, pathUserGet, pathParents,
			pathGetUserInfo} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answers := map[string]string{
					pathAppToken:     `{"accessToken":"` + token + `"}`,
					pathUserToken:    `{"accessToken":"` + user + `","refreshToken":"` + refresh + `"}`,
					pathMe:           `{"unionId":"u1"}`,
					pathGetByUnionID: `{"errcode":0,"result":{"contact_type":0,"userid":"p1"}}`,
					pathUserGet:      `{"errcode":0,"result":{"userid":"p1","unionid":"u1","active":true}}`,
					pathGetUserInfo:  `{"errcode":0,"result":{"userid":"p1","unionid":"u1"}}`,
				}
				if r.URL.Path == at {
					echo(w, r, kind)
					return
				}
				fmt.Fprint(w, answers[r.URL.Path])
			}))
			g := envAt(t, simulator.Demo(), server.URL)
			g.client.Timeout = 200 * time.Millisecond
			g.client.Config.ClientSecret = conf.NewSecret(secret)
			_, _, err := g.web.Exchange(t.Context(), code, "canary-state")
			_, silent := g.silent.Exchange(t.Context(), code)
			for _, err := range []error{err, silent} {
				for ; err != nil; err = errors.Unwrap(err) {
					if text := fmt.Sprintf("%v %+v %#v", err, err, err); canary(text) {
						t.Errorf("%s at %s: %s", kind, at, text)
					}
				}
			}
			for _, c := range g.observed() {
				if text := fmt.Sprintf("%+v %v", c, c.Err); canary(text) {
					t.Errorf("Observe at %s: %s", at, text)
				}
			}
			server.Close()
		}
	}
}

// The calls that Observe receives during a sign-in.
func TestObserve(t *testing.T) {
	g := newEnv(t)
	g.Fault(simulator.Fault{On: pathUserGet, Do: simulator.Code(60121)})
	g.signIn(t, "zhangsan")
	var got []string
	for _, c := range g.observed() {
		got = append(got, c.Name+" "+c.Result+" "+c.Code)
		if c.Duration <= 0 || c.Result == "refused" && c.Err == nil {
			t.Errorf("Observe got %+v, want a duration and an error when refused", c)
		}
	}
	want := []string{pathUserToken + " ok ", pathMe + " ok ", pathAppToken + " ok ", pathGetByUnionID + " ok ",
		pathUserGet + " refused 60121"}
	if !slices.Equal(got, want) {
		t.Errorf("Observe got %q, want %q", got, want)
	}
}
