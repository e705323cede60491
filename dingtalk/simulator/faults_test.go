package simulator_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
)

const recordPath = "/topapi/v2/user/get"

// record requests the record of 张三 without failing the test, since faults make it fail.
func (w *env) record(ctx context.Context, token string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, "POST", w.url+recordPath+"?access_token="+token,
		strings.NewReader(`{"userid":"zhangsan"}`))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func TestFaultVerbs(t *testing.T) {
	for _, c := range []struct {
		do     simulator.Verb
		status int
		has    string // in the body
		err    error
	}{
		{simulator.Status(503), 503, "Service Unavailable", nil},
		{simulator.Code(60121), 200, `"errcode":60121`, nil},
		{simulator.Code("88"), 200, `"errcode":88`, nil},
		{simulator.Code("Forbidden.AccessDenied.QpsLimitForApi"), 200, `"sub_code":"90002"`, nil},
		{simulator.Code("invalid.client"), 200, `"errcode":-1`, nil},
		{simulator.Code(12345), 200, `"errcode":12345`, nil},
		{simulator.Body(simulator.PunishBody), 200, `"status":1111`, nil},
		{simulator.Body(simulator.PunishPage), 200, `<!doctype`, nil},
		{simulator.Body(""), 200, ``, nil},
		{simulator.Flood(100_000), 200, `["钉"`, nil},
		{simulator.Gzip("no gzip at all"), 200, ``, gzip.ErrHeader},
		{simulator.Redirect("http://elsewhere.example/"), 307, ``, nil},
		{simulator.Delay(time.Millisecond), 200, `"errcode":0`, nil},
		{simulator.Cut(12), 200, ``, syscall.ECONNRESET},
		{simulator.Reset(), 0, ``, syscall.ECONNRESET},
		{simulator.Refuse(), 0, ``, io.EOF},
		{simulator.TLS(), 0, ``, errAny},
		{simulator.Verb{}, 200, `"errcode":0`, nil},
	} {
		t.Run(c.do.String(), func(t *testing.T) {
			w := demo(t)
			token := w.appToken()
			w.Fault(simulator.Fault{On: recordPath, Do: c.do, Times: 1})
			status, body, err := w.record(t.Context(), token)
			if status != c.status || !strings.Contains(body, c.has) || !errors.Is(err, c.err) && c.err != errAny ||
				(err == nil) != (c.err == nil) {
				t.Errorf("= %d %q %v, want %d with %q and %v", status, body, err, c.status, c.has, c.err)
			}
			if c.do == simulator.Cut(12) && len(body) > 12 {
				t.Errorf("cut after 12 bytes let %d through", len(body))
			}
			if c.do == simulator.Flood(100_000) && len(body) != 100_000 {
				t.Errorf("flood = %d bytes", len(body))
			}
			if status, body, err := w.record(t.Context(), token); status != 200 || err != nil ||
				!strings.Contains(body, `"errcode":0`) {
				t.Errorf("after the fault = %d %q %v", status, body, err)
			}
			if got := w.Calls(recordPath); got != 2 {
				t.Errorf("Calls = %d, want 2: struck calls count", got)
			}
		})
	}
}

var errAny = errors.New("any")

// The connection verbs with TLS and with HTTP/2, where connections cannot be hijacked.
func TestFaultsOverTLS(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		p := simulator.Demo()
		server := httptest.NewUnstartedServer(p)
		server.EnableHTTP2 = h2
		server.Config.ErrorLog = nil
		server.StartTLS()
		t.Cleanup(server.Close)
		t.Cleanup(p.Close)
		w := at(t, p, server.URL)
		if h2 {
			w.client.Transport = server.Client().Transport
		}
		token := w.appToken()
		for _, verb := range []simulator.Verb{simulator.Reset(), simulator.Refuse(), simulator.TLS(),
			simulator.Cut(3)} {
			w.Fault(simulator.Fault{On: recordPath, Do: verb, Times: 1})
			if _, body, err := w.record(t.Context(), token); err == nil {
				t.Errorf("%v over TLS (HTTP/2 %v) = %q, want an error", verb, h2, body)
			}
		}
	}
}

