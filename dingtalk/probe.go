package dingtalk

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dinggate/internal/identity"
)

// Calls that only a Probe makes.
const (
	pathScopes     = "/auth/scopes"
	pathDepartment = "/topapi/v2/department/get"
)

// Probe finds out how an app is set up. No call returns it, so harmless ones are
// made with made-up arguments: where DingTalk looked for them and did not find
// them, the permission was there. Every error is an *identity.Failure whose Hint
// says what to change in the console. Safe for concurrent use.
type Probe struct{ Client *Client }

// nobodyID is an id and a code that nothing has.
const nobodyID = "dinggate-doctor-asks-for-nobody"

// Credentials asks for the app's token.
func (p *Probe) Credentials(ctx context.Context) error {
	_, err := p.Client.appToken(ctx)
	return err
}

// Corp asks whether the app is one of the organisation Config.CorpID.
func (p *Probe) Corp(ctx context.Context) error {
	c := &p.Client.Config
	body := map[string]string{"client_id": c.ClientID, "client_secret": c.ClientSecret.Reveal(),
		"grant_type": "client_credentials"}
	err := p.Client.do(ctx,
		request{host: hostNew, path: "/v1.0/oauth2/" + url.PathEscape(c.CorpID) + "/token", body: body}, &struct{}{})
	e, refused := errors.AsType[*APIError](err)
	if !refused {
		return err
	}
	// A foreign corp_id earns 400, or 500 unknownError; a throttle or a wrong
	// secret are what they are anywhere.
	if code := strings.ToLower(e.Code); code == "unknownerror" || code == "40013" ||
		e.Status == http.StatusBadRequest && code != "invalid.client" && code != "invalidclientidorsecret" {
		return &identity.Failure{Class: identity.Operator, Code: "corp_mismatch", Hint: hints["corp_mismatch"], Err: e}
	}
	return err
}

// Scope asks whether the app sees the whole organisation (通讯录授权范围).
func (p *Probe) Scope(ctx context.Context) (whole bool, err error) {
	var got struct {
		Scopes struct {
			Departments flexList[flexInt] `json:"authed_dept"`
		} `json:"auth_org_scopes"`
	}
	err = p.Client.do(ctx, request{host: hostOld, path: pathScopes, method: http.MethodGet, flat: true}, &got)
	for _, id := range got.Scopes.Departments {
		whole = whole || id == 1
	}
	return whole, err
}

// Members asks for the permission qyapi_get_member, which proves membership.
func (p *Probe) Members(ctx context.Context) error {
	err := p.Client.do(ctx,
		request{host: hostOld, path: pathGetByUnionID, body: map[string]string{"unionid": nobodyID}}, nil)
	return unless(err, "60121", "33012", "400002", "40009")
}

// Lists asks for the permission qyapi_get_department_member, without which the
// directory cannot be read as a whole.
func (p *Probe) Lists(ctx context.Context) error {
	err := p.Client.do(ctx, request{host: hostOld, path: pathUserList,
		body: map[string]int{"dept_id": 1, "cursor": 0, "size": 1}}, nil)
	return unless(err, "50004", "60003")
}

// Leavers asks for the permission Contact.Common.Read, without which nobody reports
// who left while events could not arrive.
func (p *Probe) Leavers(ctx context.Context) error {
	_, err := p.Client.Leavers(ctx, p.Client.now().Add(-time.Minute))
	return err
}

// Silent asks whether codes of the DingTalk client can be redeemed (免登).
func (p *Probe) Silent(ctx context.Context) error {
	err := p.Client.do(ctx, request{host: hostOld, path: pathGetUserInfo, body: map[string]string{"code": nobodyID}},
		nil)
	return unless(err, "40078")
}

// unless takes the refusals with these codes for the answer that was hoped for.
func unless(err error, codes ...string) error {
	if e, ok := errors.AsType[*APIError](err); ok {
		for _, code := range codes {
			if e.Code == code {
				return nil
			}
		}
	}
	return err
}

// Department gives the name of a department.
func (p *Probe) Department(ctx context.Context, id int64) (name string, err error) {
	var got struct {
		Name string `json:"name"`
	}
	err = p.Client.do(ctx,
		request{host: hostOld, path: pathDepartment, body: map[string]any{"dept_id": id, "language": "zh_CN"}}, &got)
	return got.Name, err
}

// Roles lists all roles of the organisation.
func (p *Probe) Roles(ctx context.Context) ([]identity.Role, error) {
	return roles(func(body, out any) error {
		return p.Client.do(ctx, request{host: hostOld, path: pathRoles, body: body}, out)
	})
}

// Stream asks for a place at the event stream and does not take it: an event
// sent to our connection would be lost to the process that serves. It gives the host
// and port to connect to.
func (p *Probe) Stream(ctx context.Context) (hostport string, secure bool, err error) {
	endpoint, ticket, err := p.Client.openTicket(ctx)
	if err != nil {
		return "", false, err
	}
	target, err := p.Client.endpoint(endpoint, ticket)
	if err != nil {
		return "", false, badAnswer(pathConnection, err).failure()
	}
	u, err := url.Parse(target)
	if err != nil {
		return "", false, badAnswer(pathConnection, formatError("no readable endpoint")).failure()
	}
	secure = u.Scheme == "wss"
	if u.Port() == "" && secure {
		return u.Hostname() + ":443", secure, nil
	}
	return u.Host, secure, nil
}
