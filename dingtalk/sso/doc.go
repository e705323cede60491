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
// contract.go defines the wire format for both ends. Every code and token refers to
// the sign-in it was issued for: when that sign-in ends, they end too. Sessions, the
// sign-in itself and pages are in other packages and are reached through the funcs
// of Server.
package sso
