package dingtalk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"dinggate/internal/identity"
)

const (
	goodMember = `{"errcode":0,"result":{"contact_type":0,"userid":"p1"}}`
	goodRecord = `{"errcode":0,"result":{"userid":"p1","unionid":"u1","name":"张三","active":true,` +
		`"dept_id_list":[4201],"role_list":[{"id":100,"name":"主管"}]}}`
	goodParents = `{"errcode":0,"result":{"parent_list":[{"parent_dept_id_list":[4201,42,1]}]}}`
)

// answers is a DingTalk that returns the same response to all clients.
func answers(member, record, parents string) *Client {
	return &Client{Timeout: 5 * time.Second, Transport: script(func(r *http.Request) (int, string) {
		switch r.URL.Path {
		case pathAppToken:
			return 200, `{"accessToken":"t"}`
		case pathGetByUnionID:
			return 200, member
		case pathUserGet:
			return 200, record
		}
		return 200, parents
	})}
}

func TestDisabledAccounts(t *testing.T) {
	for _, c := range []struct {
		status string
		want   bool
	}{
		{`false`, false}, {`"false"`, false}, {`0`, false}, {`"0"`, false}, {`null`, false}, {`""`, false},
		{`"Enabled"`, false},
		{`true`, true}, {`"true"`, true}, {`1`, true}, {`"disabled"`, true}, {`"odd"`, true}, {`{}`, true},
	} {
		if got := disabled(json.RawMessage(c.status)); got != c.want {
			t.Errorf("disabled(%s) = %v, want %v", c.status, got, c.want)
		}
	}
}

// Rechecks are spread out; a sign-in does not wait (§15).
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := answers(goodMember, goodRecord, goodParents)
		paced := &Directory{Client: client, Pace: rate.NewLimiter(15, 1)}
		began := time.Now()
		for range 31 {
			if _, err := paced.Person(t.Context(), "u1"); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 1990*time.Millisecond || took > 2010*time.Millisecond {
			t.Errorf("31 lookups at 15/s took %v, want 2s", took)
		}
		began = time.Now()
		if _, err := (&Directory{Client: client}).Person(t.Context(), "u1"); err != nil || time.Since(began) != 0 {
			t.Errorf("Person without Pace = %v after %v, want at once", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := paced.Person(ctx, "u1")
		if f, ok := err.(*identity.Failure); !ok || f.Class != identity.Later {
			t.Errorf("Person with no time to wait = %v, want a Failure of class Later", err)
		}
	})
}

// Laws: no panic. An identity is complete or absent, and belongs to the requested person.
func FuzzPerson(f *testing.F) {
	for _, record := range []string{goodRecord,
		`{"errcode":"0","result":{"userid":"p1","unionid":"u1","active":"true","dept_id_list":"[2,3]",` +
			`"role_list":{"id":"1","name":"x"}}}`,
		`{"errcode":0,"result":{"userid":"p1","unionid":"u1","unionid":"u2","active":true}}`, `{"errcode":60121}`,
		`{}`, ``} {
		f.Add(goodMember, record, goodParents)
		f.Add(`{"errcode":0,"result":{"contact_type":"1","userid":"p1"}}`, record, `{"errcode":60011}`)
	}
	f.Fuzz(func(t *testing.T, member, record, parents string) {
		client := answers(member, record, parents)
		client.Timeout = 20 * time.Millisecond // -1 is retried
		u, err := (&Directory{Client: client, Ancestors: true}).Person(t.Context(), "u1")
		if err != nil {
			if fmt.Sprint(u) != fmt.Sprint(identity.User{}) {
				t.Errorf("Person = %v, %v, want no person, and an error", u, err)
			}
			if failure, ok := err.(*identity.Failure); !ok || failure.Code == "" {
				t.Errorf("Person = %v, want a Failure with a code", err)
			}
			return
		}
		if u.UnionID != "u1" || !validID(u.UserID) || u.Username != u.UserID {
			t.Errorf("Person = %+v, want u1, complete", u)
		}
	})
}

// Laws: no panic. An event that names people names at least one, by a valid id.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{
		`{"specVersion":"1.0","type":"EVENT","headers":{"topic":"*","messageId":"213d","time":"1693221579964",` +
			`"eventType":"user_leave_org","eventId":"c7","eventCorpId":"ding9f",` +
			`"eventBornTime":"1683533823336"},"data":"{\"timeStamp\":\"1\",\"userId\":[\"015\"]}"}`,
		`{"type":"EVENT","header":{"messageId":1,"eventType":"label_user_change"},"data":{"userIdList":["a"]}}`,
		`{"type":"SYSTEM","headers":{"topic":"ping","messageId":"1"},"data":"{\"opaque\":\"1\"}"}`,
		`{"type":"EVENT","headers":{"eventType":"user_modify_org"},"data":"{\"userId\":\"a\"}"}`, `{"errCode":20001}`,
		`[]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fr, err := readFrame(data)
		if err != nil {
			return
		}
		e, err := fr.event()
		if err == nil && (e.Effect == Left || e.Effect == Recheck) && len(e.UserIDs) == 0 {
			t.Errorf("event(%q) = %+v, want people or an error", data, e)
		}
		for _, id := range e.UserIDs {
			if !validID(id) {
				t.Errorf("event(%q) names %q, want valid ids only", data, id)
			}
		}
	})
}

func TestEndpoint(t *testing.T) {
	for _, c := range []struct{ api, endpoint, ticket, want string }{
		{"", "wss://wss-open-connection.dingtalk.com:443/connect", "a b+c",
			"wss://wss-open-connection.dingtalk.com:443/connect?ticket=a+b%2Bc"},
		{"", "wss://h/connect?x=1", "t", "wss://h/connect?x=1&ticket=t"},
		{"", "ws://h/connect", "t", ""}, {"", "http://h/", "t", ""}, {"", "wss:///connect", "t", ""},
		{"", "", "t", ""}, {"", "wss://h/", "", ""},
		{"http://127.0.0.1:1", "ws://127.0.0.1:2/connect", "t", "ws://127.0.0.1:2/connect?ticket=t"},
	} {
		got, _ := (&Client{Config: Config{APIURL: c.api}}).endpoint(c.endpoint, c.ticket)
		if got != c.want {
			t.Errorf("endpoint(%q, %q) = %q, want %q", c.endpoint, c.ticket, got, c.want)
		}
	}
}

func TestSeenIsBounded(t *testing.T) {
	var s seen
	for i := range 3 * rememberedEvents {
		s.add(fmt.Sprint(i))
	}
	if len(s.ids) > rememberedEvents || !s.ids[fmt.Sprint(3*rememberedEvents-1)] || s.ids["0"] {
		t.Errorf("%d ids are stored, want the last %d", len(s.ids), rememberedEvents)
	}
}
