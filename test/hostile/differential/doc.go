// Package differential compares how paths are judged with how real servers read
// them; it holds tests only.
//
//	grammar ─► raw socket ─┬─► dinggate ──────────────────┬─► Tomcat, Jetty, Express, Node.js, PHP-FPM,
//	                       └─► nginx ─► (asks dinggate) ──┘   gunicorn, Apache, Caddy, nginx, Go
//	                                                               │
//	   no member sees MARK-ADMIN, no stranger MARK-REST ◄──────────┘
//
// Each server answers with a mark that says which area it took the path for, and
// each is another host of one dinggate with the same rules. docs/paths.md says
// what is judged, docs/hostile.md how to run this.
package differential
