package sso

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"dinggate/internal/clientauth"
)

// The four endpoints of the contract, below the service's URL.
const (
	PathAuthorize = "/dingtalk/authorize"
	PathCallback  = "/dingtalk/callback"
	PathToken     = "/dingtalk/token"
	PathUserinfo  = "/dingtalk/userinfo"
)

// Limits on sizes.
const (
	maxBody   = 8 << 10 // of a token request
	maxAnswer = 1 << 20 // of what a service answers
	maxName   = clientauth.MaxID
	maxSecret = 512
	maxURL    = 1024
	maxState  = 512
	maxToken  = 4 << 10
)

// TokenRequest is the body of a token call:
//
//	code=…&state=…
//	grant_type=refresh_token&refresh_token=…
//
// Values are form-encoded: `%XX` is a byte, `+` a space. A state that a third
// party returns without encoding it is accepted as well, so its raw text is stored
// too.
type TokenRequest struct {
	GrantType    string
	Code         string
	State        string // decoded
	RawState     string // as sent
	StateGiven   bool   // state was present, possibly empty
	RefreshToken string
	ClientID     string // optional; must then equal that of the Basic header
}

var errBody = errors.New("sso: the body is not code=…&state=…")

// ParseTokenRequest parses a body. A repeated parameter, in any letter case or as
// an array, is an error, since two parsers would read two values. So is anything
// but printable ASCII, except one line break at the end. Parameters that the
// contract does not define are ignored (threats T12).
func ParseTokenRequest(body string) (TokenRequest, error) {
	body = strings.TrimSuffix(strings.TrimSuffix(body, "\n"), "\r")
	if body == "" || strings.ContainsFunc(body, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ';' }) {
		return TokenRequest{}, errBody
	}
	var q TokenRequest
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(body, "&") {
		name, raw, ok := strings.Cut(pair, "=")
		folded := strings.ToLower(name)
		if !ok || name == "" || seen[folded] || len(seen) > 32 ||
			strings.Trim(folded, "abcdefghijklmnopqrstuvwxyz0123456789_-.") != "" {
			return TokenRequest{}, errBody
		}
		seen[folded] = true
		value, err := url.QueryUnescape(raw)
		if err != nil || !utf8.ValidString(value) || strings.ContainsFunc(value, control) {
			return TokenRequest{}, errBody
		}
		switch name {
		case "grant_type":
			q.GrantType = value
		case "code":
			q.Code = value
		case "state":
			q.State, q.RawState, q.StateGiven = value, raw, true
		case "refresh_token":
			q.RefreshToken = value
		case "client_id":
			q.ClientID = value
		}
	}
	return q, nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// String encodes the body as the documentation shows it. Values are sent unencoded
// except for bytes that would end or change them, so that a service that splits
// the text and one that decodes a form read the same.
func (q TokenRequest) String() string {
	var b strings.Builder
	add := func(name, value string) {
		if value == "" {
			return
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(name + "=")
		const hex = "0123456789ABCDEF"
		for i := 0; i < len(value); i++ {
			switch c := value[i]; {
			case c <= ' ', c >= 0x7f, c == '&', c == '%', c == ';':
				b.Write([]byte{'%', hex[c>>4], hex[c&15]})
			default:
				b.WriteByte(c)
			}
		}
	}
	add("grant_type", q.GrantType)
	add("code", q.Code)
	add("state", q.State)
	add("refresh_token", q.RefreshToken)
	return b.String()
}

// basic returns `Authorization: Basic` for a client.
func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// parseBasic parses the single Authorization header of a request (see
// clientauth.Basic) with the contract's limits.
func parseBasic(h http.Header) (id, secret string, err error) {
	id, secret, err = clientauth.Basic(h["Authorization"])
	if err == nil && (secret == "" || len(secret) > maxSecret) {
		return "", "", clientauth.ErrBasic
	}
	return id, secret, err
}

// bearer returns an access token: without a scheme, as the documentation shows it,
// or after `Bearer`.
func bearer(h http.Header) (token string, ok bool) {
	lines := h["Authorization"]
	if len(lines) != 1 {
		return "", false
	}
	token = lines[0]
	if scheme, rest, found := strings.Cut(token, " "); found {
		if !strings.EqualFold(scheme, "Bearer") {
			return "", false
		}
		token = strings.TrimLeft(rest, " ")
	}
	return token, printable(token, maxToken)
}

// printable reports whether s is visible ASCII of at most limit bytes.
func printable(s string, limit int) bool {
	return s != "" && len(s) <= limit && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// tokenAnswer is the response of the token endpoint.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	ExpiryIn     int64  `json:"expiry_in"`  // seconds; the contract's name
	ExpiresIn    int64  `json:"expires_in"` // the same, by its standard name
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
}

// userAnswer is the response of the userinfo endpoint; the first two fields are documented.
type userAnswer struct {
	Username    string   `json:"username"`
	Email       string   `json:"email"`
	UserID      string   `json:"userid"`
	UnionID     string   `json:"unionid"`
	Name        string   `json:"name"`
	Departments []int64  `json:"departments"`
	Roles       []string `json:"roles"`
	Audience    string   `json:"aud"` // the client that the token was issued to

	audience []string // as a client reads it; nil: not reported
}

var errAnswer = errors.New("sso: the answer is not the contract's")

// object decodes one JSON object. A byte order mark before it is accepted because
// some servers send one. A duplicate field, or anything after the object, is an
// error.
func object(body []byte) (map[string]json.RawMessage, error) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errAnswer
	}
	fields := map[string]json.RawMessage{}
	for dec.More() {
		name, err := dec.Token()
		text, ok := name.(string)
		var value json.RawMessage
		if err != nil || !ok || dec.Decode(&value) != nil {
			return nil, errAnswer
		}
		if _, twice := fields[text]; twice || len(fields) > 256 {
			return nil, errAnswer
		}
		fields[text] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errAnswer
	}
	if len(bytes.TrimSpace(body[dec.InputOffset():])) > 0 {
		return nil, errAnswer
	}
	return fields, nil
}

