package page

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestAccess_Words: the approver reads what a grant allows, not only the page that the requester
// chose.
func TestAccess_Words(t *testing.T) {
	p := pages(t, Config{})
	at := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	rows := []struct {
		data      AccessData
		has, lack string
	}{
		{AccessData{Kind: AccessDecide, Wanted: "/admin/help", Route: "/admin/"}, "<bdi>/admin/ and everything below it</bdi>", ""},
		{AccessData{Kind: AccessDecide, Wanted: "/report?q=1", Route: "a.example/report"}, "<bdi>a.example/report</bdi>", "below it"},
		{AccessData{Kind: AccessWaiting, Requested: at}, "have a work notification", "may not have been told"},
		{AccessData{Kind: AccessWaiting, Requested: at, Unnotified: true}, "may not have been told", "have a work notification"},
		{AccessData{Kind: AccessWaiting, Requested: at}, at.Local().Format("2006-01-02 15:04 MST"), ""},
		{AccessData{Kind: AccessGranted, Until: at}, at.Local().Format("2006-01-02 15:04 MST"), ""},
		{AccessData{Kind: AccessEnded, Over: at, End: "taken_back"}, "An approver or an administrator has ended", ""},
		{AccessData{Kind: AccessEnded, Over: at, End: "time"}, at.Local().Format("2006-01-02 15:04 MST"), "administrator"},
		{AccessData{Kind: AccessEnded, End: "<b>"}, "The request or the access has ended", "<b>"},
	}
	for _, row := range rows {
		r, w := httptest.NewRequest("GET", "/oauth2/requests/x?lang=en", nil), httptest.NewRecorder()
		p.Access(w, r, 200, row.data)
		if body := w.Body.String(); !strings.Contains(body, row.has) || row.lack != "" && strings.Contains(body, row.lack) {
			t.Errorf("Access(%+v) wants %q and not %q:\n%s", row.data, row.has, row.lack, body)
		}
	}
}
