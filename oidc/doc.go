// Package oidc is the OpenID Connect provider: applications sign people in here.
//
//	/oidc/authorize ─► client, redirect_uri ─► session ─┬─ rule, consent ─► code ─► the application
//	        ▲               └── page, no redirect       └─ none: sign-in ──┐
//	        └──────────────────────────────────────────────────────────────┘
//	/oidc/token ─► client ─┬─ code, PKCE ────┐
//	                       ├─ refresh token ─┼─► person, rule ─► ID token, access token, refresh token
//	                       └─ device code ───┘
//	/oidc/userinfo, introspect, revoke ─► access token ─► grant ─► person, rule
//	session ended, person ended, rule changed ─► grants end ─► back-channel logout tokens
//
// What was given is in store/grant, keys are in oidc/keys; sessions, the sign-in
// and DingTalk are behind the funcs of Provider. Only what applications learn of a
// person is decided here: a name, an e-mail address, groups, and a `sub` that
// never belongs to another person.
package oidc
