// Package dingtalk is a client of the DingTalk Open Platform.
//
//	browser ── authCode ──► WebLogin ──── userAccessToken, users/me ──┐
//	                                                               unionid
//	client  ── code ──────► SilentLogin ─ getuserinfo ────────────────┤
//	                                                                  ▼
//	recheck ── unionid ───────────────► Directory ─ getbyunionid, user/get, listparentbyuser ──► identity.User
//
//	organisation ── events ──► Stream ──► Handle (who left, who changed)
//
// All of them make their calls through one Client: one place for deadlines,
// caps, the app token, back-off and the reading of answers. Every error that
// leaves WebLogin, SilentLogin and Directory is an *identity.Failure, and none
// carries a secret, a token or a code.
//
// The login flow around the redirect lives in proxy/login, the session in
// session, a platform to test against in dingtalk/simulator.
package dingtalk
