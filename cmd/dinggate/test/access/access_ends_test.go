package access

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/proxy/access"
	"dinggate/session"
)

// endBound is the time within which access ends.
type endBound int

const (
	endsNow endBound = iota // 5 s; 10 s after the event stream has reconnected
	endsDue                 // session.recheck
)

// accessEnd is a way to lose access.
type accessEnd struct {
	zh, en       string
	live, outage endBound
	rule         *access.RuleConfig // of the places; nil = every signed-in person is admitted
	accounts     bool               // zhaoliu is bound to the local account zs
	apart        bool               // the access of another person continues
	caughtUp     bool               // the catch-up of the event stream's next connection finds it
	except       map[string]bool    // places in which access does not end
	do           func(*testing.T, *insider)
}

// desk returns the control socket.
func (in *insider) desk() *admin.Control {
	return &admin.Control{
		Bindings: &admin.BindingStore{Bindings: in.h.Stores.Bindings, Note: in.h.Kit.Note},
		Sessions: func() *session.Manager { return in.h.Gateway.Sessions },
		Log:      in.h.Kit.Log,
	}
}

func done(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var accessEnds = []accessEnd{
	{zh: "离职", en: "left the organisation", live: endsNow, outage: endsNow, apart: true, caughtUp: true,
		do: func(t *testing.T, in *insider) { done(t, in.h.Platform.Leave("zhaoliu")) }},
	{zh: "账号被停用", en: "account disabled", live: endsDue, outage: endsNow, apart: true, caughtUp: true,
		do: func(t *testing.T, in *insider) { done(t, in.h.Platform.Disable("zhaoliu")) }},
	{zh: "调离部门", en: "moved to another department", live: endsNow, outage: endsNow, apart: true, caughtUp: true,
		rule:   &access.RuleConfig{Departments: []string{"44"}, Users: []string{"wangwu"}},
		except: map[string]bool{"SSO token": true, "grant": true},
		do:     func(t *testing.T, in *insider) { done(t, in.h.Platform.Move("zhaoliu", 43)) }},
	{zh: "失去角色", en: "lost a role", live: endsNow, outage: endsNow, apart: true, caughtUp: true,
		rule:   &access.RuleConfig{Roles: []string{"财务"}, Users: []string{"wangwu"}},
		except: map[string]bool{"SSO token": true, "grant": true},
		do:     func(t *testing.T, in *insider) { done(t, in.h.Platform.SetRoles("zhaoliu")) }},
	{zh: "移出应用的使用范围", en: "outside the app's scope", live: endsNow, outage: endsNow, caughtUp: true,
		do: func(t *testing.T, in *insider) {
			done(t, in.h.Platform.ChangeApp("", func(a *simulator.App) { a.Scope, a.Range = []int64{43}, []int64{43} }))
		}},
	{zh: "应用被停用", en: "app stopped", live: endsNow, outage: endsDue,
		do: func(t *testing.T, in *insider) {
			done(t, in.h.Platform.ChangeApp("", func(a *simulator.App) { a.Stopped = true }))
		}},
	{zh: "账号迁移（unionId 改变）", en: "account migrated (another unionId)", live: endsDue, outage: endsNow, apart: true, caughtUp: true,
		do: func(t *testing.T, in *insider) { done(t, in.h.Platform.Migrate("zhaoliu", "")) }},
	{zh: "绑定被移除", en: "binding removed", accounts: true, apart: true,
		do: func(t *testing.T, in *insider) { in.unbinds(t, "zs") }},
	{zh: "退出登录", en: "sign-out", apart: true,
		do: func(t *testing.T, in *insider) {
			if a := in.v.Do("POST", in.h.URL+"/oauth2/sign_out", "", ourPage); a.StatusCode >= 400 {
				t.Fatalf("sign-out = %d", a.StatusCode)
			}
		}},
	{zh: "控制台结束会话", en: "ended in the console", apart: true,
		do: func(t *testing.T, in *insider) {
			console, page := in.h.URL+"/oauth2/console", ""
			servertest.Eventually(t, "the session in the console", func() bool {
				page = in.boss.Get(console).Text
				return strings.Contains(page, "赵六")
			})
			if a := in.boss.Do("POST", console, buttonOf(t, page, "person", "赵六"), consoleForm, ourPage); a.StatusCode != 200 {
				t.Fatalf("the console = %d %s", a.StatusCode, a.Text)
			}
		}},
	{zh: "访问规则改变（重载）", en: "rule changed (reload)", apart: true,
		except: map[string]bool{"SSO token": true},
		do: func(t *testing.T, in *insider) {
			rule := &access.RuleConfig{Users: []string{"wangwu"}}
			in.h.ReloadWith(func(c *config.Config) {
				ruled(c, rule)
				for i := range c.Routes {
					if c.Routes[i].Path == "/admin/" {
						c.Routes[i].Access = rule
					}
				}
			})
		}},
	{zh: "密钥被移除（重载）", en: "key removed (reload)",
		do: func(t *testing.T, in *insider) {
			in.h.ReloadWith(func(c *config.Config) {
				c.Cookie.Secrets = []conf.Secret{
					conf.NewSecret(base64.StdEncoding.EncodeToString([]byte("another-secret-of-32-bytes-12345"))),
				}
			})
		}},
}

// The times of this test; endsNow is measured with a recheck interval of an hour.
const (
	endRecheck = 400 * time.Millisecond
	endSlack   = 4 * time.Second // for a busy machine, in addition to the times above
)

// TestAccessEnds checks that each way to lose access ends it in each place within its
// bound, while the event stream works, and after an outage of the stream of one day. The
// documentation has the same bounds.
func TestAccessEnds(t *testing.T) {
	for _, way := range accessEnds {
		for _, outage := range []bool{false, true} {
			name, bound := way.en, way.live
			if outage {
				name, bound = way.en+", without events for a day", way.outage
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				way.measure(t, bound, outage)
			})
		}
	}
}

