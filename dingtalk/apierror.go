package dingtalk

import (
	"fmt"
	"strconv"
	"strings"

	"dinggate/internal/identity"
)

// The two API families, as APIError.Host names them.
const (
	hostOld = "oapi" // oapi.dingtalk.com: errcode, snake_case, HTTP 200 even for errors
	hostNew = "api"  // api.dingtalk.com: code, camelCase, real HTTP statuses
)

// APIError is DingTalk's refusal of a call. Its texts are shortened and contain no
// secret of the call.
type APIError struct {
	Host      string   // "api" or "oapi"
	Path      string   // the call
	Status    int      // HTTP status
	Code      string   // effective code: `60121`, `Forbidden.AccessDenied.…`; "" if the answer had none
	Message   string   // DingTalk's text, for the operator
	RequestID string   // DingTalk's trace id
	Scopes    []string // permission points that DingTalk reports as missing
}

func (e *APIError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "dingtalk: calling %s: ", e.Path)
	if e.Code == "" {
		b.WriteString("no code")
	} else {
		b.WriteString(e.Code)
	}
	if e.Message != "" {
		b.WriteString(" " + e.Message)
	}
	fmt.Fprintf(&b, " (HTTP %d", e.Status)
	if e.RequestID != "" {
		b.WriteString(", request " + e.RequestID)
	}
	return b.String() + ")"
}

// reaction is what Client does about a refusal.
type reaction int

const (
	report  reaction = iota // return it
	renew                   // the app token is invalid: fetch another and retry once
	again                   // busy: retry, at most three times
	backOff                 // throttled: open the circuit of this path
)

// classification is one row of the tables of refusals.
type classification struct {
	class identity.Class
	code  string // Failure.Code
	then  reaction
}

// oapiClassifications is the old host's table, by effective code.
var oapiClassifications = map[int]classification{
	-1:    {identity.Later, "unavailable", again},
	22:    {identity.Internal, "bad_request", report},
	33012: {identity.Refused, "not_member", report},
	60121: {identity.Refused, "not_member", report},
	60120: {identity.Refused, "disabled", report},
	50002: {identity.Refused, "out_of_scope", report},
	50003: {identity.Refused, "app_disabled", report},
	50005: {identity.Refused, "organisation_disabled", report},
	50004: {identity.Operator, "department_unknown", report},
	60003: {identity.Operator, "department_unknown", report},

	40014: {identity.Operator, "token_refused", renew},
	42001: {identity.Operator, "token_refused", renew},
	40001: {identity.Operator, "credentials_wrong", renew}, // an expired token or a wrong secret
	// a parameter, unless the text reports a missing token
	40000: {identity.Internal, "bad_request", report},
	40089: {identity.Operator, "credentials_wrong", report},
	40096: {identity.Operator, "credentials_wrong", report},
	40013: {identity.Operator, "credentials_wrong", report},
	52010: {identity.Operator, "credentials_wrong", report},
	60011: {identity.Operator, "permission_missing", report},
	43007: {identity.Operator, "permission_missing", report},
	60020: {identity.Operator, "ip_not_allowed", report},
	90020: {identity.Operator, "quota_exhausted", report},

	40078: {identity.Restart, "code_rejected", report},
	40102: {identity.Restart, "code_rejected", report},
	42007: {identity.Restart, "code_rejected", report},
	42008: {identity.Restart, "code_rejected", report},
	41007: {identity.Restart, "code_rejected", report},
	41026: {identity.Restart, "code_rejected", report},
	40079: {identity.Refused, "out_of_scope", report}, // app not visible to the person, not published, or 免登 not enabled

	40035:  {identity.Internal, "bad_request", report},
	400002: {identity.Internal, "bad_request", report},
	40009:  {identity.Internal, "bad_request", report},
	33011:  {identity.Internal, "bad_request", report},
	40068:  {identity.Internal, "bad_request", report},
	40069:  {identity.Internal, "bad_request", report},
	400001: {identity.Later, "unavailable", report},
	853001: {identity.Internal, "bad_request", report},
	853002: {identity.Operator, "clock_wrong", report},
	853003: {identity.Internal, "bad_request", report},
	853004: {identity.Internal, "bad_request", report},
}

