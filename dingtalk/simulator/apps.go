package simulator

import (
	"crypto/subtle"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// App is an internal app of the organisation, with the console's switches.
// The zero value of each switch is the permissive one.
type App struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Name         string `json:"name"`
	AgentID      int64  `json:"agent_id"` // who sends work notifications; 0 = DemoAgentID

	Redirects []string `json:"redirects"` // 重定向URL; empty = any http URL of the loopback host
	// without Redirects: any http or https URL of these hosts too, with or without a port; "*" = of
	// every host
	RedirectHosts []string `json:"redirect_hosts"`
	// true: scheme and host must be registered; false: the whole address
	RedirectDomain bool `json:"redirect_domain"`
	// permission points that were not granted: "qyapi_get_member", "Contact.User.Read" …
	Missing         []string `json:"missing"`
	Scope           []int64  `json:"scope"`            // 通讯录权限范围, departments; nil with ScopeUsers nil = all
	ScopeUsers      []string `json:"scope_users"`      // userids besides Scope
	Range           []int64  `json:"range"`            // 可使用范围, departments; nil with RangeUsers nil = all
	RangeUsers      []string `json:"range_users"`      // userids besides Range
	RefuseOutsiders bool     `json:"refuse_outsiders"` // the sign-in page refuses people of other organisations
	Addresses       []string `json:"addresses"`        // 服务器出口IP: addresses or CIDRs; empty = any
	Unpublished     bool     `json:"unpublished"`      // no version was published
	Stopped         bool     `json:"stopped"`          // 应用已停用
	PerSecond       int      `json:"per_second"`       // calls per second and API; 0 = no limit. DingTalk's is 20
}

func (a App) clone() *App {
	a.Redirects, a.RedirectHosts = slices.Clone(a.Redirects), slices.Clone(a.RedirectHosts)
	a.Missing, a.Addresses = slices.Clone(a.Missing), slices.Clone(a.Addresses)
	a.Scope, a.ScopeUsers = slices.Clone(a.Scope), slices.Clone(a.ScopeUsers)
	a.Range, a.RangeUsers = slices.Clone(a.Range), slices.Clone(a.RangeUsers)
	return &a
}

// AddApp registers an app. Its ClientID must be new.
func (p *Platform) AddApp(a App) error {
	defer p.lock()()
	if a.ClientID == "" || p.apps.get(a.ClientID) != nil || len(p.apps.list) >= 1000 {
		return fmt.Errorf("simulator: adding app %q: needs a client id of its own", a.ClientID)
	}
	p.apps.list = append(p.apps.list, a.clone())
	return nil
}

// ChangeApp calls change to edit an app. "" = the first app. The ClientID stays. Where
// Stopped or the range (可使用范围) changes it emits the event about that; a change of the
// contact scope (通讯录权限范围) has none.
func (p *Platform) ChangeApp(clientID string, change func(*App)) error {
	unlock := p.lock()
	a := p.apps.get(clientID)
	if a == nil {
		unlock()
		return fmt.Errorf("simulator: changing app %q: there is none", clientID)
	}
	before := a.clone()
	change(a)
	a.ClientID = before.ClientID
	after := a.clone()
	unlock()
	if before.Stopped != after.Stopped {
		status := "enable"
		if after.Stopped {
			status = "disable"
		}
		p.Emit("inner_app_status_change", after.eventData(map[string]any{"status": status}))
	}
	if !sameRange(before, after) {
		p.Emit("inner_app_scopes_change", after.eventData(map[string]any{"deptIds": after.Range,
			"userIds": after.RangeUsers, "roleIds": []int64{}}))
	}
	return nil
}

// sameRange also distinguishes nil, which means all people, from an empty list.
func sameRange(a, b *App) bool {
	return reflect.DeepEqual(a.Range, b.Range) && reflect.DeepEqual(a.RangeUsers, b.RangeUsers)
}

// eventData is the data of an event about the app itself.
func (a *App) eventData(data map[string]any) map[string]any {
	data["unifiedAppId"], data["operatorUnionId"] = digest("app", a.ClientID), digest("operator", a.ClientID)
	return data
}