// text returns a string field, "" if it is absent or null. Other types are errors.
func text(raw json.RawMessage) (s string, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	if json.Unmarshal(raw, &s) != nil || !utf8.ValidString(s) || strings.ContainsFunc(s, control) {
		return "", errAnswer
	}
	return s, nil
}

// seconds returns expiry_in or expires_in, a number or a quoted number; 0 if both
// are absent.
func seconds(fields map[string]json.RawMessage) (time.Duration, error) {
	for _, name := range [...]string{"expiry_in", "expires_in"} {
		raw := strings.Trim(string(fields[name]), `"`)
		if raw == "" || raw == "null" {
			continue
		}
		n, err := strconv.ParseFloat(raw, 64)
		if err != nil || math.IsNaN(n) || n < 0 || n > 10*365*24*3600 {
			return 0, errAnswer
		}
		return time.Duration(n) * time.Second, nil
	}
	return 0, nil
}

// readToken decodes the response of the token endpoint.
func readToken(body []byte) (access, refresh string, life time.Duration, err error) {
	fields, err := object(body)
	if err != nil {
		return "", "", 0, err
	}
	access, err1 := text(fields["access_token"])
	refresh, err2 := text(fields["refresh_token"])
	kind, err3 := text(fields["token_type"])
	life, err4 := seconds(fields)
	if errors.Join(err1, err2, err3, err4) != nil || !printable(access, maxToken) ||
		refresh != "" && !printable(refresh, maxToken) ||
		kind != "" && !strings.EqualFold(kind, "Bearer") {
		return "", "", 0, errAnswer
	}
	return access, refresh, life, nil
}

// readUser decodes the response of the userinfo endpoint. Username identifies the
// person: a response without it identifies no one. Undocumented fields are used if
// they have the expected form and are otherwise ignored.
func readUser(body []byte) (userAnswer, error) {
	fields, err := object(body)
	if err != nil {
		return userAnswer{}, err
	}
	var u userAnswer
	u.Username, err = text(fields["username"])
	if err == nil {
		u.Email, err = text(fields["email"])
	}
	if u.Username == "" || err != nil || len(u.Username) > maxUsername || strings.TrimSpace(u.Username) != u.Username {
		return userAnswer{}, errAnswer
	}
	for name, to := range map[string]*string{"userid": &u.UserID, "unionid": &u.UnionID, "name": &u.Name} {
		if s, err := text(fields[name]); err == nil && len(s) <= maxUsername {
			*to = s
		}
	}
	if json.Unmarshal(fields["departments"], &u.Departments) != nil || len(u.Departments) > maxList {
		u.Departments = nil
	}
	if json.Unmarshal(fields["roles"], &u.Roles) != nil || len(u.Roles) > maxList {
		u.Roles = nil
	}
	u.audience = readAudience(fields["aud"])
	return u, nil
}

// readAudience reads the clients that a token was issued to: one or a list. Absent
// and null mean that the service does not report them; the result is nil. Unreadable
// values and "" match no client: a client must not accept a token that was issued
// to another one or to none (threats T30).
func readAudience(raw json.RawMessage) []string {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if one, err := text(raw); err == nil {
		if one == "" {
			return []string{}
		}
		return []string{one}
	}
	var list []string
	if json.Unmarshal(raw, &list) != nil || len(list) > maxList {
		return []string{}
	}
	return append([]string{}, list...)
}

const (
	maxUsername = 255
	maxList     = 1000
)
