package page

import (
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"time"
)

// WaitingData is the data of the page of a sign-in that waits for its turn.
type WaitingData struct {
	Ahead   int           // how many people are before this person
	Refresh time.Duration // the interval at which the page reloads
}

type waitingView struct {
	view
	Message string
	Again   template.URL // this page
}

// Waiting shows how many people are before a person, and reloads its own URL without a script.
// That URL must be one that can be loaded any number of times.
func (p *Pages) Waiting(w http.ResponseWriter, r *http.Request, data WaitingData) {
	v := waitingView{view: p.view(w, r)}
	v.Heading, v.Message = v.Words.Waiting, v.Words.WaitingNext
	if data.Ahead > 0 {
		v.Message = fmt.Sprintf(v.Words.WaitingAhead, data.Ahead)
	}
	v.Refresh = max(1, int(data.Refresh/time.Second))
	v.Again = template.URL("?" + r.URL.RawQuery) // begins with ?: it leads to no other origin
	w.Header()["Refresh"] = []string{strconv.Itoa(v.Refresh)}
	p.render(w, r, "waiting", p.csp, http.StatusOK, v)
}
