package main

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

// sampleApp is the web application behind the demo: it knows nothing of
// DingTalk and shows which person it received. `/api/…` answers JSON, `/echo`
// sends a body back, `/public/scan` is a login page of its own.
func sampleApp() http.Handler {
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
			"Name":   decoded(name),
			"Target": r.URL.RequestURI(), "Identity": identity, "Others": others,
		})
	})
	return mux
}

// sampleRow is a header as the application got it, and decoded where that differs.
type sampleRow struct{ Name, Value, Text string }

// identityHeaders are what an application needs, in the order of the README.
var identityHeaders = []string{"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username",
	"X-Forwarded-Groups"}

func sampleRows(h http.Header) (identity, others []sampleRow) {
	for _, name := range identityHeaders {
		row := sampleRow{Name: name, Value: h.Get(name)}
		if text := decoded(row.Value); text != row.Value {
			row.Text = text
		}
		identity = append(identity, row)
	}
	for name, values := range h {
		if !slices.Contains(identityHeaders, name) {
			others = append(others, sampleRow{Name: name, Value: strings.Join(values, ", ")})
		}
	}
	slices.SortFunc(others, func(a, b sampleRow) int { return strings.Compare(a.Name, b.Name) })
	return identity, others
}

// decoded is what an application does with a percent-encoded value.
func decoded(value string) string {
	if text, err := url.PathUnescape(value); err == nil {
		return text
	}
	return value
}
