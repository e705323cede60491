package login

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dinggate/internal/web"
)

// A refused callback may leave an unredeemed code in the browser's
// address bar and history (threats S14). Such a page load is sent on to the same
// endpoint without the code, which shows the refusal:
//
//	callback?code=…&state=… ─ refused ─► 303 callback?refused=SEALED ─► the page
//	                                                 └─ 429, store fails: a reload tries the sealed query again
//
// Where DingTalk has redeemed the code, the page is shown at once, and its switch
// of language leads there. Programs get their JSON. The seal keeps others from
// writing such pages.
type refusal struct {
	Issued time.Time     `json:"t"`
	ID     string        `json:"i"`           // request id of the refused callback, which log and page name
	Status int           `json:"s"`           // of the page
	Code   string        `json:"c"`           // of the page's message
	Retry  string        `json:"r,omitempty"` // of web.Error; decoded behind its last `rd=`
	Wait   time.Duration `json:"w,omitempty"`
	Query  string        `json:"q,omitempty"` // of a callback that used nothing up; "" tries nothing again
}

const (
	refusalPurpose = "refused callback" // keys of its own (threats S8)
	refusalParam   = "refused"
	refusalLife    = attemptLife

	// Parts of the address, which gateways take together with cookies in a buffer
	// of 4 KB: what is longer is left out.
	maxRefusedQuery = 1200
	maxRefusedRetry = 1400
)

// errRefusedBefore is in the error of a page that shows an earlier refusal.
var errRefusedBefore = errors.New("login: the refusal of an earlier callback")

// refusedCallback moves a refused callback to an address without its code.
type refusedCallback struct{ *Flow }

// shownAgain gives a refusal of r the address that shows it once more, for the
// page in the other language, and has people leave for it unless the code in r's
// own address is spent.
func (f refusedCallback) shownAgain(r *http.Request, x *web.Exchange, err error, spent bool) error {
	e, ok := errors.AsType[*web.Error](err)
	if !ok || !web.IsPageLoad(r.Method, r.Header) {
		return err
	}
	kept, sign := f.withoutSignIn(r.URL.RawQuery)
	stored := refusal{Issued: f.now(), ID: x.ID, Status: e.Status, Code: e.Code, Retry: e.Retry, Wait: e.RetryAfter}
	if e.Code == "store_unavailable" && e.Retry == "" || e.Status == http.StatusTooManyRequests || errors.Is(err, errQueue) { // nothing was used up: see redeem
		stored.Query = sign
	}
	if at := strings.LastIndex(stored.Retry, "rd="); at >= 0 {
		if target, err := url.QueryUnescape(stored.Retry[at+len("rd="):]); err == nil {
			stored.Retry = stored.Retry[:at+len("rd=")] + target
		}
	}
	if len(stored.Retry) > maxRefusedRetry {
		stored.Retry = f.urls().path("/start", "/")
	}
	if len(kept)+len(stored.Query) > maxRefusedQuery {
		kept, stored.Query = "", ""
	}
	plain, failed := json.Marshal(stored)
	if failed != nil {
		return err
	}
	text, failed := f.Keyring.Seal(refusalPurpose, refusalParam, plain)
	if failed != nil {
		return err
	}
	shown := *e
	shown.Again = r.URL.EscapedPath() + "?" + kept + refusalParam + "=" + url.QueryEscape(text)
	shown.Leave = !spent && carriesCode(r.URL.RawQuery)
	return &shown
}

// query is the raw query of a callback: r's own, or the sealed one of a
// query that is tried again. The error is an earlier refusal.
func (f refusedCallback) query(r *http.Request, x *web.Exchange) (query string, err error) {
	text, err := parameter(r.URL.RawQuery, refusalParam)
	if err != nil || text == "" || carriesCode(r.URL.RawQuery) {
		return r.URL.RawQuery, err
	}
	var stored refusal
	plain, _, err := f.Keyring.Open(refusalPurpose, refusalParam, text)
	if err == nil {
		err = json.Unmarshal(plain, &stored)
	}
	if age := f.now().Sub(stored.Issued); err != nil || age < -attemptSkew || age >= refusalLife {
		return "", completion{f.Flow}.refuse(r, "state_expired", "/")
	}
	if stored.Query != "" {
		return stored.Query, nil
	}
	x.ID = stored.ID
	if at := strings.LastIndex(stored.Retry, "rd="); at >= 0 {
		stored.Retry = stored.Retry[:at+len("rd=")] + url.QueryEscape(stored.Retry[at+len("rd="):])
	}
	return "", &web.Error{Status: stored.Status, Code: stored.Code, Retry: stored.Retry, RetryAfter: stored.Wait, Err: errRefusedBefore}
}

// carriesCode reports whether a query holds what DingTalk gave for a person.
func carriesCode(query string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		if name, value, _ := strings.Cut(pair, "="); value != "" && (name == "code" || name == "authCode") {
			return true
		}
	}
	return false
}

// withoutSignIn divides a query into what an address may keep, with an & behind
// it, and what belongs to a sign-in. Kept is one name alone, which the SSO
// service distinguishes its callbacks by: any other might be read as a code.
func (f refusedCallback) withoutSignIn(query string) (kept, sign string) {
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		switch name {
		case "forward_url":
			kept += pair + "&"
		case "code", "authCode", "state", "error", waitParam, f.AttemptIn:
		default:
			continue
		}
		sign += "&" + pair
	}
	return kept, strings.TrimPrefix(sign, "&")
}
