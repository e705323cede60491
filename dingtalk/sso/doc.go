// Package sso implements the in-house DingTalk SSO contract, client and server.
//
//	third party ─ GET /dingtalk/authorize ─► Server ─┬─ signed in already ──────────────┐
//	   redirect_url, client_id                       └─► SignIn ─► DingTalk             │
//	browser ───── GET /dingtalk/callback ──────────────► Finish ──► code of our own ◄───┘
//	   ◄──────── 302 redirect_url?code&state ──────────────┘
//	third party ─ POST /dingtalk/token ────► code, once ─► access and refresh token
//	third party ─ GET /dingtalk/userinfo ──► Recall ─────► username, email
//
//	Client.AuthURL ─► (a service like the above) ─► Client.Exchange ─► identity.User
//
// The wire is written once, in contract.go. What a third party holds leads to
// the sign-in it came from: when that sign-in ends, so does everything that
// came of it. Sessions, the sign-in itself and pages live elsewhere and are
// reached through the funcs of Server.
package sso
