package simulator

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"slices"
)

//go:embed inbox.html
var inboxHTML string

var inboxPage = template.Must(template.New("inbox").Parse(inboxHTML))

// inbox shows the delivered work notifications, or those of the person that the
// query names. Text is shown as it was sent, not rendered.
func (c controlAPI) inbox(w http.ResponseWriter, r *http.Request) {
	var list []Message
	name := ""
	if id := r.URL.Query().Get("person"); id != "" {
		who, ok := c.p.Who(id)
		if !ok {
			http.NotFound(w, r)
			return
		}
		list, name = c.p.Inbox(who.UserID), who.Name
	} else {
		list = slices.DeleteFunc(c.p.Messages(), func(m Message) bool { return m.Withheld != "" })
		slices.Reverse(list)
	}
	var out bytes.Buffer
	if err := inboxPage.Execute(&out, map[string]any{
		"Style":    template.CSS(loginCSS),
		"Name":     name,
		"Messages": list[:min(len(list), 50)],
	}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", stylePolicy())
	w.Write(out.Bytes())
}
