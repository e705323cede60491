package servertest

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

// SSOService is an SSO service that was written from the document alone: four handlers
// with net/http. It uses DingTalk as DingTalk's own documentation describes. It records
// every request.
type SSOService struct {
	t              testing.TB
	URL, dingtalk  string
	appKey, secret string // at DingTalk
	ID, Password   string // of its one third party

	UnionID func(username string) string // adds a unionid to the userinfo response; nil: no unionid, as documented

	LongAccess, LongRefresh int // number of characters added to its tokens

	Mu       sync.Mutex
	codes    map[string]ssoLogin
	Tokens   map[string]SSOUser // access tokens
	Fresh    map[string]SSOUser // refresh tokens
	requests []SSORequest

	Life         int          // of access tokens, in seconds; 0 = 7200
	Naive        bool         // appends `?code=…` even if redirect_url has a query
	NoRefresh    bool         // the document has no such call
	AnswerToken  atomic.Value // func(w), in place of the answer
	AnswerUser   atomic.Value
	UserInfos    atomic.Int32
	HangUserInfo atomic.Value // func(r): called by userinfo before it answers
}

// SSOUser is a person of the service.
type SSOUser struct{ Username, Email string }

type ssoLogin struct {
	state string
	user  SSOUser
}

// SSORequest is a request to the service.
type SSORequest struct {
	path, Authorization, ContentType, Body string
}

