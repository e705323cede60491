package deploy_test

import (
	"strings"
	"testing"
)

const (
	browserAccept = "Accept: text/html,application/xhtml+xml"
	acceptJSON    = "Accept: application/json"
)

var forgedUser = []string{"X-Auth-Request-User: forged", "x-auth-request-email: forged",
	"X-AUTH-REQUEST-GROUPS: forged", "X-Auth-Request-Preferred-Username: forged", "X-Auth-Request-User: forged2"}

// simulatedCases are the requests of the table.
var simulatedCases = map[string]browserRequest{
	"page":  {method: "GET", target: "/x?a=1&b=2", header: []string{browserAccept}},
	"api":   {method: "GET", target: "/x", header: []string{acceptJSON}},
	"fetch": {method: "GET", target: "/x", header: []string{browserAccept, "Sec-Fetch-Mode: cors"}},
	"xhr": {method: "GET", target: "/x",
		header: []string{browserAccept, "X-Requested-With: XMLHttpRequest"}},
	"post": {method: "POST", target: "/x", header: []string{browserAccept}, body: "a=1"},
	"head": {method: "HEAD", target: "/x", header: []string{browserAccept}},
	"options": {method: "OPTIONS", target: "/x",
		header: []string{"Origin: https://other.example.com", "Access-Control-Request-Method: POST"}},
	"member":         {method: "GET", target: "/x?a=1", member: true, header: []string{browserAccept}},
	"member, POST":   {method: "POST", target: "/x", member: true, body: strings.Repeat("0123456789abcdef", 1<<14)},
	"member, HEAD":   {method: "HEAD", target: "/x", member: true, header: []string{browserAccept}},
	"member, DELETE": {method: "DELETE", target: "/x/1", member: true, header: []string{acceptJSON}},
	"denied":         {method: "GET", target: "/admin/", member: true, header: []string{browserAccept}},
	"denied api":     {method: "GET", target: "/admin/x", member: true, header: []string{acceptJSON}},
	"public":         {method: "GET", target: "/public/x", header: []string{browserAccept}},
	"forged, member": {method: "GET", target: "/x", member: true, header: append(forgedUser, browserAccept)},
	"forged, public": {method: "GET", target: "/public/x", header: append(forgedUser, browserAccept)},
	"forged with _": {method: "GET", target: "/public/x",
		header: []string{"X_Auth_Request_User: forged", browserAccept}},
	"forged description": {method: "GET", target: "/admin/",
		header: []string{browserAccept, "X-Original-URL: https://app.example.com/public/", "X-Original-URI: /public/",
			"X-Forwarded-Uri: /public/", "X-Original-Method: GET", "X-Forwarded-Method: GET"}},
	"forged description, member": {method: "POST", target: "/admin/", member: true,
		header: []string{browserAccept, "X-Forwarded-Uri: /public/", "X-Forwarded-Host: other.example.com",
			"X-Forwarded-Proto: http", "X-Forwarded-Prefix: /public"}},
	"forged address":    {method: "GET", target: "/net/", header: []string{acceptJSON, "X-Forwarded-For: 10.9.9.9"}},
	"forged cookie":     {method: "GET", target: "/x", header: []string{browserAccept, "Cookie: __Host-dinggate=AAAA"}},
	"socket":            {method: "GET", target: "/ws", member: true, websocket: true},
	"socket, anonymous": {method: "GET", target: "/ws", websocket: true, header: []string{browserAccept}},
	"deep link": {method: "GET",
		target: "/%E6%8A%A5%E8%A1%A8/a%20b?q=1&next=%2Fa%3Fb&x=%E5%BC%A0;y&u=https://e.example/",
		header: []string{browserAccept}},
	"deep, member": {method: "GET", target: "/%E6%8A%A5%E8%A1%A8/a%20b?next=%2Fa&x=%E5%BC%A0", member: true,
		header: []string{browserAccept}},
	"slash in a name":  {method: "GET", target: "/x/a%2Fb", member: true, header: []string{browserAccept}},
	"own prefix":       {method: "GET", target: "/oauth2/sign_in", header: []string{browserAccept}},
	"own prefix, bare": {method: "GET", target: "/oauth2", member: true, header: []string{browserAccept}},
	"double slash":     {method: "GET", target: "//admin/x", member: true, header: []string{browserAccept}},
	"encoded letter":   {method: "GET", target: "/%61dmin/x", member: true, header: []string{browserAccept}},
	"dots":             {method: "GET", target: "/public/%2e%2e/admin/x", member: true, header: []string{browserAccept}},
	"dots and prefix":  {method: "GET", target: "/oauth2/%2e%2e/admin/x", member: true, header: []string{browserAccept}},
	"parameter":        {method: "GET", target: "/public/..;/admin/x", member: true, header: []string{browserAccept}},
	"other host": {method: "GET", target: "/x", host: "other.example.com", member: true,
		header: []string{browserAccept}},
	"renewing":              {method: "GET", target: "/x", member: true, header: []string{browserAccept}, dinggate: "renewing"},
	"DingTalk down":         {method: "GET", target: "/x", member: true, header: []string{browserAccept}, dinggate: "DingTalk down"},
	"DingTalk down, public": {method: "GET", target: "/public/x", member: true, header: []string{browserAccept}, dinggate: "DingTalk down"},
	"dinggate down":         {method: "GET", target: "/x", member: true, header: []string{browserAccept}, dinggate: "dinggate down"},
	"dinggate down, public": {method: "GET", target: "/public/x", header: []string{browserAccept}, dinggate: "dinggate down"},
}

func TestSimulatedGateways(t *testing.T) {
	env := newSimulatedEnv(t)
	all := env.gateways()
	env.startSession("zhaoliu")
	seen := map[string]bool{}
	for _, row := range simulatedTable {
		c, known := simulatedCases[row.name]
		s := all[row.gateway+"|"+c.dinggate]
		if !known || s == nil {
			t.Fatalf("%s: %s: no such gateway or case", row.gateway, row.name)
		}
		if got := env.visit(s, c); got != row.want {
			t.Errorf("%s: %s: %s %s = %q, want %q", row.gateway, row.name, c.method, c.target, got, row.want)
		}
		seen[row.gateway+"|"+row.name] = true
	}
	for name := range simulatedCases {
		for _, s := range simulatedGateways(t) {
			if s.name != "traefik behind a proxy" && !seen[s.name+"|"+name] {
				t.Errorf("the table has no row for %s: %s", s.name, name)
			}
		}
	}
}
