package explain

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/i18n"
	"dinggate/internal/identity"
	"dinggate/proxy/access"
	"dinggate/proxy/accessrequest"
)

// TestGranted checks that a grant admits a person to its route only, even if no list has
// the person. If no process serves, the output reports that grants are unknown.
func TestGranted(t *testing.T) {
	cfg := config.Default()
	cfg.PublicURL, cfg.AccessRequests.AgentID = "https://app.example.com", 1
	rule := &access.RuleConfig{Users: []string{"lisi"}}
	for _, path := range []string{"/admin/", "/other/"} {
		r := config.DefaultRoute()
		r.Path, r.Access, r.Request = path, rule, &accessrequest.RouteConfig{}
		cfg.Routes = append(cfg.Routes, r)
	}
	user := &identity.User{UserID: "zhaoliu", Username: "zhaoliu"}
	known := func(context.Context, *config.Config, []string, string) ([]Grant, error) {
		return []Grant{{ID: "ONE", Route: "/admin/", Until: time.Now().Add(time.Hour)}}, nil
	}
	away := func(context.Context, *config.Config, []string, string) ([]Grant, error) {
		return nil, errors.New("away")
	}
	for _, row := range []struct {
		path          string
		grants        GrantsOf
		verdict, note string
	}{
		{"/admin/x", known, "allow", "ONE"},
		{"/other/x", known, "deny", ""},
		{"/admin/x", away, "deny", "away"},
		{"/admin/x", nil, "deny", ""},
	} {
		target := access.Target{Method: "GET", Host: "app.example.com", SignIn: access.SignInAge{Known: true}}
		notes := granted(t.Context(), cli.Invocation{}, cfg, row.grants, &target, user)
		e, err := Explain(cfg, target, row.path, user)
		if err != nil || e.Verdict != row.verdict {
			t.Fatalf("%s = %+v, %v, want %s", row.path, e, err, row.verdict)
		}
		text := ""
		for _, n := range notes(e.Rule) {
			text += n[i18n.English]
		}
		if row.note == "" && text != "" || !strings.Contains(text, row.note) {
			t.Errorf("%s: notes = %q, want %q in it", row.path, text, row.note)
		}
	}
}
