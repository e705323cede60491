package simulator

import (
	"strconv"
	"time"
)

// leaver is an entry of the organisation's leave records.
type leaver struct {
	userID, name, mobile string
	at                   time.Time
}

const leaversMax = 10_000

func (o *organisation) leaves(l leaver) {
	if len(o.left) >= leaversMax {
		o.left = o.left[1:]
	}
	o.left = append(o.left, l)
}

// leaveRecords is GET /v1.0/contact/empLeaveRecords: who left in a span of at most 365
// days, at most 50 per page.
func leaveRecords(p *Platform, c *call) (any, *apiError) {
	if !c.app.hasPermission("Contact.Common.Read") {
		return nil, deniedPermission(c.app, "Contact.Common.Read")
	}
	q := c.r.URL.Query()
	from, errFrom := time.Parse(time.RFC3339, q.Get("startTime"))
	to, errTo := time.Parse(time.RFC3339, q.Get("endTime"))
	if q.Get("endTime") == "" {
		to, errTo = p.now(), nil
	}
	first, errFirst := strconv.ParseInt(q.Get("nextToken"), 10, 64)
	size, errSize := strconv.ParseInt(q.Get("maxResults"), 10, 64)
	if errFrom != nil || errTo != nil || errFirst != nil || errSize != nil || first < 0 || size < 1 || size > 50 ||
		to.Before(from) || to.Sub(from) > 365*24*time.Hour {
		return nil, apiErrorFor("invalidParameter")
	}
	records := []map[string]any{}
	for _, l := range p.org.left {
		if l.at.Before(from) || l.at.After(to) {
			continue
		}
		one := map[string]any{"userId": l.userID, "name": l.name, "leaveTime": l.at.UTC().Format(time.RFC3339),
			"leaveReason": ""}
		if l.mobile != "" {
			one["mobile"], one["stateCode"] = l.mobile, "86"
		}
		records = append(records, one)
	}
	page, more := paginate(records, first, size)
	answer := map[string]any{"records": page}
	if more {
		answer["nextToken"] = strconv.FormatInt(first+size, 10)
	}
	return answer, nil
}