// NewSSOService serves an SSOService with one client.
func NewSSOService(t testing.TB, dingtalk, appKey, secret string) *SSOService {
	s := &SSOService{
		t:        t,
		dingtalk: dingtalk,
		appKey:   appKey,
		secret:   secret,
		ID:       "gate",
		Password: Canary + "-gate-secret",
		codes:    map[string]ssoLogin{},
		Tokens:   map[string]SSOUser{},
		Fresh:    map[string]SSOUser{},
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

func (s *SSOService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.Mu.Lock()
	s.requests = append(s.requests,
		SSORequest{r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(body)})
	s.Mu.Unlock()
	switch r.Method + " " + r.URL.Path {
	case "GET /dingtalk/authorize":
		s.authorize(w, r)
	case "GET /dingtalk/callback":
		s.callback(w, r)
	case "POST /dingtalk/token":
		if f, ok := s.AnswerToken.Load().(func(http.ResponseWriter)); ok && f != nil {
			f(w)
			return
		}
		s.token(w, r, string(body))
	case "GET /dingtalk/userinfo":
		s.UserInfos.Add(1)
		if f, ok := s.HangUserInfo.Load().(func(*http.Request)); ok {
			f(r)
		}
		if f, ok := s.AnswerUser.Load().(func(http.ResponseWriter)); ok && f != nil {
			f(w)
			return
		}
		s.Mu.Lock()
		user, ok := s.Tokens[r.Header.Get("Authorization")]
		s.Mu.Unlock()
		if !ok {
			http.Error(w, `{"error":"token"}`, http.StatusUnauthorized)
			return
		}
		more := ""
		if s.UnionID != nil {
			more = fmt.Sprintf(`,"unionid":%q`, s.UnionID(user.Username))
		}
		fmt.Fprintf(w, `{"username":%q,"email":%q%s}`, user.Username, user.Email, more)
	default:
		http.NotFound(w, r)
	}
}

func (s *SSOService) authorize(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("client_id") != s.ID {
		http.Error(w, "no such client", http.StatusBadRequest)
		return
	}
	back := s.URL + "/dingtalk/callback?forward_url=" + url.QueryEscape(r.URL.Query().Get("redirect_url"))
	http.Redirect(w, r,
		s.dingtalk+"/oauth2/auth?response_type=code&scope=openid&prompt=consent&client_id="+s.appKey+"&redirect_uri="+
			url.QueryEscape(back), http.StatusFound)
}

func (s *SSOService) callback(w http.ResponseWriter, r *http.Request) {
	user, err := s.person(r.URL.Query().Get("authCode"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	code, state := rand.Text(), rand.Text() // authorize has no state: the service generates one
	s.Mu.Lock()
	s.codes[code] = ssoLogin{state, user}
	s.Mu.Unlock()
	forward := r.URL.Query().Get("forward_url")
	mark := "?"
	if strings.Contains(forward, "?") && !s.Naive {
		mark = "&"
	}
	http.Redirect(w, r, forward+mark+"code="+code+"&state="+state, http.StatusFound)
}

func (s *SSOService) token(w http.ResponseWriter, r *http.Request, body string) {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(s.ID+":"+s.Password))
	if r.Header.Get("Authorization") != want || r.Header.Get("Content-Type") != "text/plain" {
		http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
		return
	}
	s.Mu.Lock()
	defer s.Mu.Unlock()
	var user SSOUser
	if refresh, ok := strings.CutPrefix(body, "grant_type=refresh_token&refresh_token="); ok && !s.NoRefresh {
		if user, ok = s.Fresh[refresh]; !ok {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		delete(s.Fresh, refresh)
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
	access, refresh, life := rand.Text(), rand.Text(), s.Life
	if life == 0 {
		life = 7200
	}
	access, refresh = access+strings.Repeat("a", s.LongAccess), refresh+strings.Repeat("r", s.LongRefresh)
	s.Tokens[access], s.Fresh[refresh] = user, user
	fmt.Fprintf(w, `{"access_token":%q,"expiry_in":%d,"refresh_token":%q,"token_type":"Bearer"}`, access, life, refresh)
}

// person returns the person of an authCode, with the calls that DingTalk documents.
func (s *SSOService) person(authCode string) (SSOUser, error) {
	var token struct{ AccessToken string }
	if err := s.call("POST", s.dingtalk+"/v1.0/oauth2/userAccessToken", nil,
		map[string]string{"clientId": s.appKey, "clientSecret": s.secret, "code": authCode,
			"grantType": "authorization_code"}, &token); err != nil {
		return SSOUser{}, err
	}
	var me struct{ UnionID string }
	if err := s.call("GET", s.dingtalk+"/v1.0/contact/users/me",
		http.Header{"X-Acs-Dingtalk-Access-Token": {token.AccessToken}}, nil, &me); err != nil {
		return SSOUser{}, err
	}
	var app struct{ AccessToken string }
	if err := s.call("POST", s.dingtalk+"/v1.0/oauth2/accessToken", nil,
		map[string]string{"appKey": s.appKey, "appSecret": s.secret}, &app); err != nil {
		return SSOUser{}, err
	}
	var found struct{ Result struct{ UserID string } }
	if err := s.call("POST", s.dingtalk+"/topapi/user/getbyunionid?access_token="+app.AccessToken, nil,
		map[string]string{"unionid": me.UnionID}, &found); err != nil || found.Result.UserID == "" {
		return SSOUser{}, fmt.Errorf("no member: %v", err)
	}
	var record struct {
		Result struct {
			OrgEmail string `json:"org_email"`
		}
	}
	err := s.call("POST", s.dingtalk+"/topapi/v2/user/get?access_token="+app.AccessToken, nil,
		map[string]string{"userid": found.Result.UserID}, &record)
	return SSOUser{found.Result.UserID, record.Result.OrgEmail}, err
}

func (s *SSOService) call(method, address string, header http.Header, body, out any) error {
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

// Revoke invalidates every token of a person at the service.
func (s *SSOService) Revoke(username string) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	for _, all := range []map[string]SSOUser{s.Tokens, s.Fresh} {
		for token, user := range all {
			if user.Username == username {
				delete(all, token)
			}
		}
	}
}

// Requests returns the requests to a path.
func (s *SSOService) Requests(path string) (list []SSORequest) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	for _, a := range s.requests {
		if a.path == path {
			list = append(list, a)
		}
	}
	return list
}
