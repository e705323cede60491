package server

import (
	"testing"
	"testing/synctest"
	"time"

	"dinggate/cmd/dinggate/internal/config"
)

// TestRechecks_SmallOrganisation is TestScaleRechecks without the permission, on a smaller scale.
// A minute has six seconds, and the number of people is half of what DingTalk's limit
// allows to look up in the recheck time. Every replica that serves a request has the
// confirmations of the others.
func TestRechecks_SmallOrganisation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleetOf(t, 600, 3, func(c *config.Config) {
			c.DingTalk.Rate = 11
			c.Session.Recheck, c.Session.Grace = 30*time.Second, 90*time.Second
		})
		f.minute, f.minutes = 6*time.Second, 25
		f.hour(f.work([]string{"qyapi_get_department_member"}), 78*time.Second)
	})
}
