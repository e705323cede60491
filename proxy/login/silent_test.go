package login

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"dinggate/internal/identity"
)

const dingTalk = "Mozilla/5.0 (Linux; U; Android 14) AppleWebKit/537.36 AliApp(DingTalk/7.6.0) com.alibaba.android.rimet/15213560"

// silently also signs in inside the DingTalk client.
func silently(p plan) plan {
	p.change = func(f *Flow) {
		f.Silent = &Silent{CorpID: "dingcorp", ClientID: "ding-app", Exchange: func(ctx context.Context, code string) (identity.User, error) {
			u, _, err := f.Provider.Exchange(ctx, code, "")
			return u, err
		}}
	}
	return p
}

var pageState = regexp.MustCompile(`data-state="([A-Za-z0-9_-]{43})"`)

// inDingTalk opens a page in the DingTalk client and returns its attempt's state.
func (b *browser) inDingTalk(address string) string {
	b.t.Helper()
	a := b.visit(address, "User-Agent", dingTalk)
	state := pageState.FindStringSubmatch(a.text)
	if a.StatusCode != http.StatusOK || state == nil {
		b.t.Fatalf("GET %s in DingTalk = %d to %q, want the silent page:\n%s", address, a.StatusCode, a.Header.Get("Location"), a.text)
	}
	return state[1]
}

func (b *browser) postCode(code, state string, header ...string) answer {
	b.t.Helper()
	return b.sendBody("POST", "/oauth2/silent", strings.NewReader(url.Values{"code": {code}, "state": {state}}.Encode()),
		append([]string{"Content-Type", "application/x-www-form-urlencoded", "User-Agent", dingTalk}, header...)...)
}

// TestSilentOrigin: old clients send no Sec-Fetch-Site; then Origin identifies the page (threats
// S19).
func TestSilentOrigin(t *testing.T) {
	for _, c := range []struct {
		header []string
		ours   bool
	}{
		{[]string{"Origin", "https://app.test"}, true},
		{[]string{"Sec-Fetch-Site", "same-origin", "Origin", "https://app.test"}, true},
		{[]string{"Sec-Fetch-Site", "same-origin", "Origin", "null"}, true}, // a page with no-referrer
		{[]string{"Origin", "https://evil.test"}, false},
		{[]string{"Origin", "https://app.test.evil.test"}, false},
		{[]string{"Origin", "http://app.test"}, false},
		{[]string{"Origin", "https://route.test"}, false},
		{[]string{"Origin", "null"}, false},
		{[]string{"Origin", "https://app.test", "Origin", "https://evil.test"}, false},
		{[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://app.test"}, false},
	} {
		b := build(t, silently(plan{})).browser()
		a := b.postCode("zhangsan", b.inDingTalk("/a"), c.header...)
		if !c.ours {
			b.refused(strings.Join(c.header, " "), a, 403, "cross_site", 0)
		} else if a.StatusCode != 200 || b.session() == "" {
			t.Errorf("%q = %d %s, want a session", c.header, a.StatusCode, a.text)
		}
	}
}

// TestSilentLate: an attempt expires, whatever the client sends later.
func TestSilentLate(t *testing.T) {
	b := build(t, silently(plan{})).browser()
	state := b.inDingTalk("/a")
	b.ahead.Store(int64(attemptLife + time.Minute))
	b.refused("an old attempt", b.postCode("zhangsan", state), 403, "state_expired", 0)
	state = b.inDingTalk("/a")
	b.ahead.Store(int64(attemptLife + time.Minute + attemptLife/2))
	if a := b.postCode("zhangsan", state); a.StatusCode != 200 || b.session() == "" {
		t.Errorf("a younger attempt = %d %s, want a session", a.StatusCode, a.text)
	}
}

// TestSilentStoreFails: while the store is failing nothing is used up and DingTalk is not called;
// the same post works later.
func TestSilentStoreFails(t *testing.T) {
	b := build(t, silently(plan{})).browser()
	state := b.inDingTalk("/a")
	b.store.Away.Store(true)
	b.refused("a failing store", b.postCode("zhangsan", state), 503, "store_unavailable", 0)
	b.store.Away.Store(false)
	if a := b.postCode("zhangsan", state); a.StatusCode != 200 || b.session() == "" {
		t.Errorf("afterwards = %d %s, want a session", a.StatusCode, a.text)
	}
}

// TestSilentElsewhere: from another of our hosts, and over plain http, the silent page is on
// public_url, whose host DingTalk knows, and leads back.
func TestSilentElsewhere(t *testing.T) {
	b := build(t, silently(plan{domain: "app.test"})).browser()
	a := b.visit("https://x.app.test/a?b=1", "User-Agent", dingTalk)
	const at = "https://app.test/oauth2/start?rd=https%3A%2F%2Fx.app.test%2Fa%3Fb%3D1"
	if a.StatusCode != 302 || a.Header.Get("Location") != at || len(a.Header["Set-Cookie"]) > 0 {
		t.Fatalf("GET on another host = %d to %q, want 302 to %q", a.StatusCode, a.Header.Get("Location"), at)
	}
	if a := b.postCode("zhangsan", b.inDingTalk(at)); a.StatusCode != 200 || !strings.Contains(a.text, `"location":"https://x.app.test/a?b=1"`) {
		t.Errorf("POST /oauth2/silent = %d %s, want the way back", a.StatusCode, a.text)
	}
	b = build(t, silently(plan{trusted: []string{"127.0.0.0/8"}})).browser()
	if a := b.visit("/a", "User-Agent", dingTalk, "X-Forwarded-Proto", "http"); a.Header.Get("Location") != "https://app.test/oauth2/start?rd=%2Fa" {
		t.Errorf("over http = %d to %q, want public_url", a.StatusCode, a.Header.Get("Location"))
	}
}

// TestRefusedTryAnother: a person whom DingTalk's answer refuses can choose another account, with
// a click and with the requested page, and is not shown "signed out".
func TestRefusedTryAnother(t *testing.T) {
	b := build(t, silently(plan{})).browser()
	b.provider.fails(&identity.Failure{Class: identity.Refused, Code: "not_member"})
	a := b.back("sunqi", b.stateOf(b.visit("/oauth2/start?silent=no&rd=%2Fa%3Fb%3D1", "User-Agent", dingTalk)), "User-Agent", dingTalk)
	const again = "/oauth2/start?silent=no&rd=%2Fa%3Fb%3D1"
	if a.StatusCode != 403 || !strings.Contains(a.text, `href="`+strings.ReplaceAll(again, "&", "&amp;")+`">换个账号</a>`) {
		t.Fatalf("the refusal is %d without another account:\n%s", a.StatusCode, a.text)
	}
	b.provider.fails(nil)
	if a := b.back("zhangsan", b.stateOf(b.visit(again, "User-Agent", dingTalk))); a.Header.Get("Location") != "/a?b=1" || b.session() == "" {
		t.Errorf("another account = %d to %q, want in", a.StatusCode, a.Header.Get("Location"))
	}
}
