// Package simulator is a simulated DingTalk for tests and the demo.
//
//	browser ── /oauth2/auth ──► sign-in page ── click ──► code at the redirect URI
//	                                                        │
//	client ─┬─ /v1.0/oauth2/userAccessToken ◄───────────────┘
//	        ├─ /v1.0/…      new API ─┐  token, app, address,
//	        ├─ /topapi/…    old API ─┴─ permission, call ──► people, departments, roles
//	        └─ /v1.0/gateway/connections/open ──► /connect ◄── events: Leave, Move, Emit
//	                      ▲
//	every request ── faults (applied first) ── counters
//	shell ── /_simulator/… ── the methods of Platform over HTTP
//
// It is a second implementation of DingTalk's documentation and shares no type with
// the client, so that one misreading cannot be in both. Where the documentation is
// silent, it behaves as is worst for the client: people of other organisations and
// inactive and disabled people pass the sign-in page. People, apps and the clock
// change only by methods; nothing is written to disk.
//
//	sim := simulator.Demo()
//	server := httptest.NewServer(sim)
//	defer server.Close()
//	defer sim.Close() // runs first: it ends hanging answers and streams
//
// # The sign-in page
//
// Buttons have stable ids: person-zhangsan (person-zhaoliu-<corpId> for
// another organisation of the same person), and deny. Without a browser, GET
// the authorize URL with &person=zhangsan, &person=zhaoliu@<corpId> or
// &person=- added, and read Location. An error page has an element with id
// error and a data-code.
//
// # The control path
//
// Documents are JSON, unknown keys are errors, the answer is 400 with
// {"error"} or 200. Requests from pages of other origins are refused.
//
//	POST   /_simulator/faults       {"on":"/topapi/v2/user/get","do":"status 503","times":3,"from":0}, or a list of such
//	GET    /_simulator/faults       those still active
//	DELETE /_simulator/faults       ends all
//	       do: delay 5s | hang | status 503 | code 60121 | body TEXT | gzip TEXT | flood BYTES |
//	       redirect URL | stringly | cut BYTES | reset | refuse | tls
//	POST   /_simulator/people       {"do":"leave","id":"zhangsan"}, also disable, enable, activate, withhold
//	                                {"do":"move","id":"zhangsan","departments":[43]}
//	                                {"do":"roles","id":"zhangsan","roles":[200]}
//	                                {"do":"rename","id":"zhangsan","name":"张三丰"}
//	                                {"do":"join","person":{"id":"new","name":"新人","departments":[42],…}},
//	                                also outsider, external
//	                                {"do":"reassign","user_id":"zhangsan","person":{"id":"other","name":"另一个张三"}}
//	                                {"do":"migrate","id":"zhangsan","person":{"union_id":""}}: another unionid, no event
//	                                {"do":"change","id":"zhangsan","person":{"nick":"admin"}}:
//	                                these fields only, no event
//	GET    /_simulator/people       all people
//	POST   /_simulator/departments  {"do":"add","department":{"id":45,"parent":1,"name":"新部门"}}, also change, remove
//	POST   /_simulator/apps         {"client_id":"","missing":["fieldEmail"]}: these switches only
//	                                ("" = the first app); an unknown client_id is added
//	POST   /_simulator/clock        {"advance":"5m"}; GET returns the time
//	GET    /_simulator/calls        {"/topapi/v2/user/get":3,…}; DELETE sets them to zero
//	POST   /_simulator/codes        {"kind":"silent","person":"zhangsan","client_id":""} → {"code"};
//	                                kinds: browser, silent, sns
//	POST   /_simulator/tokens       {"do":"kill","client_id":""}
//	POST   /_simulator/callback     {"form":"authCode"}, also code, both
//	POST   /_simulator/events       {"type":"user_leave_org","data":{"userId":["x"]},"id":"","corp":""}
//	                                → {"id"}; GET: deliveries, complaints
//	POST   /_simulator/streams      {"do":"ping"}, {"do":"disconnect","id":true}, {"do":"drop"},
//	                                {"do":"mute"}, {"do":"unmute"}, {"do":"raw","text":"…"};
//	                                GET counts them
//	GET    /_simulator/messages     work notifications, with why one was not delivered
//	GET    /_simulator/inbox        a page of them; ?person=lisi: what this person got
package simulator
