package oidc

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"dinggate/internal/identity"
)

// TestDepartmentPaths: the claim names departments by their path below the organisation; token
// calls never call DingTalk, and a department with an unknown name in its path is omitted.
func TestDepartmentPaths(t *testing.T) {
	e := newEnv(t)
	list := testClients()
	list[0].Groups = []string{GroupRoles, GroupDepartmentPaths}
	tree := map[int64]Department{2: {"研发部", 1}, 42: {"平台/工具组", 2}, 7: {"财务部", 1}}
	calls, away := 0, false
	e.Provider = e.provider(list)
	e.People.Department = func(_ context.Context, id int64) (Department, error) {
		calls++
		if away {
			return Department{}, errors.New("DingTalk does not answer")
		}
		d, ok := tree[id]
		if !ok {
			return d, ErrNoDepartment
		}
		return d, nil
	}
	groups := func(token string) []any {
		t.Helper()
		before := calls
		u := object(t, e.call("GET", PathUserinfo, "", "Authorization", "Bearer "+token))
		if calls != before {
			t.Errorf("userinfo called DingTalk")
		}
		got, _ := u["groups"].([]any)
		return got
	}
	cookie := e.login(zhangsan)
	signIn := func() string {
		t.Helper()
		a, v := e.tokens(redemption(e.code(cookie)), "app", appSecret)
		if a.status != http.StatusOK {
			t.Fatalf("token = %d %s", a.status, a.body)
		}
		return v["access_token"].(string)
	}
	token, want := signIn(), []any{"主管", "ops", "研发部/平台／工具组"}
	if got := groups(token); !slices.Equal(got, want) {
		t.Errorf("groups = %v, want %v", got, want)
	}

	// A new department: no token call looks it up, and no partial path is returned.
	moved := zhangsan
	moved.Departments = []int64{7, 42, 99}
	e.facts["U1"] = moved
	if got := groups(token); !slices.Equal(got, want) {
		t.Errorf("with an unknown department: groups = %v, want %v", got, want)
	}
	if err := e.people().visit(t.Context(), subjectOf(t, e, &moved)); err != nil {
		t.Fatal(err)
	}
	want = []any{"主管", "ops", "财务部", "研发部/平台／工具组"}
	if got := groups(token); !slices.Equal(got, want) {
		t.Errorf("after a visit: groups = %v, want %v", got, want)
	}

	// A new name arrives within the hour; while DingTalk is unreachable the old one stays.
	tree[7] = Department{"财务中心", 1}
	e.offset += namesFresh + time.Minute
	away = true
	token = signIn()
	if got := groups(token); !slices.Equal(got, want) {
		t.Errorf("while DingTalk is away: groups = %v, want %v", got, want)
	}
	away = false
	token = signIn()
	e.offset += 2 * namesNear
	want[2] = "财务中心"
	if got := groups(token); !slices.Equal(got, want) {
		t.Errorf("after the new name: groups = %v, want %v", got, want)
	}

	// Without any name a sign-in waits: an application never receives an incomplete claim.
	away = true
	moved.Departments = []int64{42, 8}
	e.facts["U1"] = moved
	if a := e.browser("GET", PathAuthorize+"?"+authorizeURL(), cookie, ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("while DingTalk does not answer = %d %s", a.status, a.header.Get("Location"))
	}
}

// TestDepartmentCircle: a tree with a cycle, or with too many levels, has no path.
func TestDepartmentCircle(t *testing.T) {
	e := newEnv(t)
	e.People.Department = func(_ context.Context, id int64) (Department, error) { return Department{"部", id ^ 1}, nil }
	if got, err := e.disclosure().paths(t.Context(), []int64{42, 1, 0, -1}, true); err != nil || len(got) != 0 {
		t.Errorf("paths = %v, %v", got, err)
	}
}

func subjectOf(t *testing.T, e *env, u *identity.User) string {
	t.Helper()
	sub, err := e.subjects().of(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}
