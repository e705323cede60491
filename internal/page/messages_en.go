package page

// enMessages has a message for every key of zhMessages, in the same order.
var enMessages = map[string]message{
	"unauthenticated": {"Please sign in", "You are not signed in, or your sign-in has expired.", "Sign in to continue."},
	"forbidden":       {"You can't open this page", "Your account can't open this page.", "If you need it for your work, ask your administrator, or use another account."},
	"not_allowed":     {"You don't have access to this page", "You are signed in, but your account has no access to this page.", "If you need it for your work, ask your administrator, or use another account."},
	"unconfirmed":     {"We can't confirm who you are just now", "We need to check again that you are a member of this organisation, but DingTalk is not answering.", "You don't have to sign in again. Please try again in a moment."},
	"cross_site":      {"Nothing was changed", "The request came from another website, so to keep you safe we did not carry it out.", "If it was you, open the original page and do it there."},

	"not_member":            {"You are not a member of this organisation", "DingTalk signed you in, but this account is not in the organisation's contacts.", "Use the DingTalk account that belongs to this organisation. If you have just joined, ask your administrator to add you."},
	"external_contact":      {"External contacts can't sign in", "You are listed as an external contact. Only members of this organisation can sign in here.", "If you are a member, use another account or ask your administrator."},
	"inactive":              {"Your account is not active yet", "You are in the organisation's contacts, but your account has not been activated.", "Open DingTalk, accept the invitation to join, then sign in again."},
	"disabled":              {"Your account is disabled", "Your DingTalk account in this organisation has been disabled.", "If you think this is a mistake, ask your administrator."},
	"no_username":           {"Something is missing in your profile", "Your profile in the organisation's contacts lacks what we need to sign you in, such as a job number or an email.", "Ask your administrator to complete your profile, then sign in again."},
	"out_of_scope":          {"This application is not open to you yet", "In DingTalk, you are not among the people who may use this application.", "If you need it for your work, ask your administrator to add you."},
	"app_disabled":          {"The sign-in application is disabled", "The DingTalk application used for signing in has been disabled. Your account is fine.", "Ask your administrator to enable it again."},
	"organisation_disabled": {"The organisation is disabled", "This organisation has been disabled in DingTalk. It is nothing you did.", "Ask your administrator to look into it."},
	"wrong_organisation":    {"That was a different organisation", "You chose a different organisation while signing in.", "Sign in again and choose this one."},

	"code_rejected":      {"The sign-in was not completed", "What DingTalk gave us for this sign-in has expired or was already used.", "Please sign in again."},
	"state_unknown":      {"The sign-in was not completed", "This sign-in was not started in this browser, or the browser did not keep our cookie.", "Allow cookies for this site, then sign in again."},
	"state_expired":      {"The sign-in took too long", "This sign-in was open for too long and has expired.", "Sign in again and finish within a few minutes."},
	"state_used":         {"This sign-in was already used", "A sign-in link works once. Perhaps it was clicked twice, or you went back.", "If you are signed in already, just open the page you wanted. Otherwise sign in again."},
	"denied_at_dingtalk": {"The sign-in was cancelled", "The sign-in was not approved in DingTalk, or it was cancelled.", "To continue, sign in again and choose “Agree”."},
	"sign_in_loop":       {"The sign-in keeps repeating", "You were signed in, but the browser did not remember it. Usually cookies are blocked, or the computer's clock is wrong.", "Allow cookies for this site, check the clock, then sign in again."},
	"too_many_attempts":  {"That was a bit too fast", "There were too many attempts in a short time, so we are taking a break.", "Please wait a minute and try again."},
	"prefetch":           {"The sign-in has not started", "The browser opened this page ahead of time, so to be safe we did not start the sign-in.", "Use the button to sign in."},

	"operator":           {"Signing in is not possible right now", "The sign-in service is not set up correctly. Your account is fine.", "Your administrator has to fix this. Please pass on the request ID below."},
	"permission_missing": {"Signing in is not possible right now", "The sign-in service lacks a permission in DingTalk. Your account is fine.", "Your administrator has to fix this. Please pass on the request ID below."},
	"ip_not_allowed":     {"Signing in is not possible right now", "DingTalk did not accept the request of the sign-in service. Your account is fine.", "Your administrator has to fix this. Please pass on the request ID below."},
	"credentials_wrong":  {"Signing in is not possible right now", "DingTalk did not recognise the sign-in service. Your account is fine.", "Your administrator has to fix this. Please pass on the request ID below."},
	"token_refused":      {"Signing in is not possible right now", "DingTalk did not accept the request of the sign-in service. Your account is fine.", "Your administrator has to fix this. Please pass on the request ID below."},
	"department_unknown": {"Signing in is not possible right now", "The sign-in service could not read your department from the contacts. It is nothing you did.", "Your administrator has to fix this. Please pass on the request ID below."},
	"quota_exhausted":    {"Signing in is not possible right now", "The organisation has used up its DingTalk calls. Your account is fine.", "Your administrator has to fix this. Please pass on the request ID below."},
	"clock_wrong":        {"Signing in is not possible right now", "The clock of the sign-in server is wrong. Your account is fine.", "Your administrator has to fix this. Please pass on the request ID below."},

	"throttled":         {"Many people are signing in", "DingTalk asks us to slow down.", "Please try again in a moment."},
	"unavailable":       {"We can't reach DingTalk right now", "DingTalk did not answer in time. Your account is fine.", "Please try again in a moment. If it goes on, tell your administrator."},
	"bad_answer":        {"DingTalk's answer was not right", "We could not read DingTalk's answer. Your account is fine.", "Please try again in a moment. If it goes on, tell your administrator."},
	"store_unavailable": {"We can't look up your sign-in right now", "The service that remembers sign-ins is not answering. You have not been signed out.", "Please try again in a moment."},
	"unready":           {"The service is not available right now", "The service is busy or restarting.", "Please try again in a moment."},

	"upstream_unreachable": {"The application is not answering", "The application you want can't be reached right now. Your sign-in is fine.", "Please try again in a moment. If it goes on, tell your administrator."},
	"upstream_timeout":     {"The application is too slow", "The application you want did not answer in time. Your sign-in is fine.", "Please try again in a moment. If you were submitting something, check first whether it went through."},
	"bad_gateway":          {"The application's answer was not right", "The application you want gave an answer we could not read. Your sign-in is fine.", "Please try again in a moment. If it goes on, tell your administrator."},

	"not_found":           {"We can't find this page", "This address does not exist. It may be mistyped, or the page has moved.", "Check the address, or go to the home page."},
	"no_route":            {"We can't find this page", "There is no application at this address.", "Check the address, or go to the home page."},
	"own_prefix":          {"This address can't be opened this way", "It belongs to the sign-in service itself, and the gateway should not ask about it.", "Your administrator has to fix this. Please pass on the request ID below."},
	"method_not_allowed":  {"That can't be done here", "This address does not accept this kind of request.", "Go back and try another way."},
	"bad_host":            {"The address is not right", "The host name in the address is unreadable or not ours.", "Check the address and open it again."},
	"bad_path":            {"The address is not right", "The address contains characters that are not allowed.", "Check the address and open it again."},
	"ambiguous_path":      {"The address is not right", "This address can be read in more than one way, so to be safe we did not open it.", "Use a link inside the application instead."},
	"bad_request":         {"Something is wrong with the request", "The request is incomplete or unreadable.", "Go back and try again."},
	"bad_forwarded":       {"Something is wrong with the request", "What the gateway passed on is incomplete or contradicts itself.", "Your administrator has to fix this. Please pass on the request ID below."},
	"websocket_handshake": {"No connection was made", "The request for a live connection is not correct.", "Reload the page and try again."},
	"cookie_too_large":    {"The browser sent too much data", "This site has stored too many cookies in your browser.", "Delete this site's cookies, then sign in again."},
	"too_large":           {"That is too large", "What you sent is larger than allowed.", "Make it smaller and try again."},

	"internal": {"Something went wrong on our side", "There was an unexpected error. It is nothing you did.", "Please try again in a moment. If it goes on, give your administrator the request ID below."},
}
