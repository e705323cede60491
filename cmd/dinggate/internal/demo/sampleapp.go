package demo

import (
	"embed"
	"encoding/json"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

//go:embed sampleapp.html samplescan.html
var sampleFiles embed.FS

var samplePage = template.Must(template.ParseFS(sampleFiles, "sampleapp.html"))

// sampleApp is the web application of the demo. It uses nothing of DingTalk and shows the
// headers that it received. `/api/…` answers JSON, `/echo` returns the body of the
// request, `/public/scan` is a login page of its own. With requests, it has a page to
// which people have to request access.
func sampleApp(requests bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"path": r.URL.RequestURI(), "headers": r.Header})
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	})
	mux.HandleFunc("/public/scan", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, sampleFiles, "samplescan.html")
	})
	mux.HandleFunc("/favicon.ico", http.NotFound)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		identity, others := sampleRows(r.Header)
		name := r.Header.Get("X-Forwarded-Preferred-Username")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		samplePage.Execute(w, map[string]any{
			"Username": r.Header.Get("X-Forwarded-User"), "Email": r.Header.Get("X-Forwarded-Email"),
			"Name":     decoded(name),
			"Requests": requests, "Target": r.URL.RequestURI(), "Identity": identity, "Others": others,
		})
	})
	return mux
}

// sampleRow is a header as received, and decoded if that differs.
type sampleRow struct{ Name, Value, Text string }

// IdentityHeaders are the headers that an application uses, in the order of the README.
var IdentityHeaders = []string{"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username",
	"X-Forwarded-Groups"}

func sampleRows(h http.Header) (identity, others []sampleRow) {
	for _, name := range IdentityHeaders {
		row := sampleRow{Name: name, Value: h.Get(name)}
		if text := decoded(row.Value); text != row.Value {
			row.Text = text
		}
		identity = append(identity, row)
	}
	for name, values := range h {
		if !slices.Contains(IdentityHeaders, name) {
			others = append(others, sampleRow{Name: name, Value: strings.Join(values, ", ")})
		}
	}
	slices.SortFunc(others, func(a, b sampleRow) int { return strings.Compare(a.Name, b.Name) })
	return identity, others
}

// decoded decodes a percent-encoded value as an application does.
func decoded(value string) string {
	if text, err := url.PathUnescape(value); err == nil {
		return text
	}
	return value
}
