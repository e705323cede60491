package dingtalk

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"

	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
)

// MigratedFrom returns the unionId that a person had before their ordinary account
// became an enterprise account (普通账号迁移为企业账号), or "" if the account was not
// migrated, or if DingTalk names more than one. Any error is an *identity.Failure; without
// the permission Contact.OrgAccountMigration.Read it is of class Operator.
func (c *Client) MigratedFrom(ctx context.Context, unionID string) (string, error) {
	if !validID(unionID) {
		return "", badAnswer(pathMigrated, formatError("no unionid to ask for")).failure()
	}
	var got map[string]json.RawMessage
	err := c.doAsApp(ctx, pathMigrated, url.Values{"migrationUnionId": {unionID}}, &got)
	if e, ok := errors.AsType[*APIError](err); ok && strings.EqualFold(e.Code, "invalid.unionId") {
		return "", nil // no account was migrated to it
	}
	if err != nil {
		return "", err
	}
	return otherID(got, unionID), nil
}

// otherID finds the id that is paired with a known one: the documentation shows a map, at
// the top level or below migrationUnionIdList, and does not specify which of the two ids
// is the key. Two different ones prove neither.
func otherID(answer map[string]json.RawMessage, known string) (other string) {
	if inner, ok := answer["migrationUnionIdList"]; ok {
		var below map[string]json.RawMessage
		if json.Unmarshal(inner, &below) != nil {
			return ""
		}
		answer = below
	}
	for key, raw := range answer {
		var value string
		if json.Unmarshal(raw, &value) != nil || !validID(key) || !validID(value) {
			continue
		}
		found := ""
		switch known {
		case key:
			found = value
		case value:
			found = key
		}
		switch {
		case found == "" || found == known || found == other:
		case other != "":
			return ""
		default:
			other = found
		}
	}
	return other
}

// Holder returns the unionId of the member who has a userid at present. The error is an
// *identity.Failure, of class Refused if no member has the userid.
func (d *Directory) Holder(ctx context.Context, userID string) (unionID string, err error) {
	if !validID(userID) {
		return "", refuse("not_member", "no userid to ask for")
	}
	got, err := d.colleague(WithClass(ctx, ratelimit.Event), userID)
	if err != nil {
		return "", err
	}
	return got.UnionID, nil
}

// Moved reports whether the account of a person who is no longer a member under this
// unionId was migrated. In that case the member who has the userid now is the same person
// under another unionId. A caller must check this before it treats the two as different
// people. The error means that this is unknown; it is an *identity.Failure.
func (d *Directory) Moved(ctx context.Context, userID, unionID string) (moved bool, err error) {
	now, err := d.Holder(ctx, userID)
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Class == identity.Refused {
		return false, nil // no member has the userid
	}
	if err != nil || now == unionID {
		return false, err
	}
	before, err := d.Client.MigratedFrom(ctx, now)
	return err == nil && before == unionID, err
}