func TestFaultTimesAndFrom(t *testing.T) {
	w := demo(t)
	token := w.appToken()
	w.Fault(simulator.Fault{On: recordPath, Do: simulator.Status(503), From: 1, Times: 2})
	w.Fault(simulator.Fault{On: "/v1.0/elsewhere", Do: simulator.Status(500)})
	var got []int
	for range 5 {
		status, _, _ := w.record(t.Context(), token)
		got = append(got, status)
	}
	if want := "[200 503 503 200 200]"; fmt.Sprint(got) != want {
		t.Errorf("statuses = %v, want %s", got, want)
	}
	if got := len(w.Faults()); got != 1 {
		t.Errorf("%d faults are left, want the one elsewhere", got)
	}
	w.Fault(simulator.Fault{Do: simulator.Status(502)})
	if status, _, _ := w.record(t.Context(), token); status != 502 {
		t.Errorf("a fault on everything = %d, want 502", status)
	}
	w.ClearFaults()
	if status, _, _ := w.record(t.Context(), token); status != 200 {
		t.Errorf("after ClearFaults = %d, want 200", status)
	}
}

func TestFaultsCombine(t *testing.T) {
	w := demo(t)
	token := w.appToken()
	w.Fault(simulator.Fault{Do: simulator.Delay(time.Millisecond)})
	w.Fault(simulator.Fault{Do: simulator.Status(503)})
	if status, _, _ := w.record(t.Context(), token); status != 503 {
		t.Errorf("delay and then status = %d, want 503", status)
	}
}

func TestCodeOnNewHost(t *testing.T) {
	for _, c := range []struct {
		do   simulator.Verb
		want string
	}{
		{simulator.Code("Forbidden.AccessDenied.ApiCountLimitForOrg"),
			"403 Forbidden.AccessDenied.ApiCountLimitForOrg"},
		{simulator.Code("Forbidden.AccessDenied.New"), "403 Forbidden.AccessDenied.New"},
		{simulator.Code("system.busy"), "500 system.busy"},
		{simulator.Code("systemBusy"), "429 systemBusy"},
		{simulator.Code("unauthorized.client"), "400 unauthorized.client"},
		{simulator.Code("invalidauthentication"), "400 InvalidAuthentication"},
		{simulator.Code(90018), "403 Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"},
		{simulator.Code(60003), "500 unknownError"},
		{simulator.Code("something.new"), "400 something.new"},
	} {
		w := demo(t)
		w.Fault(simulator.Fault{Do: c.do})
		if status, m := w.me("x"); outcome(status, m) != c.want {
			t.Errorf("%v = %s, want %s", c.do, outcome(status, m), c.want)
		}
	}
}

func TestHang(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(w *env, cancel func())
	}{
		{"the client goes", func(_ *env, cancel func()) { cancel() }},
		{"the fault is cleared", func(w *env, _ func()) { w.ClearFaults() }},
		{"the platform closes", func(w *env, _ func()) { w.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := demo(t)
			token := w.appToken()
			w.Fault(simulator.Fault{On: recordPath, Do: simulator.Hang(), Times: 1})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error)
			go func() { _, _, err := w.record(ctx, token); ended <- err }()
			if err := w.WaitCalls(t.Context(), recordPath, 1); err != nil {
				t.Fatal(err)
			}
			c.end(w, cancel)
			if err := <-ended; err == nil {
				t.Error("a hanging call was answered")
			}
		})
	}
}

func TestStringly(t *testing.T) {
	w := demo(t)
	token := w.appToken()
	w.Fault(simulator.Fault{On: recordPath, Do: simulator.Stringly()})
	_, text, _ := w.record(t.Context(), token)
	m := decode(t, text)
	r := m["result"].(map[string]any)
	got := fmt.Sprintf("%q %q %q %v", m["errcode"], r["active"], r["dept_id_list"], r["role_list"])
	if want := `"0" "true" "[4201]" map[group_name:职务 id:100 name:主管]`; got != want {
		t.Errorf("stringly = %s, want %s", got, want)
	}
}

// FuzzVerb checks that an accepted verb is written and read back unchanged.
func FuzzVerb(f *testing.F) {
	for _, s := range []string{"delay 5s", "hang", "status 503", "code 60121", "body <html>", "body", "gzip x y",
		"flood 9", "redirect http://x/", "stringly", "cut 0", "reset", "refuse", "tls", "status 0", "cut -1",
		"delay 5", "nothing", "hang now", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var v, again simulator.Verb
		if v.UnmarshalText([]byte(s)) != nil {
			if v != (simulator.Verb{}) {
				t.Fatalf("UnmarshalText(%q) failed and left %v", s, v)
			}
			return
		}
		text, _ := v.MarshalText()
		if err := again.UnmarshalText(text); err != nil || again != v {
			t.Fatalf("%q became %q and then %v, %v", s, text, again, err)
		}
	})
}
