// Package deploy tests the examples for gateways and platforms in the directory deploy.
//
//	browser ─► gateway, with a file of deploy/ ──┬─ /oauth2/… ──────► dinggate
//	                                             ├─ may this pass? ─► dinggate
//	                                             └─ yes ────────────► application
//
// A test takes a file as it is and changes ports, paths and certificates alone.
// Gateways that can be had as a program are run; for the others simulations send
// what the real one sends and obey the rules it obeys.
package deploy
