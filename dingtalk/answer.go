package dingtalk

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// answer is a complete response.
type answer struct {
	host   string // hostOld, hostNew
	path   string
	flat   bool // request.flat
	status int
	body   []byte
}

// oldEnvelope is the envelope of every answer of the old host.
type oldEnvelope struct {
	ErrCode   *flexInt        `json:"errcode"`
	ErrMsg    string          `json:"errmsg"`
	SubCode   json.RawMessage `json:"sub_code"` // a string on the wire
	SubMsg    string          `json:"sub_msg"`
	RequestID string          `json:"request_id"`
	Result    json.RawMessage `json:"result"`
}

// newEnvelope holds the fields that the new host adds to an answer.
type newEnvelope struct {
	Code      string          `json:"code"`
	Message   string          `json:"message"`
	RequestID string          `json:"requestid"`
	Denied    json.RawMessage `json:"accessdenieddetail"`
	ErrCode   *flexInt        `json:"errcode"` // an unknown path answers 200 with this
	ErrMsg    string          `json:"errmsg"`
}

// read decodes a into out and returns DingTalk's request id. A refusal is an
// *APIError; an unreadable answer is an errFormat.
func (a answer) read(out any) (requestID string, err error) {
	if a.host == hostOld {
		return a.readOld(out)
	}
	return a.readNew(out)
}

func (a answer) readOld(out any) (string, error) {
	var e oldEnvelope
	if err := decode(a.body, &e); err != nil {
		return "", a.unreadable(err)
	}
	if e.ErrCode == nil {
		return e.RequestID, a.unreadable(formatError("no errcode"))
	}
	if *e.ErrCode != 0 || a.status != 200 {
		return e.RequestID, a.apiErrorOAPI(e)
	}
	if out == nil {
		return e.RequestID, nil
	}
	if a.flat {
		return e.RequestID, decode(a.body, out)
	}
	if len(e.Result) == 0 || bytes.Equal(e.Result, []byte("null")) {
		return e.RequestID, formatError("no result")
	}
	return e.RequestID, decode(e.Result, out)
}

// apiErrorOAPI unwraps code 88, with which DingTalk's gateway reports the real code in sub_code.
func (a answer) apiErrorOAPI(e oldEnvelope) *APIError {
	code, message := int64(*e.ErrCode), e.ErrMsg
	var sub flexInt
	if code == 88 && sub.UnmarshalJSON(e.SubCode) == nil {
		code = int64(sub)
		if e.SubMsg != "" {
			message = e.SubMsg
		}
	}
	return &APIError{Host: a.host, Path: a.path, Status: a.status, Code: strconv.FormatInt(code, 10),
		Message: message, RequestID: e.RequestID, Scopes: pointsIn(message)}
}

func (a answer) readNew(out any) (string, error) {
	var e newEnvelope
	if err := decode(a.body, &e); err != nil {
		return "", a.unreadable(err)
	}
	failed := a.status < 200 || a.status > 299
	if failed || e.Code != "" || e.ErrCode != nil && *e.ErrCode != 0 {
		return e.RequestID, a.apiErrorAPI(e)
	}
	return e.RequestID, decode(a.body, out)
}

func (a answer) apiErrorAPI(e newEnvelope) *APIError {
	refusal := &APIError{
		Host:      a.host,
		Path:      a.path,
		Status:    a.status,
		Code:      e.Code,
		Message:   e.Message,
		RequestID: e.RequestID,
	}
	if e.Code == "" && e.ErrCode != nil {
		refusal.Code, refusal.Message = strconv.FormatInt(int64(*e.ErrCode), 10), e.ErrMsg
	}
	var detail struct {
		RequiredScopes flexList[string] `json:"requiredScopes"`
	}
	if len(e.Denied) > 0 && decode(e.Denied, &detail) == nil { // only a hint: unreadable counts as absent
		refusal.Scopes = points(detail.RequiredScopes)
	}
	if len(refusal.Scopes) == 0 {
		refusal.Scopes = pointsIn(e.Message)
	}
	return refusal
}

// unreadable classifies an answer by its HTTP status, as the body cannot be used.
func (a answer) unreadable(err error) error {
	if a.status < 200 || a.status > 299 {
		return &APIError{Host: a.host, Path: a.path, Status: a.status}
	}
	return err
}

// ipBlocked recognizes the refusal of our IP address: JSON with status 1111, or
// the HTML page of the same firewall. Any other HTML is an unreadable answer: an
// error page of a middlebox must not stop all calls.
func (a answer) ipBlocked() bool {
	body := bytes.TrimSpace(a.body)
	if bytes.HasPrefix(body, []byte("<")) {
		page := bytes.ToLower(body)
		return bytes.Contains(page, []byte("punish")) || bytes.Contains(page, []byte("x5sec"))
	}
	if !bytes.Contains(body, []byte("1111")) {
		return false
	}
	var p struct {
		Status  json.RawMessage `json:"status"`
		ErrCode json.RawMessage `json:"errcode"`
		Code    json.RawMessage `json:"code"`
	}
	return decode(body, &p) == nil && p.ErrCode == nil && p.Code == nil && strings.Trim(string(p.Status), `"`) == "1111"
}

// redactor removes the secrets of one call from text that came from DingTalk or
// from net/http: an error of a call to the old host quotes access_token.
type redactor []string

const maxText = 200 // runes of DingTalk's text that go into an error

// text makes s safe for a log line: without the call's secrets and without control
// characters, shortened.
func (r redactor) text(s string) string {
	s = strings.Map(func(c rune) rune {
		if c == unicode.ReplacementChar || unicode.IsControl(c) {
			return -1
		}
		return c
	}, s)
	for _, secret := range r {
		if len(secret) >= 3 { // anything shorter is no secret, and would match ordinary text
			s = strings.ReplaceAll(s, secret, "[secret]")
		}
	}
	if runes := []rune(s); len(runes) > maxText {
		s = string(runes[:maxText]) + "…"
	}
	return s
}

// clean redacts every field of e that came from DingTalk. Code and request id
// become labels and keys, so their form is checked.
func (r redactor) clean(e *APIError) *APIError {
	e.Code, e.Message, e.RequestID = r.label(e.Code), r.text(e.Message), r.label(e.RequestID)
	e.Scopes = slices.Clone(e.Scopes)
	for i := range e.Scopes {
		e.Scopes[i] = r.text(e.Scopes[i])
	}
	return e
}

// label is text for a short identifier; a value of another form becomes "odd".
func (r redactor) label(s string) string {
	if s = r.text(s); s != "" && len(points([]string{s})) == 0 {
		return "odd"
	}
	return s
}
