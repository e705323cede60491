// Package deploy tests the examples for gateways and platforms in the directory deploy.
//
//	browser ─► gateway, with a file of deploy/ ──┬─ /oauth2/… ────────────────► dinggate
//	                                             ├─ authorization subrequest ─► dinggate
//	                                             └─ allowed ──────────────────► application
//
// A test uses a file unchanged except for ports, paths and certificates. Gateways that are
// available as a program are run. For the others, simulations send the same requests and
// follow the same rules as the real ones.
package deploy
