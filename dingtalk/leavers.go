package dingtalk

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
)

const pathLeaveRecords = "/v1.0/contact/empLeaveRecords"

const (
	maxLeavers  = 10_000
	longestSpan = 365 * 24 * time.Hour // the longest span that DingTalk answers
)

// Leaver is an entry of the organisation's leave records.
type Leaver struct {
	UserID string
	Left   time.Time // zero if unknown
}

// Leavers lists the people who left between since and now, at most those of the last
// 365 days. Some of them may have rejoined. The error is an *identity.Failure; its
// code is permission_missing without the permission Contact.Common.Read.
func (c *Client) Leavers(ctx context.Context, since time.Time) (all []Leaver, err error) {
	ctx = WithClass(ctx, ratelimit.Event)
	now := c.now()
	if oldest := now.Add(-longestSpan + time.Hour); since.Before(oldest) {
		since = oldest
	}
	query := url.Values{
		"startTime":  {since.UTC().Format(time.RFC3339)},
		"endTime":    {now.Add(time.Second).UTC().Format(time.RFC3339)}, // whole seconds
		"maxResults": {"50"},
		"nextToken":  {"0"},
	}
	for len(all) < maxLeavers {
		var got struct {
			Records flexList[struct {
				UserID string   `json:"userId"`
				Left   flexText `json:"leaveTime"`
			}] `json:"records"`
			Next flexText `json:"nextToken"`
		}
		if err := c.doAsApp(ctx, pathLeaveRecords, query, &got); err != nil {
			return nil, err
		}
		for _, one := range got.Records {
			if validID(one.UserID) {
				left, _ := time.Parse(time.RFC3339, string(one.Left))
				all = append(all, Leaver{one.UserID, left})
			}
		}
		next := string(got.Next)
		if next == "" || next == query.Get("nextToken") || len(got.Records) == 0 {
			return all, nil
		}
		query.Set("nextToken", next)
	}
	return nil, badAnswer(pathLeaveRecords, formatError("a list without end")).failure()
}

// doAsApp makes a read call to the new host with the app's own token.
func (c *Client) doAsApp(ctx context.Context, path string, query url.Values, out any) error {
	for renewed := false; ; renewed = true {
		token, err := c.appToken(ctx)
		if err != nil {
			return err
		}
		err = c.do(ctx, request{host: hostNew, path: path, method: http.MethodGet, query: query.Encode(), user: token}, out)
		if f, ok := errors.AsType[*identity.Failure](err); ok && f.Class == identity.Restart && !renewed {
			c.token.drop(token) // refused like a person's token: fetch another
			continue
		}
		return err
	}
}

// Gone reports whether the member with this userid has left. It is false for a
// person who rejoined. The error is an *identity.Failure: the state is unknown.
func (d *Directory) Gone(ctx context.Context, userID string) (bool, error) {
	_, err := d.Colleague(WithClass(ctx, ratelimit.Event), userID)
	if f, ok := errors.AsType[*identity.Failure](err); ok && f.Class == identity.Refused {
		return true, nil
	}
	return false, err
}
