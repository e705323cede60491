package login

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"dinggate/internal/web"
)

// A refused callback may leave an unredeemed code in the browser's address bar and history
// (threats S14). Such a page load is redirected to the same endpoint without the code, which shows
// the refusal:
//
//	callback?code=…&state=… ─ refused ─► 303 callback?refused=SEALED ─► the page
//	                                                 └─ 429, store fails: a reload tries the sealed query again
//
// If DingTalk has redeemed the code, the page is shown at once, and its language switch leads to
// that endpoint. Programs get JSON. The seal prevents others from making such pages.
type refusal struct {
	Issued time.Time     `json:"t"`
	ID     string        `json:"i"`           // request id of the refused callback, in the log and on the page
	Status int           `json:"s"`           // of the page
	Code   string        `json:"c"`           // of the page's message
	Retry  string        `json:"r,omitempty"` // of web.Error; decoded from Plain on
	Plain  int           `json:"p,omitempty"` // behind its `rd=`; 0: nothing is decoded
	Wait   time.Duration `json:"w,omitempty"`
	Query  string        `json:"q,omitempty"` // of a callback that used nothing up; "" is not tried again
}

const (
	refusalPurpose = "refused callback" // keys of its own (threats S8)
	refusalParam   = "refused"
	refusalLife    = attemptLife

	// Parts of the URL; gateways store it together with cookies in a buffer of 4 KB. A longer part
	// is omitted.
	maxRefusedQuery = 1200
	maxRefusedRetry = 1400
)

// errRefusedBefore is in the error of a page that shows an earlier refusal.
var errRefusedBefore = errors.New("login: the refusal of an earlier callback")

// refusedCallback redirects a refused callback to a URL without its code.
type refusedCallback struct{ *Flow }

// shownAgain adds to a refusal of r the URL that shows it once more, for the page in the other
// language, and redirects people to it unless the code in r's own URL is spent.
func (f refusedCallback) shownAgain(r *http.Request, x *web.Exchange, err error, spent bool) error {
	e, ok := errors.AsType[*web.Error](err)
	if !ok || !web.IsPageLoad(r.Method, r.Header) {
		return err
	}
	rest, sign := f.withoutSignIn(r.URL.RawQuery)
	stored := refusal{Issued: f.now(), ID: x.ID, Status: e.Status, Code: e.Code, Retry: e.Retry, Wait: e.RetryAfter}
	if e.Code == "store_unavailable" && e.Retry == "" || e.Status == http.StatusTooManyRequests || errors.Is(err, errQueue) { // see redeem
		stored.Query = sign
	}
	if before, target, ok := strings.Cut(stored.Retry, "rd="); ok { // shorter, but only if it returns unchanged
		if plain, err := url.QueryUnescape(target); err == nil && utf8.ValidString(plain) && url.QueryEscape(plain) == target {
			stored.Plain = len(before) + len("rd=")
			stored.Retry = stored.Retry[:stored.Plain] + plain
		}
	}
	if len(stored.Retry) > maxRefusedRetry {
		stored.Retry, stored.Plain = f.urls().path("/start", "/"), 0
	}
	if len(rest)+len(stored.Query) > maxRefusedQuery {
		rest, stored.Query = "", ""
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
	shown.Again = r.URL.EscapedPath() + "?" + rest + refusalParam + "=" + url.QueryEscape(text)
	shown.Leave = !spent && carriesCode(r.URL.RawQuery)
	return &shown
}

// query is the raw query of a callback: r's own, or the sealed one of a query that is tried again.
// An error is an earlier refusal.
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
	if at := stored.Plain; at > 0 {
		stored.Retry = stored.Retry[:at] + url.QueryEscape(stored.Retry[at:])
	}
	return "", &web.Error{Status: stored.Status, Code: stored.Code, Retry: stored.Retry, RetryAfter: stored.Wait, Err: errRefusedBefore}
}

// carriesCode reports whether a query contains a code that DingTalk issued for a person.
func carriesCode(query string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		if name, value, _ := strings.Cut(pair, "="); value != "" && (name == "code" || name == "authCode") {
			return true
		}
	}
	return false
}

// withoutSignIn splits a query into the part that a URL may keep, followed by an &, and the
// parameters of a sign-in. Only one name is kept, by which the SSO service distinguishes its
// callbacks: any other might be parsed as a code.
func (f refusedCallback) withoutSignIn(query string) (rest, sign string) {
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		switch name {
		case "forward_url":
			rest += pair + "&"
		case "code", "authCode", "state", "error", waitParam, f.AttemptIn:
		default:
			continue
		}
		sign += "&" + pair
	}
	return rest, strings.TrimPrefix(sign, "&")
}
