package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/session"
)

// TestSessionsEnd_Grants checks that ending a person's sessions revokes the person's
// grants with --grants, and does not without it.
func TestSessionsEnd_Grants(t *testing.T) {
	h := servertest.New(t, servertest.AccessRequests)
	requester, approver := h.NewClient(), h.NewClient()
	requester.SignIn(h.URL+"/", "zhaoliu")
	approver.SignIn(h.URL+"/", "lisi")
	a := requester.Submit(h.URL+"/oauth2/requests", url.Values{"rd": {"/admin/"}, "reason": {"logs"}, "for": {"1h0m0s"}})
	id := strings.TrimPrefix(a.Header.Get("Location"), "/oauth2/requests/")
	approver.Submit(h.URL+"/oauth2/requests/"+id, url.Values{"decision": {"approve"}})
	if a := requester.Get(h.URL + "/admin/"); a.StatusCode != http.StatusOK {
		t.Fatalf("with the grant: %d", a.StatusCode)
	}
	desk := &admin.SessionStore{Sessions: func() *session.Manager { return h.Gateway.Sessions }, Note: h.Kit.Note,
		Grants: h.State.Grants()}
	for _, row := range []struct {
		grants bool
		count  int
		status int
	}{{false, 0, http.StatusOK}, {true, 1, http.StatusForbidden}} {
		got, err := desk.End(t.Context(), admin.SessionsEnd{Who: "zhaoliu", By: "test", Grants: row.grants})
		if err != nil || got.Grants != row.count || !got.Person {
			t.Errorf("End(grants: %v) = %+v, %v, want %d grants", row.grants, got, err, row.count)
		}
		if a := requester.Get(h.URL + "/admin/"); a.StatusCode != http.StatusFound {
			t.Errorf("after the end = %d, want 302", a.StatusCode)
		}
		again := h.NewClient()
		servertest.Eventually(t, "a sign-in that begins after the end", func() bool {
			again.SignIn(h.URL+"/", "zhaoliu")
			return again.Get(h.URL+"/").StatusCode == http.StatusOK
		})
		if a := again.Get(h.URL + "/admin/"); a.StatusCode != row.status {
			t.Errorf("the page after the end with grants %v = %d, want %d", row.grants, a.StatusCode, row.status)
		}
		requester = again
	}
	own := session.List(t.Context(), h.Gateway.Sessions).Sessions[0].ID
	if _, err := desk.End(t.Context(), admin.SessionsEnd{Who: own, By: "test", Grants: true}); err == nil {
		t.Error("the grants of one session's id ended without a word")
	}
}