// apiClassifications is the new host's table, by code in lower case: the SDKs and the
// API differ in letter case.
var apiClassifications = map[string]classification{
	"invalidparameter.authcode.notfound": {identity.Restart, "code_rejected", report},
	"invalidcode":                        {identity.Restart, "code_rejected", report},
	"accesstoken.expired":                {identity.Restart, "code_rejected", report},

	"invalidclientidorsecret": {identity.Operator, "credentials_wrong", report},
	"invalid.client":          {identity.Operator, "credentials_wrong", report},
	"unsupported.grant.type":  {identity.Operator, "credentials_wrong", report},
	"unauthorized.client":     {identity.Operator, "credentials_wrong", report},
	"invalidauthinfo":         {identity.Operator, "credentials_wrong", report},

	"invalidauthentication":                 {identity.Operator, "token_refused", renew},
	"authenticationfailed.missingparameter": {identity.Operator, "token_refused", renew},

	"missingbody":                                {identity.Internal, "bad_request", report},
	"invalidparameter":                           {identity.Internal, "bad_request", report},
	"invalidparameter.user.notfound":             {identity.Refused, "not_member", report},
	"system.busy":                                {identity.Later, "unavailable", report},
	"systembusy":                                 {identity.Later, "unavailable", report},
	"server.error":                               {identity.Later, "unavailable", report},
	"unknownerror":                               {identity.Later, "unavailable", report},
	accessDenied + "ipnotinwhitelist":            {identity.Operator, "ip_not_allowed", report},
	accessDenied + "apicountlimitfororg":         {identity.Operator, "quota_exhausted", report},
	accessDenied + "accesstokenpermissiondenied": {identity.Operator, "permission_missing", report},
}

const accessDenied = "forbidden.accessdenied."

// label returns the code if a table has it.
func (e *APIError) label() string {
	known := false
	if n, err := strconv.Atoi(e.Code); err == nil {
		_, known = oapiClassifications[n]
	} else {
		_, known = apiClassifications[strings.ToLower(e.Code)]
	}
	switch {
	case known:
		return e.Code
	case classifyError(e, false).then == backOff:
		return "throttled"
	}
	return "other"
}

// unrecognized marks a refusal that no table has: a recheck is retried later, a
// sign-in is refused (see signIn).
const unrecognized = "unrecognized"

// classifyError finds the row for e. user reports that the call used a person's
// token, which cannot be renewed: the person signs in again.
func classifyError(e *APIError, user bool) classification {
	r := classification{identity.Later, unrecognized, report}
	if e.Host == hostOld {
		r = classifyOAPI(e, r)
	} else {
		r = classifyAPI(e, r)
	}
	if user && r.then == renew {
		return classification{identity.Restart, "code_rejected", report}
	}
	return r
}

func classifyOAPI(e *APIError, r classification) classification {
	code, err := strconv.Atoi(e.Code)
	switch {
	case e.Status != 200: // the old host refuses with 200: any other status comes from a failing server or a middlebox
		return classifyStatus(e.Status)
	case err != nil:
		return r
	case code == 40000 && strings.Contains(strings.ToLower(e.Message), "access_token is blank"):
		return oapiClassifications[40014]
	case 90001 <= code && code <= 90014, code == 90017, code == 90018:
		return classification{identity.Later, "throttled", backOff}
	}
	if row, ok := oapiClassifications[code]; ok {
		return row
	}
	return r
}

func classifyAPI(e *APIError, r classification) classification {
	code := strings.ToLower(e.Code)
	row, known := apiClassifications[code]
	switch {
	case e.Status == 429, strings.HasPrefix(code, accessDenied+"qps"), strings.HasPrefix(code, accessDenied+"qpm"):
		return classification{identity.Later, "throttled", backOff}
	case e.Status >= 500: // a failing server decides nothing
		return classifyStatus(e.Status)
	case known:
		return row
	case e.Status == 200 && e.Code != "": // errcode on the new host: an unknown path
		return classification{identity.Internal, "bad_request", report}
	case e.Code == "":
		return classifyStatus(e.Status)
	}
	return r
}

// classifyStatus classifies an answer by its HTTP status alone.
func classifyStatus(status int) classification {
	if status == 429 {
		return classification{identity.Later, "throttled", backOff}
	}
	if status >= 500 {
		return classification{identity.Later, "unavailable", report}
	}
	return classification{identity.Later, "bad_answer", report}
}
