package oidc

import (
	"net/url"
	"testing"
)

func TestRedirectURIs(t *testing.T) {
	list := []string{
		"https://app.test/cb",
		"http://127.0.0.1/cb",
		"http://[::1]:9/cb",
		"http://localhost:8000/cb?a=b",
		"com.example.app:/cb",
	}
	for uri, want := range map[string]bool{
		"https://app.test/cb": true, "https://app.test/cb/": false, "https://app.test/cb?": false, "https://app.test": false,
		"http://app.test/cb": false, "https://app.test.evil/cb": false,
		"https://app.test@evil/cb": false, "https://app.test/cb#": false, "https://app.test/cb\\": false,
		"https://app.test%2fcb": false, "https://app.test./cb": false, "https://аpp.test/cb": false,
		"http://127.0.0.1/cb": true, "http://127.0.0.1:1/cb": true, "http://127.0.0.1:65535/cb": true,
		"http://127.0.0.1:65536/cb": false, "http://127.0.0.1:0/cb": false, "http://127.0.0.1:01/cb": false,
		"http://127.0.0.1:/cb": false, "http://127.0.0.1:80@evil/cb": false, "http://127.0.0.1.evil/cb": false,
		"http://127.0.0.1:1/cb2": false, "https://127.0.0.1:1/cb": false, "http://127.1:1/cb": false,
		"http://[::1]:1234/cb": true, "http://[::1]/cb": true, "http://[::2]/cb": false, "http://localhost:1/cb?a=b": true,
		"http://localhost/cb": false, "http://localhostevil:1/cb?a=b": false,
		"com.example.app:/cb": true, "com.example.app:/cb2": false, "": false, " https://app.test/cb": false,
		"https://app.test/cb\n": false,
	} {
		if got := registered(list, uri); got != want {
			t.Errorf("registered(%q) = %v, want %v", uri, got, want)
		}
	}
}

func FuzzRegistered(f *testing.F) {
	f.Add("http://127.0.0.1:80/cb")
	list := []string{"http://127.0.0.1/cb", "https://app.test/cb"}
	f.Fuzz(func(t *testing.T, uri string) {
		if !registered(list, uri) {
			return
		}
		u, err := url.Parse(uri)
		if err != nil || u.User != nil || u.Path != "/cb" || u.RawQuery != "" || u.Fragment != "" ||
			!(u.Hostname() == "127.0.0.1" && u.Scheme == "http" || uri == list[1]) {
			t.Errorf("registered(%q), which net/url reads as %+v", uri, u)
		}
	})
}
