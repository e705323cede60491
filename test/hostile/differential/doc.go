// Package differential compares how dinggate and real servers interpret paths. It contains only
// tests.
//
//	grammar ─► raw socket ─┬─► dinggate ──────────────────┬─► Tomcat, Jetty, Express, Node.js, PHP-FPM,
//	                       └─► nginx ─► auth_request ─────┘   gunicorn, Apache, Caddy, nginx, Go
//	                                                               │
//	   no member receives MARK-ADMIN, ◄────────────────────────────┘
//	   no anonymous client receives MARK-REST
//
// Each server responds with a mark for the area that it served. Each server is another host of one
// dinggate, and the same rules apply to all hosts. docs/paths.md describes the decisions.
// docs/hostile.md describes how to run the tests.
package differential
