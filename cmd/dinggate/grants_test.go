package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/servertest"
)

// TestGrantsCommand checks that waiting requests and grants are listed, and ended by id.
// The audit record contains the administrator and the reason.
func TestGrantsCommand(t *testing.T) {
	h := servertest.New(t, servertest.AccessRequests)
	socket := serveControl(t, &admin.Control{Grants: h.State.Grants(), Log: h.Kit.Log})
	requester, approver := h.NewClient(), h.NewClient()
	requester.SignIn(h.URL+"/", "zhaoliu")
	approver.SignIn(h.URL+"/", "lisi")
	request := func() (id string) {
		t.Helper()
		a := requester.Submit(h.URL+"/oauth2/requests",
			url.Values{"rd": {"/admin/"}, "reason": {"logs"}, "for": {"1h0m0s"}})
		return strings.TrimPrefix(a.Header.Get("Location"), "/oauth2/requests/")
	}
	list := func(args ...string) (all admin.GrantList) {
		t.Helper()
		out, err := servertest.RunControl(t, socket, append([]string{"grants", "list", "--json"}, args...)...)
		if err != nil || json.Unmarshal([]byte(out), &all) != nil {
			t.Fatalf("list %q = %s, %v", args, out, err)
		}
		return all
	}
	if all := list(); len(all.Grants) != 0 {
		t.Fatalf("before any request: %+v", all)
	}

	id := request()
	all := list("--user", "zhaoliu")
	if len(all.Grants) != 1 || all.Grants[0].ID != id || all.Grants[0].State != "waiting" || all.Grants[0].Name != "赵六" ||
		all.Grants[0].Route != "/admin/" || all.Grants[0].Reason != "logs" || all.Grants[0].For != "1h0m0s" ||
		!slices.Contains(all.Grants[0].Approvers, "李四 (lisi)") {
		t.Fatalf("what waits = %+v, want %s", all, id)
	}
	if out, err := servertest.RunControl(t, socket, "grants", "list"); err != nil || !strings.Contains(out, "李四 (lisi)") {
		t.Errorf("the list does not name who may answer: %s, %v", out, err)
	}
	if all := list("--user", "lisi"); len(all.Grants) != 0 {
		t.Errorf("of another person: %+v", all)
	}
	approver.Submit(h.URL+"/oauth2/requests/"+id, url.Values{"decision": {"approve"}})
	if a := requester.Get(h.URL + "/admin/"); a.StatusCode != http.StatusOK {
		t.Fatalf("with the grant: %d", a.StatusCode)
	}
	all = list()
	if len(all.Grants) != 1 || all.Grants[0].State != "granted" || !strings.Contains(all.Grants[0].By, "李四") ||
		!all.Grants[0].Until.After(all.Grants[0].Answered) {
		t.Errorf("what is granted = %+v", all)
	}
	if out, err := servertest.RunControl(t, socket, "grants", "list"); err != nil || !strings.Contains(out, id) ||
		!strings.Contains(out, "1 grant, 0 waiting requests") || !strings.Contains(out, "granted") {
		t.Errorf("list = %s, %v", out, err)
	}

	if out, err := servertest.RunControl(t, socket, "grants", "end", id, "--reason", strings.Repeat("长", 201)); err == nil {
		t.Errorf("a reason without end = %s", out)
	}
	out, err := servertest.RunControl(t, socket, "grants", "end", id, "--reason", "left the project")
	if err != nil || !strings.Contains(out, "The access of zhaoliu to /admin/ has ended") {
		t.Errorf("end = %q, %v", out, err)
	}
	if a := requester.Get(h.URL + "/admin/"); a.StatusCode != http.StatusForbidden {
		t.Errorf("ended, and still allowed: %d", a.StatusCode)
	}
	for id, want := range map[string]string{id: "ended already", "nonsense": "no request or grant with this id",
		strings.Repeat("A", len(id)): "no request or grant with this id", "": ""} {
		if out, err := servertest.RunControl(t, socket, "grants", "end", id); err == nil || !strings.Contains(out, want) {
			t.Errorf("end of %q = %q, %v, want an error with %q", id, out, err, want)
		}
	}
	record := regexp.MustCompile(`"audit":"access_ended","request":"` + id + `","user":"zhaoliu".*"by":"dinggate grants".*` +
		`"reason":"left the project"`)
	servertest.Eventually(t, "the record", func() bool { return record.MatchString(h.Log.String()) })

	waiting := request() // a waiting request is withdrawn too
	if out, err := servertest.RunControl(t, socket, "grants", "end", waiting); err != nil {
		t.Errorf("end of what waits = %q, %v", out, err)
	}
	if all := list(); len(all.Grants) != 0 {
		t.Errorf("all is over, and listed: %+v", all)
	}
	if a := approver.Submit(h.URL+"/oauth2/requests/"+waiting, url.Values{"decision": {"approve"}}); a.StatusCode < 400 &&
		requester.Get(h.URL+"/admin/").StatusCode == http.StatusOK {
		t.Error("what was taken back can be granted")
	}
}
