package access

import (
	"reflect"
	"testing"

	"dinggate/internal/conf"
)

func TestExplain(t *testing.T) {
	p := policy(t, Config{
		{Path: "/a", Access: &RuleConfig{Named: "public"}},
		{Path: "/", Host: "wiki.test"},
		{Path: "/", Methods: []string{"GET", "PUT"}, Access: &RuleConfig{Users: []string{"x"}}},
		{Path: "/", Access: &RuleConfig{
			Departments: []string{"3"},
			Roles:       []string{"r"},
			Emails:      []string{"*@b.test"},
			Networks:    []string{"10.0.0.0/8"},
		}},
	}.Routes()...)
	d, steps := p.Explain(Target{Method: "POST", Host: "app.test", Path: "/x"}, member)
	if want := (Decision{Deny, 3, "", NotAllowed}); d != want {
		t.Errorf("Explain() = %+v, want %+v", d, want)
	}
	want := []Step{
		{0, "/a", conf.Text{Format: "does not match: another path"}},
		{1, "wiki.test/", conf.Text{Format: "does not match: another host"}},
		{2, "GET,PUT /", conf.Text{Format: "does not match: another method"}},
		{3, "/", conf.Text{Format: "matches"}},
		{3, "/", conf.Text{Format: "networks: the client is in none"}},
		{3, "/", conf.Text{Format: "departments: the person is in none of them, nor below"}},
		{3, "/", conf.Text{Format: "roles: the person has none of them"}},
		{3, "/", conf.Text{Format: "emails: the person's is none of them"}},
		{3, "/", conf.Text{Format: "names this person in no part of its rule"}},
	}
	if !reflect.DeepEqual(steps, want) {
		t.Errorf("Explain() steps = %+v, want %+v", steps, want)
	}
}

// TestExplainWholeRequest: the explanation if no single route decides.
func TestExplainWholeRequest(t *testing.T) {
	p := policy(t, Route{Name: "a", Path: "/a", Host: "a.test", Methods: []string{"GET"}, Rule: public})
	for _, c := range []struct {
		target Target
		want   []Step
	}{
		{Target{Path: "/b"},
			[]Step{{0, "a", conf.Text{Format: "does not match: another path"}},
				{-1, "", conf.Text{Format: "no route matches"}}}},
		{Target{Path: "/b", Readings: []string{"/c"}},
			[]Step{{0, "a", conf.Text{Format: "does not match: another path"}},
				{-1, "", conf.Text{Format: "no route matches"}}, {-1, "", conf.Textf("may be read as %s", "/c")},
				{0, "a", conf.Text{Format: "does not match: another path"}},
				{-1, "", conf.Text{Format: "no route matches"}}}},
		{Target{Path: "/a", Method: "GET", Host: "a.test", Readings: []string{"/b"}},
			[]Step{{0, "a", conf.Text{Format: "matches"}}, {0, "a", conf.Text{Format: "public"}},
				{-1, "", conf.Textf("may be read as %s", "/b")},
				{0, "a", conf.Text{Format: "does not match: another path"}},
				{-1, "", conf.Text{Format: "no route matches"}},
				{-1, "", conf.Text{Format: "the readings of the path select different routes"}}}},
		{Target{Path: "/a"},
			[]Step{{0, "a", conf.Text{Format: "may match: the host is unknown"}},
				{0, "a", conf.Text{Format: "may match: the method is unknown"}},
				{0, "a", conf.Text{Format: "public"}}, {-1, "", conf.Text{Format: "no route matches"}}}},
		{Target{Unknown: true},
			[]Step{{0, "a", conf.Text{Format: "may match: the path is unknown"}},
				{0, "a", conf.Text{Format: "public"}}}},
	} {
		if _, got := p.Explain(c.target, nil); !reflect.DeepEqual(got, c.want) {
			t.Errorf("Explain(%+v) = %+v, want %+v", c.target, got, c.want)
		}
	}
}
