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

// peopleFile are the local accounts of that env, whose passwords tries change.
type peopleFile struct {
	mu        sync.Mutex
	path      string
	passwords map[string]string
	lines     map[string]string
}

func (f *peopleFile) set(name, password string) error {
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

// openPeople starts the env where people keep their own names beside local
// accounts, unless they are bound, and where the organisation's events are received.
func openPeople(t *testing.T) *env {
	dir := t.TempDir()
	file := &peopleFile{
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
	s.t, s.htpasswd, s.excused = t, file, []string{"which is soon guessed", "The configuration has no mistakes, but"}
	s.budget.Store(1 << 40) // lookups go on by themselves here
	return s
}

// namesakes are T34, T35, K19 and D14, and what a sign-out ends.
func namesakes(s *env) []try {
	return slices.Concat(lookalikes(), changedPasswords(), endless(), carriedTwice(), writers(s))
}

// lookalikes are T35: nobody gets in under a name that can be taken for an
// account's.
func lookalikes() (list []try) {
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
				if seen := h.arrival(id, name, ""); seen != nil {
					h.failf("got in as %q", seen.value("X-Forwarded-User"))
				}
			}})
		}
	}
	for _, name := range []string{"alicia", "alic", "bobby", "管理", "王小明", "a lice", "álice"} {
		n++
		id := fmt.Sprint("like", n)
		list = append(list, try{fmt.Sprintf("T35 %+q is nobody's", name), func(h *client) {
			if seen := h.arrival(id, name, ""); seen == nil {
				h.failf("did not get in")
			}
		}})
	}
	return list
}

// changedPasswords are T34: of a loop of sign-ins during the change of a password
// no session is left, and those of the new one live.
func changedPasswords() (list []try) {
	for i := range 3 {
		list = append(list,
			try{fmt.Sprintf("T34 the password of pw%d changes in a loop of sign-ins", i), func(h *client) {
				name := fmt.Sprint("pw", i)
				old, fresh := password(name), password(name)+"-new"
				var begun []string
				enter := func() {
					v := h.visitor()
					if a := v.form("", name, old); a.status == 303 {
						begun = append(begun, v.value(sessionCookie))
					}
				}
				for range 3 {
					enter()
				}
				if err := h.env.htpasswd.set(name, fresh); err != nil {
					h.failf("%v", err)
					return
				}
				var after *visitor
				if !until(func() bool {
					enter()
					v := h.visitor()
					if v.form("", name, fresh).status == 303 {
						after = v
					}
					return after != nil
				}) {
					h.failf("the new password is never taken")
					return
				}
				for i, text := range begun {
					if a := h.send(request{raw: requestText("GET", "/page", h.id,
						"Cookie: "+sessionCookie+"="+text)}); a.status != 401 {
						h.failf("session %d of %d with the old password got %v", i, len(begun), a)
					}
				}
				if a := after.ask(request{right: true}, "GET", "/page"); a.status != 200 {
					h.failf("the session of the new password got %v", a)
				}
			}})
	}
	return list
}

// leavers are K18: the organisation tells that somebody has left while DingTalk
// is being asked who they are, at each of its calls.
func leavers(s *env) (list []try) {
	for i, call := range []string{"/v1.0/oauth2/userAccessToken", "/v1.0/contact/users/me",
		"/topapi/user/getbyunionid", "/topapi/v2/user/get"} {
		for _, leaves := range []bool{true, false} {
			id := fmt.Sprintf("going%d-%v", i, leaves)
			list = append(list, try{fmt.Sprintf("K18 leaves %v during %s", leaves, call), func(h *client) {
				if err := s.sim.Join(simulator.Person{
					ID:          id,
					UserID:      id,
					Name:        id,
					Nick:        id,
					Departments: []int64{42},
				}); err != nil {
					h.failf("%v", err)
					return
				}
				v := h.visitor()
				state, _ := v.begin("/oauth2/start")
				s.sim.Fault(simulator.Fault{On: call, Do: simulator.Delay(1500 * time.Millisecond), Times: 1})
				before, back := s.sim.Calls(call), make(chan *answer)
				go func() {
					back <- v.ask(request{session: true, slow: true}, "GET",
						"/oauth2/callback?authCode="+v.code(id)+"&state="+url.QueryEscape(state))
				}()
				until(func() bool { return s.sim.Calls(call) > before })
				if leaves { // they stay in the directory: the event alone tells
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
					right: !leaves,
					raw:   requestText("GET", "/page", h.id, v.cookie()),
				}); a.status != want {
					h.failf("their page is %v, want %d", a, want)
				}
			}})
		}
	}
	return list
}

// endless are D14: sign-ins and sign-outs of one account, one after the other.
func endless() (list []try) {
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
			if a := colleague.ask(request{right: true}, "GET", "/page"); a.status != 200 {
				h.failf("a colleague got %v", a)
			}
		}})
	}
	return list
}

func (v *visitor) signOut(lines ...string) *answer {
	return v.ask(request{cleared: true}, "POST", "/oauth2/sign_out",
		append([]string{"Sec-Fetch-Site: same-origin", "Origin: null", "Content-Length: 0"}, lines...)...)
}

// carriedTwice are sign-outs of a browser that carries several cookies of our
// name: all that verify end, whichever was planted.
func carriedTwice() (list []try) {
	for name, garbage := range map[string]string{"alone": "", "behind one that is none": sessionCookie + "=x; ",
		"behind nine that are none":  strings.Repeat(sessionCookie+"=x; ", 9),
		"behind sixty that are none": strings.Repeat(sessionCookie+"=x; ", 60)} {
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
