package hostile

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"

	"golang.org/x/crypto/bcrypt"
)

// htpasswdFile holds the local accounts of the env, whose passwords the tries change.
type htpasswdFile struct {
	mu        sync.Mutex
	path      string
	passwords map[string]string
	lines     map[string]string
}

func (f *htpasswdFile) set(name, password string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return err
	}
	f.passwords[name], f.lines[name] = password, name+":"+string(hash)+"\n"
	var text strings.Builder
	for _, line := range f.lines {
		text.WriteString(line)
	}
	if err := os.WriteFile(f.path+".new", []byte(text.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(f.path+".new", f.path)
}

// openNames starts the env in which DingTalk people keep their own names unless they are bound to
// a local account, and in which the events of the organisation are received.
func openNames(t *testing.T) *env {
	dir := t.TempDir()
	file := &htpasswdFile{
		path:      filepath.Join(dir, "accounts"),
		passwords: map[string]string{},
		lines:     map[string]string{},
	}
	for _, name := range []string{"alice", "bob", "管理员", "pw0", "pw1", "pw2"} {
		if err := file.set(name, password(name)); err != nil {
			t.Fatal(err)
		}
	}
	s := openWith(t, func(text string) string {
		return strings.NewReplacer("events: false", "events: true\n  username: name", "{users: [lisi]}",
			"{users: [李四]}").Replace(text) +
			fmt.Sprintf("accounts: {htpasswd_file: %q, binding: optional}\nstate_dir: %q\n", file.path, dir)
	})
	s.t, s.htpasswd, s.excused = t, file, []string{"which is weak", "The configuration has no mistakes, but"}
	s.budget.Store(1 << 40) // background lookups are expected here
	return s
}

// namesakes covers T34, T35, K19 and D14, and the sessions that a sign-out ends.
func namesakes(s *env) []try {
	return slices.Concat(similarNames(), changedPasswords(), repeatedSignIns(), severalCookies(), redisWriters(s))
}

// similarNames covers T35: a name that resembles the name of an account gives no access.
func similarNames() (list []try) {
	n := 0
	for account, names := range map[string][]string{
		"alice": {"alice", "Alice", "ALICE", "aLiCe", "ａｌｉｃｅ", "ＡＬＩＣＥ", "аlice", "аlісе", "ɑlice", "αlice", "𝐚lice",
			"𝓪𝓵𝓲𝓬𝓮", "ⓐⓛⓘⓒⓔ", "a1ice", "aIice", "a|ice", "alıce", "ALİCE", "al\u200bice", "al\u200dice",
			"\ufeffalice", "alice\u00ad", "al\u034fice", "a\u2060lice", "alice\ufe0f", "alice\u3164", "\u202ealice",
			"\u202eecila", "alic\u0435"},
		"bob": {"bob", "Bob", "BOB", "b0b", "bоb", "ｂｏｂ", "bοb", "b\u00adob", "Воb", "𝖇𝖔𝖇", "bo\u200cb"},
		"管理员": {"管理员", "管\u200b理员", "管理员\u2060", "\u202a管理员", "管理员\ufe01"},
	} {
		for _, name := range names {
			n++
			id := fmt.Sprint("like", n)
			list = append(list, try{fmt.Sprintf("T35 %+q beside %+q", name, account), func(h *client) {
				if seen := h.newMember(id, name, ""); seen != nil {
					h.failf("signed in as %q", seen.value("X-Forwarded-User"))
				}
			}})
		}
	}
	for _, name := range []string{"alicia", "alic", "bobby", "管理", "王小明", "a lice", "álice"} {
		n++
		id := fmt.Sprint("like", n)
		list = append(list, try{fmt.Sprintf("T35 %+q is a free name", name), func(h *client) {
			if seen := h.newMember(id, name, ""); seen == nil {
				h.failf("did not sign in")
			}
		}})
	}
	return list
}

// changedPasswords covers T34: after a password change during a loop of sign-ins, no session of
// the old password remains, and the sessions of the new password stay valid.
func changedPasswords() (list []try) {
	for i := range 3 {
		list = append(list,
			try{fmt.Sprintf("T34 the password of pw%d changes in a loop of sign-ins", i), func(h *client) {
				name := fmt.Sprint("pw", i)
				old, fresh := password(name), password(name)+"-new"
				var sessions []string
				signIn := func() {
					v := h.visitor()
					if a := v.form("", name, old); a.status == 303 {
						sessions = append(sessions, v.value(sessionCookie))
					}
				}
				for range 3 {
					signIn()
				}
				if err := h.env.htpasswd.set(name, fresh); err != nil {
					h.failf("%v", err)
					return
				}
				var after *visitor
				if !until(func() bool {
					signIn()
					v := h.visitor()
					if v.form("", name, fresh).status == 303 {
						after = v
					}
					return after != nil
				}) {
					h.failf("the new password is never accepted")
					return
				}
				for i, text := range sessions {
					if a := h.send(request{raw: requestText("GET", "/page", h.id,
						"Cookie: "+sessionCookie+"="+text)}); a.status != 401 {
						h.failf("session %d of %d with the old password got %v", i, len(sessions), a)
					}
				}
				if a := after.do(request{authorized: true}, "GET", "/page"); a.status != 200 {
					h.failf("the session of the new password got %v", a)
				}
			}})
	}
	return list
}

// leavers covers K18: an event reports that a person has left, in the middle of their sign-in, at
// each of its calls to DingTalk.
func leavers(s *env) (list []try) {
	for i, call := range []string{"/v1.0/oauth2/userAccessToken", "/v1.0/contact/users/me",
		"/topapi/user/getbyunionid", "/topapi/v2/user/get"} {
		for _, leaves := range []bool{true, false} {
			id := fmt.Sprintf("going%d-%v", i, leaves)
			list = append(list, try{fmt.Sprintf("K18 leaves %v during %s", leaves, call), func(h *client) {
				if err := s.sim.Join(simulator.Person{
					ID:      id,
					Account: simulator.Account{Nick: id},
					Record: simulator.Record{
						UserID:      id,
						Name:        id,
						Departments: []int64{42},
					},
				}); err != nil {
					h.failf("%v", err)
					return
				}
				v := h.visitor()
				state, _ := v.begin("/oauth2/start")
				s.sim.Fault(simulator.Fault{On: call, Do: simulator.Delay(1500 * time.Millisecond), Times: 1})
				before, back := s.sim.Calls(call), make(chan *answer)
				go func() {
					back <- v.do(request{session: true, slow: true}, "GET",
						"/oauth2/callback?authCode="+v.code(id)+"&state="+url.QueryEscape(state))
				}()
				until(func() bool { return s.sim.Calls(call) > before })
				if leaves { // the person stays in the directory: only the event reports the leaving
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
					defer cancel()
					if err := s.sim.Delivered(ctx,
						s.sim.Emit("user_leave_org", map[string]any{"userId": []string{id}})); err != nil {
						h.failf("the event: %v", err)
					}
				}
				a := <-back
				if a.status != 302 || v.value(sessionCookie) == "" {
					h.failf("the sign-in ended with %v", a)
					return
				}
				want := map[bool]int{true: 401, false: 200}[leaves]
				if a := h.send(request{
					authorized: !leaves,
					raw:        requestText("GET", "/page", h.id, v.cookie()),
				}); a.status != want {
					h.failf("the page is %v, want %d", a, want)
				}
			}})
		}
	}
	return list
}

// repeatedSignIns covers D14: repeated sign-ins and sign-outs of one account.
func repeatedSignIns() (list []try) {
	for _, name := range []string{"alice", "bob", "管理员"} {
		list = append(list, try{"D14 a hundred sign-ins and sign-outs of " + name, func(h *client) {
			colleague := h.visitor().signIn("lisi")
			for range 100 {
				v := h.visitor().account(name)
				old := v.value(sessionCookie)
				if a := v.signOut(); a.status != http.StatusSeeOther {
					h.failf("sign-out = %v", a)
				}
				if a := h.send(request{raw: requestText("GET", "/page", h.id,
					"Cookie: "+sessionCookie+"="+old)}); a.status != 401 {
					h.failf("a session that was signed out got %v", a)
				}
			}
			if a := colleague.do(request{authorized: true}, "GET", "/page"); a.status != 200 {
				h.failf("a colleague got %v", a)
			}
		}})
	}
	return list
}

func (v *visitor) signOut(lines ...string) *answer {
	return v.do(request{cleared: true}, "POST", "/oauth2/sign_out",
		append([]string{"Sec-Fetch-Site: same-origin", "Origin: null", "Content-Length: 0"}, lines...)...)
}

// severalCookies covers sign-outs of a browser that sends several cookies with our name. All
// sessions that verify end, including a planted one.
func severalCookies() (list []try) {
	for name, garbage := range map[string]string{"no other": "", "behind one that does not verify": sessionCookie + "=x; ",
		"behind nine that do not verify":  strings.Repeat(sessionCookie+"=x; ", 9),
		"behind sixty that do not verify": strings.Repeat(sessionCookie+"=x; ", 60)} {
		for _, second := range []string{"alice", "bob"} {
			list = append(list,
				try{"C10 C3 a sign-out with two that verify, " + name + ", of alice and " + second, func(h *client) {
					one, two := h.visitor().account("alice"), h.visitor().account(second)
					both := "Cookie: " + garbage + sessionCookie + "=" + one.value(sessionCookie) + "; " +
						sessionCookie +
						"=" + two.value(sessionCookie)
					if a := h.visitor().signOut(both); a.status != http.StatusSeeOther {
						h.failf("sign-out = %v", a)
					}
					for _, v := range []*visitor{one, two} {
						if a := h.send(request{raw: requestText("GET", "/page", h.id, v.cookie())}); a.status != 401 {
							h.failf("a session that was signed out got %v", a)
						}
					}
				}})
		}
	}
	return list
}
