package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// documentService is an SSO service that was written from the document alone:
// four handlers over net/http, and DingTalk as its own documentation has it.
// Everything it was asked is there to look at.
type documentService struct {
	t              testing.TB
	base, dingtalk string
	appKey, secret string // at DingTalk
	id, password   string // of its one third party

	unionID func(username string) string // what it tells besides; nil: nothing, as in the document

	longAccess, longRefresh int // by how much its tokens are longer

	mu     sync.Mutex
	codes  map[string]documentLogin
	tokens map[string]documentUser // access tokens
	fresh  map[string]documentUser // refresh tokens
	asked  []documentAsk

	life        int          // of access tokens, in seconds; 0 = 7200
	naive       bool         // appends `?code=…` whatever redirect_url has already
	noRefresh   bool         // the document names no call for it
	answerToken atomic.Value // func(w), in place of the answer
	answerUser  atomic.Value
	userinfos   atomic.Int32
	hang        atomic.Value // func(r): userinfo waits for its end
}

type documentUser struct{ Username, Email string }

type documentLogin struct {
	state string
	user  documentUser
}

type documentAsk struct {
	path, authorization, contentType, body string
}

func newDocumentService(t testing.TB, dingtalk, appKey, secret string) *documentService {
	s := &documentService{
		t:        t,
		dingtalk: dingtalk,
		appKey:   appKey,
		secret:   secret,
		id:       "gate",
		password: canary + "-gate-secret",
		codes:    map[string]documentLogin{},
		tokens:   map[string]documentUser{},
		fresh:    map[string]documentUser{},
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.base = server.URL
	return s
}

func (s *documentService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.asked = append(s.asked,
		documentAsk{r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(body)})
	s.mu.Unlock()
	switch r.Method + " " + r.URL.Path {
	case "GET /dingtalk/authorize":
		s.authorize(w, r)
	case "GET /dingtalk/callback":
		s.callback(w, r)
	case "POST /dingtalk/token":
		if f, ok := s.answerToken.Load().(func(http.ResponseWriter)); ok && f != nil {
			f(w)
			return
		}
		s.token(w, r, string(body))
	case "GET /dingtalk/userinfo":
		s.userinfos.Add(1)
		if f, ok := s.hang.Load().(func(*http.Request)); ok {
			f(r)
		}
		if f, ok := s.answerUser.Load().(func(http.ResponseWriter)); ok && f != nil {
			f(w)
			return
		}
		s.mu.Lock()
		user, ok := s.tokens[r.Header.Get("Authorization")]
		s.mu.Unlock()
		if !ok {
			http.Error(w, `{"error":"token"}`, http.StatusUnauthorized)
			return
		}
		more := ""
		if s.unionID != nil {
			more = fmt.Sprintf(`,"unionid":%q`, s.unionID(user.Username))
		}
		fmt.Fprintf(w, `{"username":%q,"email":%q%s}`, user.Username, user.Email, more)
	default:
		http.NotFound(w, r)
	}
}

func (s *documentService) authorize(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("client_id") != s.id {
		http.Error(w, "no such client", http.StatusBadRequest)
		return
	}
	back := s.base + "/dingtalk/callback?forward_url=" + url.QueryEscape(r.URL.Query().Get("redirect_url"))
	http.Redirect(w, r,
		s.dingtalk+"/oauth2/auth?response_type=code&scope=openid&prompt=consent&client_id="+s.appKey+"&redirect_uri="+
			url.QueryEscape(back), http.StatusFound)
}

func (s *documentService) callback(w http.ResponseWriter, r *http.Request) {
	user, err := s.person(r.URL.Query().Get("authCode"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	code, state := rand.Text(), rand.Text() // authorize has no state: it makes one of its own
	s.mu.Lock()
	s.codes[code] = documentLogin{state, user}
	s.mu.Unlock()
	forward := r.URL.Query().Get("forward_url")
	mark := "?"
	if strings.Contains(forward, "?") && !s.naive {
		mark = "&"
	}
	http.Redirect(w, r, forward+mark+"code="+code+"&state="+state, http.StatusFound)
}

func (s *documentService) token(w http.ResponseWriter, r *http.Request, body string) {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(s.id+":"+s.password))
	if r.Header.Get("Authorization") != want || r.Header.Get("Content-Type") != "text/plain" {
		http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var user documentUser
	if refresh, ok := strings.CutPrefix(body, "grant_type=refresh_token&refresh_token="); ok && !s.noRefresh {
		if user, ok = s.fresh[refresh]; !ok {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		delete(s.fresh, refresh)
	} else {
		code, state, _ := strings.Cut(strings.TrimPrefix(body, "code="), "&state=") // a plain split, as such servers do
		login, ok := s.codes[code]
		if !ok || login.state != state {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		delete(s.codes, code)
		user = login.user
	}
	access, refresh, life := rand.Text(), rand.Text(), s.life
	if life == 0 {
		life = 7200
	}
	access, refresh = access+strings.Repeat("a", s.longAccess), refresh+strings.Repeat("r", s.longRefresh)
	s.tokens[access], s.fresh[refresh] = user, user
	fmt.Fprintf(w, `{"access_token":%q,"expiry_in":%d,"refresh_token":%q,"token_type":"Bearer"}`, access, life, refresh)
}

// person asks DingTalk whose code it is, by its documentation.
func (s *documentService) person(authCode string) (documentUser, error) {
	var token struct{ AccessToken string }
	if err := s.call("POST", s.dingtalk+"/v1.0/oauth2/userAccessToken", nil,
		map[string]string{"clientId": s.appKey, "clientSecret": s.secret, "code": authCode,
			"grantType": "authorization_code"}, &token); err != nil {
		return documentUser{}, err
	}
	var me struct{ UnionID string }
	if err := s.call("GET", s.dingtalk+"/v1.0/contact/users/me",
		http.Header{"X-Acs-Dingtalk-Access-Token": {token.AccessToken}}, nil, &me); err != nil {
		return documentUser{}, err
	}
	var app struct{ AccessToken string }
	if err := s.call("POST", s.dingtalk+"/v1.0/oauth2/accessToken", nil,
		map[string]string{"appKey": s.appKey, "appSecret": s.secret}, &app); err != nil {
		return documentUser{}, err
	}
	var found struct{ Result struct{ UserID string } }
	if err := s.call("POST", s.dingtalk+"/topapi/user/getbyunionid?access_token="+app.AccessToken, nil,
		map[string]string{"unionid": me.UnionID}, &found); err != nil || found.Result.UserID == "" {
		return documentUser{}, fmt.Errorf("no member: %v", err)
	}
	var record struct {
		Result struct {
			OrgEmail string `json:"org_email"`
		}
	}
	err := s.call("POST", s.dingtalk+"/topapi/v2/user/get?access_token="+app.AccessToken, nil,
		map[string]string{"userid": found.Result.UserID}, &record)
	return documentUser{found.Result.UserID, record.Result.OrgEmail}, err
}

func (s *documentService) call(method, address string, header http.Header, body, out any) error {
	var text bytes.Buffer
	if body != nil {
		json.NewEncoder(&text).Encode(body)
	}
	r, err := http.NewRequest(method, address, &text)
	if err != nil {
		return err
	}
	if header != nil {
		r.Header = header
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(out)
}

// revoke makes the service forget every token of a person.
func (s *documentService) revoke(username string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, all := range []map[string]documentUser{s.tokens, s.fresh} {
		for token, user := range all {
			if user.Username == username {
				delete(all, token)
			}
		}
	}
}

func (s *documentService) asks(path string) (list []documentAsk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.asked {
		if a.path == path {
			list = append(list, a)
		}
	}
	return list
}
