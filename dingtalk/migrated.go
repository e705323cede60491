package dingtalk

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// MigratedFrom gives the unionId that a person had before their ordinary account
// became an enterprise account (普通账号迁移为企业账号); "" for somebody whose account
// was not migrated. Errors are as Directory.Person's; without the permission
// Contact.OrgAccountMigration.Read it is one of class Operator.
func (c *Client) MigratedFrom(ctx context.Context, unionID string) (string, error) {
	if !validID(unionID) {
		return "", badAnswer(pathMigrated, formatError("no unionid to ask for")).failure()
	}
	token, err := c.appToken(ctx)
	if err != nil {
		return "", err
	}
	var got map[string]json.RawMessage
	q := request{host: hostNew, path: pathMigrated, method: http.MethodGet, query: "migrationUnionId=" + url.QueryEscape(unionID), user: token}
	if err := c.do(ctx, q, &got); err != nil {
		return "", err
	}
	return otherID(got, unionID), nil
}

// otherID finds the id that stands beside a known one: the document shows a map from
// one to the other, alone or below migrationUnionIdList, and does not say which of
// the two is the key.
func otherID(answer map[string]json.RawMessage, known string) string {
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
		switch known {
		case key:
			return value
		case value:
			return key
		}
	}
	return ""
}