// appRegistry holds the apps of the organisation and the rate at which each
// calls. The platform's mu guards it.
type appRegistry struct {
	list   []*App
	recent map[string]*window
}

// get returns nil if there is no such app; "" means the first.
func (r *appRegistry) get(clientID string) *App {
	for _, a := range r.list {
		if clientID == "" || a.ClientID == clientID {
			return a
		}
	}
	return nil
}

// authenticate returns the app with this id and secret, or nil.
func (r *appRegistry) authenticate(clientID, secret string) *App {
	a := r.get(clientID)
	if clientID == "" || a == nil || subtle.ConstantTimeCompare([]byte(a.ClientSecret), []byte(secret)) != 1 {
		return nil
	}
	return a
}

func (a *App) hasPermission(point string) bool { return !slices.Contains(a.Missing, point) }

// allowsRedirect is the check of the redirect URI at the sign-in page.
func (a *App) allowsRedirect(redirect string) bool {
	u, err := url.Parse(redirect)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	if len(a.Redirects) == 0 {
		return u.Scheme == "http" && loopback(u.Hostname()) ||
			slices.ContainsFunc(a.RedirectHosts, func(host string) bool {
				return host == "*" || strings.EqualFold(host, u.Host) || strings.EqualFold(host, u.Hostname())
			})
	}
	return slices.ContainsFunc(a.Redirects, func(registered string) bool {
		if !a.RedirectDomain {
			return registered == redirect
		}
		r, err := url.Parse(registered)
		return err == nil && r.Scheme == u.Scheme && r.Host == u.Host
	})
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// allowsAddress is the check of 服务器出口IP. An entry that is not an address matches none.
func (a *App) allowsAddress(remote string) bool {
	if len(a.Addresses) == 0 {
		return true
	}
	ip, err := netip.ParseAddr(remoteIP(remote))
	return err == nil && slices.ContainsFunc(a.Addresses, func(entry string) bool {
		if one, err := netip.ParseAddr(entry); err == nil {
			return one == ip.Unmap()
		}
		net, err := netip.ParsePrefix(entry)
		return err == nil && net.Contains(ip.Unmap())
	})
}

func remoteIP(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return remote
}

// sees reports whether a member is in the app's contact scope, uses whether the
// app is visible to a member. People outside the organisation are in neither.
func (o *organisation) sees(a *App, who *Person) bool {
	return o.inDepartmentsOrUsers(who, a.Scope, a.ScopeUsers)
}
func (o *organisation) uses(a *App, who *Person) bool {
	return o.inDepartmentsOrUsers(who, a.Range, a.RangeUsers)
}

func (o *organisation) inDepartmentsOrUsers(who *Person, departments []int64, users []string) bool {
	if departments == nil && users == nil {
		return true
	}
	return slices.Contains(users, who.UserID) ||
		slices.ContainsFunc(who.Departments, func(id int64) bool { return o.inSubtree(id, departments) })
}

// seesDepartment is sees for a department.
func (o *organisation) seesDepartment(a *App, id int64) bool {
	return a.Scope == nil && a.ScopeUsers == nil || o.inSubtree(id, a.Scope)
}

// window holds when an app called an endpoint during the last second.
type window struct{ calls []time.Time }

// throttled counts a call and reports whether it is one too many: of any second,
// wherever it begins, PerSecond calls are answered. Refused calls do not count.
func (r *appRegistry) throttled(a *App, endpoint string, at time.Time) bool {
	if a.PerSecond <= 0 {
		return false
	}
	if r.recent == nil {
		r.recent = map[string]*window{}
	}
	key := a.ClientID + " " + endpoint
	w := r.recent[key]
	if w == nil {
		w = &window{}
		r.recent[key] = w
	}
	for len(w.calls) > 0 && (at.Sub(w.calls[0]) >= time.Second || at.Before(w.calls[0])) {
		w.calls = w.calls[1:]
	}
	if len(w.calls) >= a.PerSecond {
		return true
	}
	w.calls = append(w.calls, at)
	return false
}
