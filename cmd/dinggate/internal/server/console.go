package server

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/i18n"
	"dinggate/internal/identity"
	"dinggate/internal/page"
	"dinggate/internal/web"
	"dinggate/proxy"
	"dinggate/proxy/access"
	"dinggate/proxy/console"
	"dinggate/proxy/login"
	"dinggate/session"
)

const consolePath = "/console"

// newConsole returns the administrators' console; nil without console.access.
func newConsole(c settings, st *State, flow *login.Flow, sessions *session.Manager) (*console.Handler, error) {
	if !c.Console.On() {
		return nil, nil
	}
	policy, err := console.NewPolicy(c.Console, c.Prefix+consolePath)
	if err != nil {
		return nil, err
	}
	service := consoleService{
		state:    st,
		sessions: sessions,
		store: &admin.SessionStore{Sessions: func() *session.Manager { return sessions }, Note: st.Note,
			Grants: st.Grants()},
		rules: ruleTexts(c.Config),
		c:     c,
	}
	h := &console.Handler{
		Base:     c.Prefix + consolePath,
		Policy:   policy,
		Fresh:    web.Reauthentication{Fresh: c.Console.Access.Fresh, Silent: c.Console.Access.FreshSilent},
		Pages:    c.pages,
		Ours:     func(origin string) bool { return origin == c.origins.Public() },
		Public:   c.origins.OnPublic,
		Current:  flow.CurrentSession,
		Absent:   session.Absent,
		Age:      func(s *session.Session) access.SignInAge { return proxy.SignInAge(sessions, s) },
		SignIn:   flow.RequireSignIn,
		Again:    flow.Reauthenticate,
		Sessions: func(ctx context.Context) session.Listing { return session.List(ctx, sessions) },
		Refusals: service.refusals,
		Status:   service.status,
		End:      service.end,
		Denied:   st.auditConsoleDenied,
	}
	if c.AccessRequests.On() {
		h.Requests = service.requests
	}
	return h, nil
}

func consoleEndpoints(h *console.Handler) family {
	if h == nil {
		return family{}
	}
	root := strings.TrimSuffix(h.Base, consolePath)
	return family{root: root, paths: map[string]web.HandlerFunc{h.Base: h.Serve, h.Base + "/": h.Serve}}
}

// consoleService implements the lists and actions of the console.
type consoleService struct {
	state    *State
	sessions *session.Manager
	store    *admin.SessionStore
	rules    map[string]string
	c        settings
}

func (d consoleService) end(ctx context.Context, e console.End) (found bool, err error) {
	switch {
	case e.Request != "":
		answer, err := d.store.Grants.End(ctx, e.Request, e.Reason, e.By)
		return answer.Result == admin.GrantHasEnded, err
	case e.Person != nil:
		err := d.store.EndPerson(ctx, e.Person, admin.SessionsEnd{Reason: e.Reason, By: e.By, Grants: e.Grants})
		return true, err
	case e.Session != "":
		for _, s := range session.List(ctx, d.sessions).Sessions {
			if s.ID == e.Session {
				_, err := d.store.End(ctx, admin.SessionsEnd{Who: s.ID, Reason: e.Reason, By: e.By})
				return true, err
			}
		}
		return false, nil
	}
	_, err = d.store.End(ctx, admin.SessionsEnd{Who: e.User, Reason: e.Reason, By: e.By, Grants: e.Grants})
	return true, err
}

func (d consoleService) requests(ctx context.Context) ([]page.ConsoleRequest, error) {
	all, err := d.store.Grants.List(ctx, "")
	if err != nil {
		return nil, err
	}
	var list []page.ConsoleRequest
	for _, g := range all.Grants {
		list = append(list, page.ConsoleRequest{ID: g.ID, Name: g.Name, User: g.User, Route: g.Route, Reason: g.Reason,
			For: g.For, By: g.By, Requested: g.Asked, Until: g.Until,
			Approvers: strings.Join(g.Approvers, ", "), Unnotified: g.Unnotified})
	}
	return list, nil
}

// refusals returns those of the last day.
func (d consoleService) refusals(ctx context.Context) console.Refusals {
	people := map[string]*identity.User{} // a rule refuses a user who is signed in
	known := session.List(ctx, d.sessions)
	for i := range known.Sessions {
		people[known.Sessions[i].User.Username] = &known.Sessions[i].User
	}
	found, err := d.state.refusals.list(ctx, d.c.keyring, time.Now())
	all := console.Refusals{Scope: known.Scope, Incomplete: err != nil}
	for _, one := range found {
		if u := people[one.User]; u != nil && one.Route != "" {
			one.Name, one.UserID = u.Name, u.UserID
		}
		line := page.ConsoleRefusal{At: time.Unix(0, one.At), Name: one.Name, User: one.User, Code: one.Code,
			Route: one.Host + one.Route, Device: one.Device}
		if one.Client.IsValid() {
			line.Address = one.Client.String()
		}
		if one.Route != "" {
			line.Rule = d.rules[one.Route]
			line.Explain = explainCommand(d.c.Config, one)
		}
		all.List = append(all.List, line)
	}
	return all
}

// explainCommand is the command with which an operator finds the rule that refused. It
// contains no character that a shell interprets.
func explainCommand(c *config.Config, one refusal) string {
	if one.UserID == "" || strings.ContainsFunc(one.UserID+one.Host, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@", r)
	}) || strings.ContainsAny(one.Route, "'\\\n\r") {
		return ""
	}
	scheme, _, _ := strings.Cut(c.PublicURL, "://")
	return "dinggate explain --user " + one.UserID + " --lookup --url '" + scheme + "://" + one.Host + one.Route + "'"
}

// status returns the state of this process as lines.
func (d consoleService) status(ctx context.Context, language string) []page.ConsoleFact {
	facts := []page.ConsoleFact{}
	in := i18n.Chinese
	if language == "en" {
		in = i18n.English
	}
	if report := d.state.report.Load(); report != nil {
		for _, f := range (*report)(in) {
			facts = append(facts, page.ConsoleFact{Name: f.Name, Value: f.Value, Bad: f.Bad})
		}
	}
	return append(facts, d.replicas(ctx, language)...)
}

// auditConsoleDenied records an attempt to open the console without permission.
func (s *State) auditConsoleDenied(x *web.Exchange, who *session.Session) {
	_ = s.Note(slog.LevelWarn, "console", "console_denied", pairs([2]string{"req", x.ID}, [2]string{"client", x.Client.String()},
		[2]string{"user", who.User.Username}, [2]string{"userid", who.User.UserID}, [2]string{"name", who.User.Name})...)
}
