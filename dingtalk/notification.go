package dingtalk

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"dinggate/internal/identity"
)

// Limits of a work notification; DingTalk refuses calls beyond them.
const (
	maxReceivers    = 100  // userids of one call
	maxMessage      = 2048 // bytes of the message as JSON
	maxMarkdown     = 1000 // characters; DingTalk's advice
	maxButton       = 20   // characters
	maxMessageURL   = 500  // bytes
	actionCardTitle = 100  // characters; our own limit: one line of the conversation list
)

// Notification is a work notification (工作通知) with one button.
type Notification struct {
	Title    string // in the conversation list
	Markdown string // escape user input with PlainMarkdown
	Button   string // 20 characters at most
	URL      string // what the button opens; 500 bytes at most
}

// Notify sends a work notification as the app agentID to up to 100 userids and
// returns DingTalk's task id. Success means that DingTalk accepted it, not that it
// was delivered: beyond its limits (the same content once per day and person, 500
// per day and person) DingTalk delivers nothing and reports nothing, so the caller
// must count. Notify does not send what DingTalk would refuse. Any error is an
// *identity.Failure.
func (c *Client) Notify(ctx context.Context, agentID int64, userIDs []string, n Notification) (task int64, err error) {
	message, fault := n.encode()
	if fault == "" && (len(userIDs) == 0 || len(userIDs) > maxReceivers) {
		fault = "not 1 to 100 receivers"
	}
	for _, id := range userIDs {
		if !validID(id) || strings.Contains(id, ",") {
			fault = "a userid that cannot be one"
		}
	}
	if fault != "" {
		return 0, &identity.Failure{
			Class: identity.Internal,
			Code:  "bad_request",
			Err:   fmt.Errorf("dingtalk: calling %s: %s", pathNotify, fault),
		}
	}
	var got struct {
		TaskID flexInt `json:"task_id"`
	}
	err = c.do(ctx, request{host: hostOld, path: pathNotify, flat: true, body: map[string]any{
		"agent_id":    agentID,
		"userid_list": strings.Join(userIDs, ","),
		"msg":         message,
	}}, &got)
	return int64(got.TaskID), err
}

func (n Notification) encode() (message json.RawMessage, fault string) {
	switch {
	case n.Title == "" || utf8.RuneCountInString(n.Title) > actionCardTitle:
		return nil, "no title, or a long one"
	case n.Markdown == "" || utf8.RuneCountInString(n.Markdown) > maxMarkdown:
		return nil, "no text, or more than 1000 characters"
	case n.Button == "" || utf8.RuneCountInString(n.Button) > maxButton:
		return nil, "no button, or more than 20 characters on it"
	case n.URL == "" || len(n.URL) > maxMessageURL:
		return nil, "no address, or more than 500 bytes"
	}
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // escaping would count six bytes for one
	err := e.Encode(map[string]any{
		"msgtype": "action_card",
		"action_card": map[string]string{
			"title":        n.Title,
			"markdown":     n.Markdown,
			"single_title": n.Button,
			"single_url":   n.URL,
		},
	})
	message = json.RawMessage(strings.TrimSpace(text.String()))
	if err != nil || len(message) > maxMessage {
		return nil, "more than 2048 bytes"
	}
	return message, ""
}

// Undelivered lists who did not receive a work notification.
type Undelivered struct {
	Unknown   []string          // not members, or outside the scope of the app
	Forbidden map[string]string // by userid: DingTalk's code of the limit
	Failed    []string
}

// Everybody reports whether all receivers got it.
func (u Undelivered) Everybody() bool { return len(u.Unknown)+len(u.Forbidden)+len(u.Failed) == 0 }

// NotifyResult returns who did not receive a notification. DingTalk keeps the result
// for 24 hours. Any error is an *identity.Failure.
func (c *Client) NotifyResult(ctx context.Context, agentID, task int64) (Undelivered, error) {
	var got struct {
		Result struct {
			Invalid   flexList[string] `json:"invalid_user_id_list"`
			Failed    flexList[string] `json:"failed_user_id_list"`
			Forbidden flexList[struct {
				UserID string  `json:"userid"`
				Code   flexInt `json:"code"`
			}] `json:"forbidden_list"`
			ForbiddenIDs flexList[string] `json:"forbidden_user_id_list"`
		} `json:"send_result"`
	}
	if err := c.do(ctx, request{host: hostOld, path: pathNotifyResult, flat: true,
		body: map[string]int64{"agent_id": agentID, "task_id": task}}, &got); err != nil {
		return Undelivered{}, err
	}
	u := Undelivered{Unknown: got.Result.Invalid, Failed: got.Result.Failed, Forbidden: map[string]string{}}
	for _, id := range got.Result.ForbiddenIDs {
		u.Forbidden[id] = ""
	}
	for _, f := range got.Result.Forbidden {
		u.Forbidden[f.UserID] = strconv.FormatInt(int64(f.Code), 10)
	}
	return u, nil
}

// wide maps each character with a meaning in Markdown or HTML to its full-width
// form. It is not documented how DingTalk's renderer treats a backslash; a
// character that is absent needs no escape.
var wide = func() (table [128]rune) {
	for _, c := range "!\"#$%&'()*+:;<=>@[\\]^_`{|}~" {
		table[c] = c - '!' + '！'
	}
	return table
}()

// PlainMarkdown returns s as one line of plain text for a work notification: no
// markup, no mention, and no address that becomes a link (threats G3).
func PlainMarkdown(s string) string {
	var b strings.Builder
	runes := []rune(s)
	for i, c := range runes {
		switch {
		case c == '\n', c == '\r', c == '\t', c == '\u2028', c == '\u2029', c == '\u0085':
			b.WriteByte(' ')
		case unicode.IsControl(c), unicode.Is(unicode.Cf, c), c == unicode.ReplacementChar:
			// invisible characters and bidi controls
		case c == '.' && i > 0 && i+1 < len(runes) && inName(runes[i-1]) && inName(runes[i+1]):
			b.WriteRune('．') // example.com becomes a link by itself
		case c < 128 && wide[c] != 0:
			b.WriteRune(wide[c])
		default:
			b.WriteRune(c)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// inName reports whether c can be next to the dot of a host name. Invisible
// characters count: renderers skip them.
func inName(c rune) bool {
	return unicode.IsLetter(c) || unicode.IsNumber(c) || unicode.Is(unicode.Cf, c) || unicode.IsControl(c) ||
		c == '-' || c == '_' || c == '.'
}
