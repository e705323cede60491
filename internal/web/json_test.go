package web

import (
	"net/http/httptest"
	"testing"
)

func TestJSON(t *testing.T) {
	const want = `{"url":"/a?b=1&c=<2>"}` + "\n"
	for method, body := range map[string]string{"GET": want, "HEAD": ""} {
		w := httptest.NewRecorder()
		if err := JSON(w, httptest.NewRequest(method, "/", nil), 418,
			map[string]string{"url": "/a?b=1&c=<2>"}); err != nil {
			t.Fatal(err)
		}
		h := w.Header()
		if w.Code != 418 || w.Body.String() != body || h.Get("Content-Type") != "application/json" ||
			h.Get("Content-Length") != "23" ||
			h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s = %d %q %v", method, w.Code, w.Body, h)
		}
	}
	w := httptest.NewRecorder()
	if err := JSON(w, httptest.NewRequest("GET", "/", nil), 200, func() {}); err == nil || w.Body.Len() > 0 ||
		len(w.Header()) > 0 {
		t.Errorf("JSON of a func = %v, wrote %q %v, want an error alone", err, w.Body, w.Header())
	}
}
