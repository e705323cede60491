package dingtalk_test

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"dinggate/dingtalk"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/identity"
)

// members reads all members of the organisation, by userid.
func members(t *testing.T, d *dingtalk.Directory) (map[string]identity.User, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all := map[string]identity.User{}
	err := (&dingtalk.Organisation{Directory: d}).Read(ctx, func(u identity.User) {
		if _, twice := all[u.UserID]; twice {
			t.Errorf("%s came twice", u.UserID)
		}
		all[u.UserID] = u
	})
	return all, err
}

// sorted returns u with its lists sorted.
func sorted(u identity.User) identity.User {
	u.Departments, u.Roles = slices.Clone(u.Departments), slices.Clone(u.Roles)
	slices.Sort(u.Departments)
	slices.SortFunc(u.Roles, func(a, b identity.Role) int { return int(a.ID - b.ID) })
	return u
}

// TestOrganisation checks that the lists and the individual lookups return the same data
// for every member, and that the lists contain no person whom the lookup refuses.
func TestOrganisation(t *testing.T) {
	g := newEnv(t)
	for _, id := range []string{"sunzhi", "qianbao"} {
		err := g.Add(simulator.Person{
			ID: id,
			Record: simulator.Record{
				UserID:      id,
				Name:        id,
				Email:       id + "@yunfan.example",
				Departments: []int64{4201, 43},
				Roles:       []int64{101, 200},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	all, err := members(t, g.dir)
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{"zhangsan", "lisi", "wangwu", "zhaoliu", "ouyang", "sunzhi", "qianbao"}
	for _, id := range ids {
		want, err := g.dir.Person(t.Context(), g.unionID(t, id))
		if err != nil {
			t.Fatal(err)
		}
		if got := all[want.UserID]; !reflect.DeepEqual(sorted(got), sorted(want)) {
			t.Errorf("the lists give %+v, the lookup %+v", got, want)
		}
	}
	if len(all) != len(ids) {
		t.Errorf("%d people, want %d: %v", len(all), len(ids), all)
	}
}

// TestOrganisationStanding: the lists do not contain whether an enterprise account is disabled, so
// they confirm none, and the lookup decides.
func TestOrganisationStanding(t *testing.T) {
	for _, tt := range []struct {
		name          string
		change        func(*simulator.Person)
		listed        bool
		found, status string
	}{
		{"ordinary", func(*simulator.Person) {}, true, "", ""},
		{"enterprise", func(p *simulator.Person) { p.Enterprise = true }, false, "", ""},
		{"disabled", func(p *simulator.Person) { p.Disabled = true }, false, "refused disabled", ""},
		{"enterprise, with its state", func(p *simulator.Person) { p.Enterprise = true }, true, "", "false"},
		{"disabled, with its state", func(p *simulator.Person) { p.Disabled = true }, false, "refused disabled", "true"},
	} {
		g := newEnv(t)
		who, _ := g.Who("zhangsan")
		if err := g.Change("zhangsan", tt.change); err != nil {
			t.Fatal(err)
		}
		if tt.status != "" { // DingTalk may add the field
			g.Fault(simulator.Fault{On: "/topapi/v2/user/list", Do: simulator.Body(`{"errcode":0,"result":{"has_more":false,` +
				`"list":[{"userid":"zhangsan","unionid":"` + who.UnionID + `","name":"张三","active":true,"dept_id_list":[4201],` +
				`"exclusive_account":true,"disable_status":` + tt.status + `}]}}`)})
		}
		all, err := members(t, g.dir)
		if err != nil {
			t.Fatal(err)
		}
		_, listed := all["zhangsan"]
		_, err = g.dir.Person(t.Context(), who.UnionID)
		if listed != tt.listed || verdict(err) != tt.found {
			t.Errorf("%s: listed %v, looked up %q; want %v, %q", tt.name, listed, verdict(err), tt.listed, tt.found)
		}
	}
}

// TestOrganisationLarge tests departments on three levels, with more than one page of
// people.
func TestOrganisationLarge(t *testing.T) {
	sim := simulator.Large(700, 130)
	sim.Apps[0].PerSecond = 0
	one := newEnvOf(t, sim)
	all, err := members(t, one.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, there := all["m00700"]; !there || len(all) != 700+5 {
		t.Errorf("%d people, the last of them %v", len(all), there)
	}
	if u := all["m00120"]; len(u.Ancestors) < 4 || !slices.Contains(u.Ancestors, 1) {
		t.Errorf("departments above m00120: %v", u.Ancestors)
	}
}

// TestOrganisationUnread checks that an unreadable list yields no members and an error
// that names the permission. The members of a department that is out of scope are missing.
func TestOrganisationUnread(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*simulator.App)
		want   string
		people int
	}{
		{"no list of members", func(a *simulator.App) { a.Missing = []string{"qyapi_get_department_member"} },
			"operator permission_missing", 0},
		{"no list of departments", func(a *simulator.App) { a.Missing = []string{"qyapi_get_department_list"} },
			"operator permission_missing", 0},
		{"one department", func(a *simulator.App) { a.Scope = []int64{4201} }, "", 1},
	} {
		g := newEnv(t)
		if err := g.ChangeApp(simulator.DemoClientID, tt.change); err != nil {
			t.Fatal(err)
		}
		all, err := members(t, g.dir)
		if verdict(err) != tt.want || len(all) != tt.people {
			t.Errorf("%s: %d people, %v; want %d, %q", tt.name, len(all), err, tt.people, tt.want)
		}
	}
}

// TestLeavers tests several pages, and that only people who left in the span are listed.
func TestLeavers(t *testing.T) {
	g := newEnv(t)
	since := g.Time()
	for i := range 120 {
		id := "leaver" + string(rune('a'+i/26)) + string(rune('a'+i%26))
		if err := g.Add(simulator.Person{ID: id, Record: simulator.Record{UserID: id, Name: id, Departments: []int64{43}}}); err != nil {
			t.Fatal(err)
		}
		if err := g.Leave(id); err != nil {
			t.Fatal(err)
		}
	}
	got, err := g.client.Leavers(t.Context(), since.Add(-time.Minute))
	if err != nil || len(got) != 120 || got[0].UserID != "leaveraa" || got[0].Left.IsZero() {
		t.Fatalf("%d leavers, %v; want 120", len(got), err)
	}
	for id, want := range map[string]bool{"leaveraa": true, "zhangsan": false} {
		if gone, err := g.dir.Gone(t.Context(), id); gone != want || err != nil {
			t.Errorf("Gone(%s) = %v, %v, want %v", id, gone, err, want)
		}
	}
	if err := g.KillAppToken(simulator.DemoClientID); err != nil {
		t.Fatal(err)
	}
	if got, err := g.client.Leavers(t.Context(), since.Add(-time.Minute)); err != nil || len(got) != 120 {
		t.Errorf("after the app's token died: %d, %v", len(got), err)
	}
	if err := g.ChangeApp(simulator.DemoClientID,
		func(a *simulator.App) { a.Missing = []string{"Contact.Common.Read"} }); err != nil {
		t.Fatal(err)
	}
	if _, err := g.client.Leavers(t.Context(), since); verdict(err) != "operator permission_missing" {
		t.Errorf("without the permission: %v", err)
	}
}
