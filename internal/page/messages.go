package page

import "dinggate/internal/web"

// message is the text about one code for people: what happened, why, and what to do next. Text
// alone is the `message` of a JSON answer.
type message struct{ Title, Text, Next string }

// messageKey is the key of an error's message: that of its code, otherwise that of its status.
// There is a message for every key it returns.
func messageKey(e *web.Error) string {
	if _, ok := zhMessages[e.Code]; ok {
		return e.Code
	}
	if key, ok := byStatus[e.Status]; ok {
		return key
	}
	if e.Status >= 500 {
		return "internal"
	}
	return "bad_request"
}

// messageKey also takes into account the directory field that names people, if that may be empty.
func (p *Pages) messageKey(e *web.Error) string {
	key := messageKey(e)
	if key == "no_username" && p.missing != "" {
		return p.missing
	}
	return key
}

// missing has the message for a person without the field that names people, by the value of
// dingtalk.username.
var missing = map[string]string{"email": "no_email", "email_localpart": "no_email", "job_number": "no_job_number"}

// byStatus has the message for a code without one.
var byStatus = map[int]string{
	401: "unauthenticated", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 413: "too_large",
	429: "too_many_attempts", 431: "cookie_too_large", 502: "bad_gateway", 503: "unready", 504: "upstream_timeout",
}

// texts are the fixed texts of the pages, in one language, by theme. Templates read a text by its
// name alone, .Words.SignIn; a test reports a text that a language lacks.
type texts struct {
	layoutTexts
	actionTexts
	signInTexts
	profileTexts
	signOutTexts
	bindingTexts
	waitingTexts
}

// layoutTexts are around the content of every page.
type layoutTexts struct {
	DefaultTitle, Language, OtherLanguage, Contact, RequestID, Copy, Copied string
}

// actionTexts are on the buttons and links that several pages have.
type actionTexts struct {
	SignIn, SignInAgain, TryAgain, OtherAccount, Home, SignOut, Cancel, Continue string
}

// signInTexts are on the pages that begin a sign-in: the button, the silent page, the password form.
type signInTexts struct {
	SignInLead, SignInDingTalk, SignInNote, Silent string

	Or, Password, SignInAccount string
}

// profileTexts show who is signed in, and what the applications learn.
type profileTexts struct {
	SignedIn, SignedInText, SignedInAs string

	WhoAmI, WhoLead, Username, Email, Groups string
}

// signOutTexts are on the page that confirms a sign-out or a change of account, and on the one after it.
type signOutTexts struct {
	ConfirmSignOut, ConfirmText, ConfirmSwitch, SwitchText string

	SignedOut, SignedOutText, SignedOutNote string
}

// bindingTexts are about the binding of a DingTalk user to a local account: making it, and what
// its two sides see of it.
type bindingTexts struct {
	Link, LinkLead, LinkText, LinkAccount string

	BindingPerson, BindingAccount, BindingSince, Unbind, NewsAccount, NewsPerson string
}

// waitingTexts are on the page of those who wait for their turn. WaitingAhead has a %d.
type waitingTexts struct {
	Waiting, WaitingNext, WaitingAhead, WaitingText, WaitingNow string
}

