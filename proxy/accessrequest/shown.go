package accessrequest

import (
	"net/http"
	"time"

	"dinggate/internal/page"
)

// show shows the page of a request.
func (h *Handler) show(w http.ResponseWriter, r *http.Request, q Request, own, approver bool, wrong string) {
	data := page.AccessData{
		Who: q.Person.Full(), Departments: q.Departments, Wanted: q.Target, Route: q.Route.Host + q.Route.Name,
		Reason: q.Why, For: q.For, Until: q.Until,
		Requested: q.Requested, By: q.By.Full(), Word: q.Word, Unnotified: q.Unnotified, Wrong: wrong,
		Over: q.Over, End: q.End, Action: h.Prefix + "/requests/" + q.ID,
	}
	for _, a := range q.Approvers {
		data.Approvers = append(data.Approvers, a.Full())
	}
	if own && !q.live() {
		data.Renew = FormURL(h.Prefix, q.Target)
	}
	switch q.State {
	case Waiting:
		data.Kind = page.AccessWaiting
		if approver {
			data.Kind, data.Answers = page.AccessDecide, true
		} else {
			data.Refresh = pollAfter(h.Book.Time().Sub(q.Requested))
		}
	case Granted:
		data.Kind, data.Takes = page.AccessGranted, approver
		if own {
			data.Next = q.Target
		}
	case Denied:
		data.Kind = page.AccessDenied
	case Expired:
		data.Kind = page.AccessExpired
	default:
		data.Kind = page.AccessEnded
	}
	h.Pages.Access(w, r, http.StatusOK, data)
}

// pollAfter is the interval at which a waiting page polls: it grows with the age of the request.
func pollAfter(age time.Duration) time.Duration {
	switch {
	case age < time.Minute:
		return 2 * time.Second
	case age < 10*time.Minute:
		return 5 * time.Second
	case age < time.Hour:
		return 15 * time.Second
	}
	return time.Minute
}
