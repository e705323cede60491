package server_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
)

// TestRefusedAudit checks that the record of a refused sign-in names the person that
// DingTalk reported, in the log and in a separate file. The response contains no name.
func TestRefusedAudit(t *testing.T) {
	byNumber := func(c *config.Config) { c.DingTalk.Username = "job_number" }
	bound := func(c *config.Config) { c.Accounts.Binding = account.Required }
	for _, c := range []struct {
		person, how, code string
		change            func(*config.Config)
		userID, name      string
	}{
		{"wujiu", "", "inactive", nil, "wujiu", "吴九"},
		{"zhengshi", "", "disabled", nil, "zhengshi", "郑十"},
		{"zhouba", "", "external_contact", nil, "zhouba", ""}, // no verified name: a nickname can be chosen freely
		{"sunqi", "", "wrong_organisation", nil, "", ""},      // of another organisation: the unionId only
		{"zhaoliu", "", "no_username", byNumber, "zhaoliu", "赵六"},
		{"lisi", "", "not_bound", bound, "lisi", "李四"},
		{"wujiu", "silent", "inactive", nil, "wujiu", "吴九"},
		{"zhengshi", "silent", "disabled", nil, "zhengshi", "郑十"},
		{"zhouba", "silent", "external_contact", nil, "zhouba", "周八"},
	} {
		for _, file := range []string{"", filepath.Join(t.TempDir(), "audit.jsonl")} {
			accounts := filepath.Join(t.TempDir(), "htpasswd")
			servertest.WriteHtpasswd(t, accounts, "zs")
			h := servertest.New(t, func(cfg *config.Config) {
				cfg.Audit.File = file
				if c.change != nil {
					c.change(cfg)
				}
				if cfg.Accounts.Binding == account.Required {
					cfg.Accounts.HtpasswdFile = accounts
				}
			})
			who, _ := h.Platform.Who(c.person)
			v := h.NewClient()
			var a servertest.Response
			if c.how == "silent" {
				a = v.PostSilent(h.URL, servertest.SilentForm(h.Platform.SilentCode(c.person), v.OpenSilent(h.URL+"/")))
			} else {
				a = v.Get(v.Choose(v.StartSignIn(h.URL+"/oauth2/start"), c.person))
			}
			if a.StatusCode != 403 || strings.Contains(a.Text, who.Name) || strings.Contains(a.Text, who.UnionID) {
				t.Errorf("%s %s: the answer is %d, or names the person:\n%s", c.person, c.how, a.StatusCode, a.Text)
			}
			var record map[string]any
			servertest.Eventually(t, "the record", func() bool {
				text := h.Log.String()
				if file != "" {
					text = ""
					for _, r := range auditRecords(t, file) {
						line, _ := json.Marshal(r)
						text += string(line) + "\n"
					}
				}
				for line := range strings.Lines(text) {
					var one map[string]any
					if json.Unmarshal([]byte(line), &one) == nil && one["audit"] == "refused" {
						record = one
					}
				}
				return record != nil
			})
			got := fmt.Sprint(record["code"], record["userid"], record["name"], record["unionid"])
			absent := func(s string) any {
				if s == "" {
					return nil
				}
				return s
			}
			if want := fmt.Sprint(c.code, absent(c.userID), absent(c.name), who.UnionID); got != want {
				t.Errorf("%s %s, file %v: the record is about %s, want %s: %v", c.person, c.how, file != "", got,
					want, record)
			}
		}
	}
}
