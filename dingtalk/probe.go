package dingtalk

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"dinggate/internal/identity"
)

// Calls that only a Probe makes.
const (
	pathScopes     = "/auth/scopes"
	pathDepartment = "/topapi/v2/department/get"
)

// Probe finds out how an app is configured. No call returns the settings, so Probe
// makes harmless calls with made-up arguments: if DingTalk looked for them and did
// not find them, the permission is granted. Every error is an *identity.Failure
// whose Hint says what to change in the console. It is safe for concurrent use.
type Probe struct{ Client *Client }

// missingID is an id and a code that does not exist.
const missingID = "dinggate-doctor-asks-for-nobody"

// Credentials fetches the app's token.
func (p *Probe) Credentials(ctx context.Context) error {
	_, err := p.Client.appToken(ctx)
	return err
}

// Corp checks that the app belongs to the organisation Config.CorpID.
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
	// A foreign corp_id gets 400, or 500 unknownError; throttling and a wrong secret
	// get the same answers as in any call.
	if code := strings.ToLower(e.Code); code == "unknownerror" || code == "40013" ||
		e.Status == http.StatusBadRequest && code != "invalid.client" && code != "invalidclientidorsecret" {
		return &identity.Failure{Class: identity.Operator, Code: "corp_mismatch", Hint: hints["corp_mismatch"], Err: e}
	}
	return err
}

// Scope reports whether the app's contact scope (通讯录授权范围) is the whole organisation. An error
// means that this is unknown.
func (p *Probe) Scope(ctx context.Context) (whole bool, err error) {
	departments, err := p.scopes(ctx)
	return slices.Contains(departments, 1), err
}

// Members checks for the permission qyapi_get_member, which proves membership.
func (p *Probe) Members(ctx context.Context) error {
	err := p.Client.do(ctx,
		request{host: hostOld, path: pathGetByUnionID, body: map[string]string{"unionid": missingID}}, nil)
	return unless(err, "60121", "33012", "400002", "40009")
}

// Lists checks for the permission qyapi_get_department_member, without which the
// directory cannot be read as a whole.
func (p *Probe) Lists(ctx context.Context) error {
	err := p.Client.do(ctx, request{host: hostOld, path: pathUserList,
		body: map[string]int{"dept_id": 1, "cursor": 0, "size": 1}}, nil)
	return unless(err, "50004", "60003")
}

// Leavers checks for the permission Contact.Common.Read, without which people who
// left while the event stream was down cannot be found.
func (p *Probe) Leavers(ctx context.Context) error {
	_, err := p.Client.Leavers(ctx, p.Client.now().Add(-time.Minute))
	return err
}

// Migrations checks for the permission Contact.OrgAccountMigration.Read, without which a
// person whose account was migrated counts as a new person.
func (p *Probe) Migrations(ctx context.Context) error {
	_, err := p.Client.MigratedFrom(ctx, missingID)
	return err
}

// Silent checks whether codes of the DingTalk client can be redeemed (免登).
func (p *Probe) Silent(ctx context.Context) error {
	err := p.Client.do(ctx, request{host: hostOld, path: pathGetUserInfo, body: map[string]string{"code": missingID}},
		nil)
	return unless(err, "40078")
}

// unless treats refusals with these codes as success.
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

// Department returns the name of a department.
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

// Stream requests a connection of the event stream and does not open it: an event
// sent to it would be lost to the process that serves. It returns the host and port
// of the connection.
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
