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
// DingTalk and shows who it was told is there. `/api/…` answers JSON, `/echo`
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
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		type row struct{ Name, Value string }
		var rows []row
		for name, values := range r.Header {
			rows = append(rows, row{name, strings.Join(values, ", ")})
		}
		slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.Name, b.Name) })
		name, err := url.PathUnescape(r.Header.Get("X-Forwarded-Preferred-Username"))
		if err != nil {
			name = r.Header.Get("X-Forwarded-Preferred-Username")
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		samplePage.Execute(w, map[string]any{
			"Username": r.Header.Get("X-Forwarded-User"), "Email": r.Header.Get("X-Forwarded-Email"), "Name": name,
			"Target": r.URL.RequestURI(), "Rows": rows,
		})
	})
	return mux
}