func (way accessEnd) measure(t *testing.T, bound endBound, outage bool) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	in := newInsider(ctx, t, func(c *config.Config) {
		c.Session.Recheck, c.Session.Grace = time.Hour, time.Hour
		if bound != endsNow {
			c.Session.Recheck = endRecheck
		}
		ruled(c, way.rule)
		if way.accounts {
			file := filepath.Join(t.TempDir(), "htpasswd")
			servertest.WriteHtpasswd(t, file, "zs")
			c.Accounts.HtpasswdFile, c.Accounts.Binding = file, account.Optional
		}
	}, way.accounts)
	most := 5 * time.Second
	if bound == endsDue {
		most = endRecheck + endSlack
	}
	if outage {
		in.h.Platform.Mute(true) // no event arrives, also later
		in.h.Platform.DropStreams()
	}
	if outage && !way.caughtUp {
		in.h.Platform.Advance(24 * time.Hour) // an end without an event is as fast on the last day of an outage
	}
	way.do(t, in)
	if outage && way.caughtUp {
		if in.ended("page")() {
			t.Error("is over without an event: what ended it?")
		}
		in.h.Platform.Advance(24 * time.Hour)
		done(t, in.h.Platform.WaitStreams(ctx, 1))
		most = 10 * time.Second
	}
	places := slices.DeleteFunc(slices.Clone(endPlaces), func(place string) bool { return way.except[place] })
	took := in.until(ctx, places, most)
	var line strings.Builder
	for _, place := range endPlaces {
		after, over := took[place]
		switch {
		case way.except[place] && in.ended(place) != nil && in.ended(place)():
			t.Errorf("%s: ended, the pages say that it does not", place)
		case way.except[place]:
			line.WriteString(" - |")
		case !over:
			t.Errorf("%s: not over after %v", place, most)
			line.WriteString(" NO |")
		default:
			fmt.Fprintf(&line, " %d ms |", after.Milliseconds())
		}
	}
	t.Logf("| %s |%s", way.en, line.String())
	if a := in.stays.Get(in.h.URL + "/x"); way.apart && a.StatusCode != http.StatusOK {
		t.Errorf("another person's page = %d, want 200", a.StatusCode)
	}
}

// endsTable returns the table of the documentation: the bound with a working stream, and
// the bound after a day without events.
func endsTable(chinese bool) string {
	bounds := []string{"5 s", "recheck"}
	head := "| way | " + strings.Join(endPlaces, " | ") + " | without events for a day |"
	if chinese {
		head = "| 方式 | 页面 | WebSocket | SSE | 网关鉴权 | SSO 令牌 | OIDC | 授权 | 事件流中断一天 |"
	}
	lines := []string{head, "|" + strings.Repeat("---|", len(endPlaces)+2)}
	for _, way := range accessEnds {
		line := "| " + way.en + " |"
		if chinese {
			line = "| " + way.zh + " |"
		}
		for _, place := range endPlaces {
			if way.except[place] {
				line += " – |"
				continue
			}
			line += " " + bounds[way.live] + " |"
		}
		outage := bounds[way.outage]
		switch {
		case way.caughtUp && chinese:
			outage = "recheck；事件流恢复后 10 s"
		case way.caughtUp:
			outage = "recheck; 10 s after the stream is back"
		}
		lines = append(lines, line+" "+outage+" |")
	}
	return strings.Join(lines, "\n") + "\n"
}

// TestAccessEnds_Pages checks that the documentation has the bounds that TestAccessEnds
// measures.
func TestAccessEnds_Pages(t *testing.T) {
	for name, chinese := range map[string]bool{"../../../../docs/sessions.md": false, "../../../../docs/sessions.zh-CN.md": true} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if table := endsTable(chinese); !strings.Contains(string(text), table) {
			t.Errorf("%s does not have this table:\n%s", name, table)
		}
	}
}
