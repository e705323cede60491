package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var pushed = Push{
	URL:    "http://app.example/events",
	Token:  "123456",
	AESKey: "1234567890123456789012345678901234567890123",
}

// The vectors of dingtalk's documentation, and two of the same make.
func TestPushVectors(t *testing.T) {
	const owner = "dingsnotzck6pm5veliw"
	key, err := pushed.key()
	if err != nil || fmt.Sprintf("%x", key) != "d76df8e7aefcf74d76df8e7aefcf74d76df8e7aefcf74d76df8e7aefcf74d76d" {
		t.Fatalf("key = %x, %v", key, err)
	}
	for _, c := range []struct{ salt, message, stamp, nonce, sealed, signature string }{
		{"", "success", "1614767836", "A7Co0cJLMzIDtMMI",
			"YvkvaGe4hQxd3VxRmEty0dVlnCOAqwf56xwTRHDHoOURqhalbmBJQk5FNcRk42Gl5T0YQXZNwpwWSm1xAFJ5ZA==",
			"9a95a004dd16f5c307e849b994173f76aa26e5eb"},
		{"0123456789abcdef", "success", "1700000000000", "n0nce123",
			"GCr6999U/V4/3veZ85Bxl8C6wynLzYV25PCR3saSX7v+7tNf5Ck2RJ2NAGnTOWhvJ4H0D2M/DU/3568ASGogSA==",
			"8e64a97bb4eb56ae5bc22c8be11fbeddd1a9bdb8"},
		{"fedcba9876543210", `{"EventType":"check_url"}`, "1700000000000", "n0nce123",
			"Gg1ruTtt6YTsvh9RfdxRuYyf6vxNTQkYT/AFSvuEQOX/4CFPYpEOK/sIMjO4YSDT6NEsYr" +
				"+4PZZXR4JYzYnzAEaWGLPVTOv+gGY9D86NefjJdl0gI6VVcQn5JQ1NiDPo",
			"b9b0ffe0bf9fd0cecd24492dc9af6808109acf80"},
	} {
		if c.salt != "" {
			if got := sealPush(key, []byte(c.salt), []byte(c.message), owner); got != c.sealed {
				t.Errorf("sealPush(%s) = %s, want %s", c.message, got, c.sealed)
			}
		}
		if got, err := openPush(key, c.sealed, owner); err != nil || string(got) != c.message {
			t.Errorf("openPush(%.20s…) = %s, %v, want %s", c.sealed, got, err, c.message)
		}
		if _, err := openPush(key, c.sealed, "dingother"); err == nil {
			t.Errorf("openPush(%.20s…) took another owner", c.sealed)
		}
		if got := pushed.sign(c.stamp, c.nonce, c.sealed); got != c.signature {
			t.Errorf("sign = %s, want %s", got, c.signature)
		}
	}
}

// FuzzOpenPush: no panic, and what opens was sealed for this owner.
func FuzzOpenPush(f *testing.F) {
	key, _ := pushed.key()
	f.Add(sealPush(key, []byte("0123456789abcdef"), []byte("success"), "o"))
	f.Add("")
	f.Add("AAAAAAAAAAAAAAAAAAAAAA==")
	f.Fuzz(func(t *testing.T, sealed string) {
		if got, err := openPush(key, sealed, "o"); err == nil {
			again, err := openPush(key, sealPush(key, []byte("0123456789abcdef"), got, "o"), "o")
			if err != nil || string(again) != string(got) {
				t.Fatalf("%q was opened and not again: %q, %v", got, again, err)
			}
		}
	})
}

// receiver is an app that takes pushes; it answers what answer makes of the message.
type receiver func(message map[string]any) (word string)

func (f receiver) RoundTrip(r *http.Request) (*http.Response, error) {
	var body struct{ Encrypt string }
	json.NewDecoder(r.Body).Decode(&body)
	q, key := r.URL.Query(), must(pushed.key())
	if q.Get("msg_signature") != pushed.sign(q.Get("timestamp"), q.Get("nonce"), body.Encrypt) {
		return nil, fmt.Errorf("signature of the push")
	}
	message := map[string]any{}
	if err := json.Unmarshal(must(openPush(key, body.Encrypt, DemoClientID)), &message); err != nil {
		return nil, err
	}
	word := f(message)
	sealed := sealPush(key, []byte("0123456789abcdef"), []byte(word), DemoClientID)
	answer, _ := json.Marshal(map[string]string{"msg_signature": pushed.sign("1", "n", sealed), "timeStamp": "1",
		"nonce": "n", "encrypt": sealed})
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(string(answer)))}, nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestPush(t *testing.T) {
	for _, c := range []struct {
		name   string
		fails  int // how often the app answers something else first
		after  time.Duration
		failed string
	}{
		{"at once", 0, 0, "[]"},
		{"second attempt", 1, 10 * time.Second, "[]"},
		{"third attempt", 2, 40 * time.Second, "[]"},
		{"given up", 3, 40 * time.Second,
			"[map[call_back_tag:user_leave_org event_time:%d user_leave_org:map[corpid:dingyunfan8f3c " +
				"userid:[zhangsan]]]]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, fails := time.Now(), c.fails
				p := Demo()
				defer p.Close()
				p.Apps[0].Push = pushed
				p.Transport = receiver(func(m map[string]any) string {
					if got := fmt.Sprint(m["EventType"], m["CorpId"], m["userId"]); got != "user_leave_org"+
						DemoCorpID+"[zhangsan]" && got != "user_leave_orgdingyunfan8f3c [zhangsan]" {
						t.Errorf("message = %s", got)
					}
					if fails--; fails >= 0 {
						return "failure"
					}
					return "success"
				})
				id := p.Emit("user_leave_org", map[string]any{"userId": []string{"zhangsan"}})
				err := p.Delivered(t.Context(), id)
				if (err == nil) != (c.failed == "[]") || time.Since(start) != c.after {
					t.Errorf("delivered after %v: %v, want after %v", time.Since(start), err, c.after)
				}
				want := strings.Replace(c.failed, "%d", fmt.Sprint(start.Add(c.after).UnixMilli()), 1)
				for _, want := range []string{want, "[]"} { // listed once
					if got := failedList(p); got != want {
						t.Errorf("failed list = %s, want %s", got, want)
					}
				}
			})
		})
	}
}

func failedList(p *Platform) string {
	defer p.lock()()
	result, _ := failedPushes(p, &call{app: p.apps.get("")})
	return fmt.Sprint(result.(flat)["failed_list"])
}

func TestPush_Errors(t *testing.T) {
	for _, c := range []struct {
		name string
		to   Push
		do   func(*http.Request) (*http.Response, error)
		want string
	}{
		{"no key", Push{URL: "http://x/", AESKey: "short"}, nil, "aes_key must be 43 letters or digits"},
		{"no URL", Push{URL: ":", AESKey: pushed.AESKey}, nil, "the push address is no URL"},
		{"no answer", pushed, func(*http.Request) (*http.Response, error) { return nil, &url.Error{} }, "no answer"},
		{"no JSON", pushed, plain("ok"), "HTTP 200 without a JSON answer"},
		{"no signature", pushed, plain(`{"msg_signature":"x"}`), "the answer's signature is wrong"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := Demo()
			defer p.Close()
			p.Apps[0].Push, p.Transport = c.to, transport(c.do)
			p.Delivered(t.Context(), p.Emit("org_change", map[string]any{}))
			if got := p.Deliveries()[0].Answer; got != c.want {
				t.Errorf("%s = %q, want %q", c.name, got, c.want)
			}
		})
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func plain(body string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}
