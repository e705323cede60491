package dingtalk

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
)

func TestMigratedFrom(t *testing.T) {
	for answer, want := range map[string]string{
		`{"NEW":"OLD"}`: "OLD", `{"OLD":"NEW"}`: "OLD", `{"migrationUnionIdList":{"NEW":"OLD"}}`: "OLD", `{"migrationUnionIdList":{"OLD":"NEW"}}`: "OLD",
		`{"A":"NEW","B":"NEW"}`: "", `{"OLD":"NEW","NEW":"OLD"}`: "OLD", `{"NEW":"NEW"}`: "",
		`{}`: "", `{"migrationUnionIdList":{}}`: "", `{"A":"B"}`: "", `{"NEW":7}`: "", `{"migrationUnionIdList":"NEW"}`: "", `{"NEW":""}`: "",
	} {
		var sent *http.Request
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != pathMigrated {
				io.WriteString(w, `{"accessToken":"T","expireIn":7200,"errcode":0,"access_token":"T","expires_in":7200}`)
				return
			}
			sent = r.Clone(r.Context())
			io.WriteString(w, answer)
		}))
		c := &Client{Config: Config{ClientID: "app", ClientSecret: conf.NewSecret("secret"), CorpID: "corp", APIURL: server.URL, OAPIURL: server.URL}}
		got, err := c.MigratedFrom(t.Context(), "NEW")
		if err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", answer, got, err, want)
		}
		if sent == nil || sent.URL.Query().Get("migrationUnionId") != "NEW" || sent.Header.Get("X-Acs-Dingtalk-Access-Token") != "T" || sent.Method != "GET" {
			t.Errorf("%s: sent %+v", answer, sent)
		}
		c.CloseIdleConnections()
		server.Close()
	}
	if _, err := new(Client).MigratedFrom(t.Context(), ""); err == nil {
		t.Errorf("a call for an empty unionid was made")
	}
}

func TestMigratedFromWithoutPermission(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == pathMigrated {
			w.WriteHeader(http.StatusForbidden)
			json.NewEncoder(w).Encode(map[string]string{"code": "Forbidden.AccessDenied.AccessTokenPermissionDenied",
				"message": "应用尚未开通所需的权限：[Contact.OrgAccountMigration.Read]", "requestid": "R"})
			return
		}
		io.WriteString(w, `{"accessToken":"T","expireIn":7200,"errcode":0,"access_token":"T","expires_in":7200}`)
	}))
	defer server.Close()
	c := &Client{Config: Config{ClientID: "app", ClientSecret: conf.NewSecret("secret"), CorpID: "corp", APIURL: server.URL, OAPIURL: server.URL}}
	defer c.CloseIdleConnections()
	_, err := c.MigratedFrom(t.Context(), "NEW")
	if f, ok := errors.AsType[*identity.Failure](err); !ok || f.Class != identity.Operator {
		t.Errorf("without the permission: %v", err)
	}
}