var zhTexts = texts{
	layoutTexts: layoutTexts{
		DefaultTitle:  "统一登录",
		Language:      "语言",
		OtherLanguage: "English",
		Contact:       "需要帮助？请联系",
		RequestID:     "请求编号",
		Copy:          "复制",
		Copied:        "已复制",
	},
	actionTexts: actionTexts{
		SignIn:       "登录",
		SignInAgain:  "重新登录",
		TryAgain:     "再试一次",
		OtherAccount: "换个账号",
		Home:         "回到首页",
		SignOut:      "退出登录",
		Cancel:       "取消",
		Continue:     "继续",
	},
	signInTexts: signInTexts{
		SignInLead:     "登录后即可继续访问",
		SignInDingTalk: "用钉钉登录",
		SignInNote:     "仅限本企业成员使用",
		Silent:         "正在通过钉钉免登…",
		Or:             "或者",
		Password:       "密码",
		SignInAccount:  "用账号登录",
	},
	profileTexts: profileTexts{
		SignedIn:     "你已登录",
		SignedInText: "可以关闭这个窗口，回到原来的页面继续。",
		SignedInAs:   "当前账号",
		WhoAmI:       "我的账号",
		WhoLead:      "你访问的应用会看到这些信息",
		Username:     "用户名",
		Email:        "邮箱",
		Groups:       "角色",
	},
	signOutTexts: signOutTexts{
		ConfirmSignOut: "要退出登录吗？",
		ConfirmText:    "退出后，需要重新登录才能继续访问。",
		ConfirmSwitch:  "换个账号登录？",
		SwitchText:     "会先退出当前账号；用另一个账号登录后，回到刚才的页面。",
		SignedOut:      "你已退出登录",
		SignedOutText:  "你的登录已经结束，可以放心关闭这个页面。",
		SignedOutNote:  "如果这是公用电脑，请把钉钉也一并退出。",
	},
	bindingTexts: bindingTexts{
		Link:           "绑定账号",
		LinkLead:       "钉钉用户",
		LinkText:       "请用你的账号登录一次，完成绑定；以后用钉钉就能登录这个账号。如果这不是你本人的钉钉，请关闭本页。",
		LinkAccount:    "登录并绑定",
		BindingPerson:  "绑定的钉钉用户",
		BindingAccount: "绑定的账号",
		BindingSince:   "绑定时间",
		Unbind:         "解除绑定",
		NewsAccount:    "自你上次登录以来，有一个钉钉用户绑定了这个账号，用钉钉就可以登录它。如果不是你本人，请立即解除绑定并修改密码。",
		NewsPerson:     "自你上次登录以来，你的钉钉绑定到了下面的账号，今后用钉钉登录的就是这个账号。如果不是你本人操作的，请立即解除绑定。",
	},
	waitingTexts: waitingTexts{
		Waiting:      "正在排队登录",
		WaitingNext:  "马上就轮到你了。",
		WaitingAhead: "现在登录的人较多，你前面还有 %d 人。",
		WaitingText:  "本页会自动刷新，轮到你时自动完成登录，请不要关闭。",
		WaitingNow:   "立即刷新",
	},
}

var enTexts = texts{
	layoutTexts: layoutTexts{
		DefaultTitle:  "Sign-in",
		Language:      "Language",
		OtherLanguage: "中文",
		Contact:       "Need help? Contact",
		RequestID:     "Request ID",
		Copy:          "Copy",
		Copied:        "Copied",
	},
	actionTexts: actionTexts{
		SignIn:       "Sign in",
		SignInAgain:  "Sign in again",
		TryAgain:     "Try again",
		OtherAccount: "Use another account",
		Home:         "Home page",
		SignOut:      "Sign out",
		Cancel:       "Cancel",
		Continue:     "Continue",
	},
	signInTexts: signInTexts{
		SignInLead:     "Please sign in to continue",
		SignInDingTalk: "Sign in with DingTalk",
		SignInNote:     "For members of this organisation only",
		Silent:         "Signing you in with DingTalk…",
		Or:             "or",
		Password:       "Password",
		SignInAccount:  "Sign in with an account",
	},
	profileTexts: profileTexts{
		SignedIn:     "You are signed in",
		SignedInText: "You can close this window and go on where you were.",
		SignedInAs:   "Signed in as",
		WhoAmI:       "My account",
		WhoLead:      "The applications you visit can see this",
		Username:     "Username",
		Email:        "Email",
		Groups:       "Roles",
	},
	signOutTexts: signOutTexts{
		ConfirmSignOut: "Sign out?",
		ConfirmText:    "You will have to sign in again before you can go on.",
		ConfirmSwitch:  "Use another account?",
		SwitchText: "This signs you out first. Once you have signed in with another account, you are back at the " +
			"page you wanted.",
		SignedOut:     "You are signed out",
		SignedOutText: "Your session has ended. You can safely close this page.",
		SignedOutNote: "On a shared computer, please sign out of DingTalk as well.",
	},
	bindingTexts: bindingTexts{
		Link:     "Link your account",
		LinkLead: "DingTalk user",
		LinkText: "Sign in once with your account to link it; from then on DingTalk signs you in to it. If this " +
			"is not you in DingTalk, close this page.",
		LinkAccount:    "Sign in and link",
		BindingPerson:  "Linked DingTalk user",
		BindingAccount: "Linked account",
		BindingSince:   "Linked since",
		Unbind:         "Remove the link",
		NewsAccount: "Since your last sign-in a DingTalk user was linked to this account and can sign in to it with " +
			"DingTalk. If that is not you, remove the link now and change your password.",
		NewsPerson: "Since your last sign-in your DingTalk was linked to the account below, and signs you in to it " +
			"from now on. If you did not do this, remove the link now.",
	},
	waitingTexts: waitingTexts{
		Waiting:      "Waiting to sign in",
		WaitingNext:  "You are next.",
		WaitingAhead: "Many people are signing in right now: %d are before you.",
		WaitingText:  "This page refreshes by itself and signs you in when it is your turn. Please keep it open.",
		WaitingNow:   "Refresh now",
	},
}
