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
// All of them make their calls through one Client, which implements deadlines,
// caps, the app token, back-off and decoding. Every error of WebLogin, SilentLogin
// and Directory is an *identity.Failure, and none contains a secret, a token or a
// code.
//
// The login flow around the redirect is in proxy/login, the session in session, a
// simulated platform for tests in dingtalk/simulator.
package dingtalk
