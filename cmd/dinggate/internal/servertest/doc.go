// Package servertest is the environment of tests that need the whole product. It builds
// the server in this process, or starts the real program, with a simulated DingTalk.
//
//	Client ─► Env (server.Gateway in process) ─► Upstream
//	Client ─► Program, FileEnv, Fleet (the real program) ─► Upstream
//	            └─► simulator.Platform
//
// SSOService and SSOApp are both ends of the in-house SSO contract, written from the
// document alone. Every environment is stopped at the end of its test.
//
// Only tests import it. It lives below cmd/dinggate because it imports packages that Go
// keeps internal to the command; that is why tests that use it live there, too.
package servertest
