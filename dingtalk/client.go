package dingtalk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"dinggate/internal/httpclient"
	"dinggate/internal/identity"
	"dinggate/internal/ratelimit"
)

// Paths of the calls. Errors, metrics and the circuit breaker use them as names.
const (
	pathAppToken     = "/v1.0/oauth2/accessToken"
	pathUserToken    = "/v1.0/oauth2/userAccessToken"
	pathMe           = "/v1.0/contact/users/me"
	pathAuthRules    = "/v1.0/oauth2/authRules/user"
	pathMigrated     = "/v1.0/contact/orgAccount/getUnionIdByMigrationUnionIds"
	pathConnection   = "/v1.0/gateway/connections/open"
	pathGetUserInfo  = "/topapi/v2/user/getuserinfo"
	pathGetByUnionID = "/topapi/user/getbyunionid"
	pathUserGet      = "/topapi/v2/user/get"
	pathParents      = "/topapi/v2/department/listparentbyuser"
	pathNotify       = "/topapi/message/corpconversation/asyncsend_v2"
	pathNotifyResult = "/topapi/message/corpconversation/getsendresult"
)

const (
	defaultTimeout  = 8 * time.Second
	defaultInFlight = 64
	busyTries       = 3 // how often a call is made that DingTalk answers with -1
)

// Client makes every call to DingTalk for one app. It caches the app token and
// knows which calls DingTalk refuses at present, so share one Client per app.
//
// Fields must not change, and a Client must not be copied, after the first call.
// It is safe for concurrent use.
type Client struct {
	Config    Config
	Transport http.RoundTripper // nil: a transport with deadlines and a limit on idle connections
	Timeout   time.Duration     // of a call with all its retries, and of a whole sign-in; 0 = 8 s
	InFlight  int               // most concurrent calls; others wait until their deadline; 0 = 64
	Now       func() time.Time  // nil = time.Now

	// Observe is called after every attempt of every call, with the call's context,
	// for metrics, traces and the log. It runs on the caller's goroutine and must
	// return quickly. If nil, it is not called.
	Observe func(context.Context, Call)

	// Budget delays calls so that all replicas together stay below DingTalk's limit
	// of calls per second and API. A throttled call slows all replicas down and is
	// retried within its deadline. A call that gets no turn before its deadline fails
	// with ratelimit.ErrNoTurn. If nil, calls are not delayed, and throttling opens
	// the circuit of the path.
	Budget *ratelimit.Budget

	once    sync.Once
	http    httpclient.Clients
	slots   chan struct{} // in flight
	breaker circuitBreaker
	token   appToken

	readAccounts atomic.Bool // users/me has answered: the app has the permission for it
}

// Call is one attempt of one call, as passed to Client.Observe.
type Call struct {
	Name string // the path, without host and query: one of a fixed set
	// ok, refused, throttled, punished, unavailable, bad_answer, held, canceled, timeout, dns,
	// connect, tls, transport
	Result    string
	Code      string // DingTalk's code, if it refused
	Blameless bool   // DingTalk works: it correctly refused a person or a code
	Label     string // Code limited to a fixed set, for metrics: throttled and other represent the rest
	RequestID string // DingTalk's trace id, if any
	Duration  time.Duration
	Err       error // nil if ok; contains no secret
}

// CloseIdleConnections closes the idle connections.
func (c *Client) CloseIdleConnections() {
	c.setUp()
	c.http.CloseIdleConnections()
}

func (c *Client) setUp() {
	c.once.Do(func() {
		n := c.InFlight
		if n <= 0 {
			n = defaultInFlight
		}
		c.slots = make(chan struct{}, n)
		c.http = httpclient.New(c.Transport)
	})
}

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// deadline bounds ctx by Timeout.
func (c *Client) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Timeout > 0 {
		return context.WithTimeout(ctx, c.Timeout)
	}
	return context.WithTimeout(ctx, defaultTimeout)
}

// request is a call to make.
type request struct {
	host    string // hostOld, hostNew
	path    string
	method  string // "" = POST
	query   string // new host: in its encoded form
	body    any    // JSON; nil = none
	user    string // user token for the new host; the old host always uses the app token
	flat    bool   // old host: the result is beside errcode, not below `result`
	single  bool   // carries a one-time code: never sent twice
	secrets redactor
}

// do makes the call and decodes its result into out (old host: `result`).
// Any error is an *identity.Failure.
func (c *Client) do(ctx context.Context, q request, out any) error {
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	c.setUp()
	renewed, reconnected, refused := false, false, 0
	for tries := 1; ; {
		token := ""
		if q.host == hostOld {
			var err error
			if token, err = c.appToken(ctx); err != nil {
				return err
			}
		}
		if busy := c.await(ctx, q.path); busy != nil {
			return busy
		}
		t := c.try(ctx, q, token, out)
		if c.budgeted(q.path) && t.result == "throttled" {
			c.Budget.Throttled(ctx, q.path)
		}
		switch {
		case t.err == nil:
			return nil
		case c.budgeted(q.path) && t.tooMany(q) && refused < throttledTries:
			refused++
		case t.then == renew && token != "" && !renewed:
			renewed = true
			c.token.drop(token)
		case t.then == again && !q.single && tries <= busyTries && pause(ctx, tries):
			tries++
		case t.unsent && !reconnected: // nothing was sent, so even a one-time code may be retried once
			reconnected = true
		default:
			return t.failure()
		}
	}
}

// pause waits before attempt n+1 and reports whether the deadline allows it.
func pause(ctx context.Context, n int) bool {
	wait := 250 * time.Millisecond << (n - 1)
	timer := time.NewTimer(wait/2 + jitter(wait/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// attempt is the outcome of one attempt.
type attempt struct {
	classification
	err       error
	result    string // Call.Result
	requestID string
	unsent    bool // the connection failed before a byte of the request was sent
}

func (t attempt) failure() *identity.Failure {
	f := &identity.Failure{Class: t.class, Code: t.code, Err: t.err}
	if e, ok := errors.AsType[*APIError](t.err); ok {
		f.Hint = hint(e, t.code)
	}
	if t.result == "punished" {
		f.Hint = "钉钉暂时拒绝了本机出口 IP 的所有请求，5 分钟后再试 (DingTalk refuses our public address for now; all calls stop for " +
			"5 minutes)"
	}
	return f
}

// try makes the call once if the circuit is closed and a slot is free.
func (c *Client) try(ctx context.Context, q request, token string, out any) attempt {
	began := time.Now()
	secrets := append(redactor{c.Config.ClientSecret.Reveal(), token, url.QueryEscape(token), q.user}, q.secrets...)
	t := c.acquire(ctx, q, secrets)
	if t.err == nil {
		t = c.send(ctx, q, token, secrets, out)
		<-c.slots
		ended := outcomeOf(t)
		if ended == throttled && c.budgeted(q.path) {
			ended = answered // the budget delays the path, on all replicas
		}
		c.breaker.record(q.path, c.now(), ended)
	}
	if c.Observe != nil {
		call := Call{Name: q.path, Result: t.result, RequestID: t.requestID, Duration: time.Since(began), Err: t.err}
		if e, ok := errors.AsType[*APIError](t.err); ok {
			call.Code, call.Label = e.Code, e.label()
			call.Blameless = t.result == "refused" && (t.class == identity.Refused || t.class == identity.Restart)
		}
		c.Observe(ctx, call)
	}
	return t
}

// acquire takes a slot and checks the circuit breaker, or returns why the call is not made.
func (c *Client) acquire(ctx context.Context, q request, secrets redactor) attempt {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return noAnswer(transportError(ctx, q.path, ctx.Err(), secrets))
	}
	if !c.breaker.allow(q.path, c.now()) {
		<-c.slots
		t := noAnswer(&callError{kind: "held", path: q.path, text: "delayed: DingTalk throttles calls"})
		t.code = "throttled"
		return t
	}
	return attempt{}
}

func outcomeOf(t attempt) outcome {
	switch t.result {
	case "ok", "refused":
		return answered
	case "throttled":
		return throttled
	case "punished":
		return ipBlocked
	}
	return unknown
}

// noAnswer returns an attempt without an answer.
func noAnswer(e *callError) attempt {
	return attempt{classification: classification{identity.Later, "unavailable", report}, err: e, result: e.kind}
}

// send sends the request and reads the whole answer.
func (c *Client) send(ctx context.Context, q request, token string, secrets redactor, out any) attempt {
	var connected atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	r, err := c.build(httptrace.WithClientTrace(ctx, trace), q, token)
	if err != nil {
		// a token with invalid characters: err would quote it
		return badAnswer(q.path, formatError("the request could not be built"))
	}
	client := c.http.Pooled
	if q.single {
		client = c.http.Fresh
	}
	response, err := client.Do(r)
	if err != nil {
		t := noAnswer(transportError(ctx, q.path, err, secrets))
		t.unsent = !connected.Load() && (t.result == "dns" || t.result == "connect")
		return t
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	a := answer{host: q.host, path: q.path, flat: q.flat, status: response.StatusCode, body: body}
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, context.Canceled)):
		return noAnswer(transportError(ctx, q.path, err, secrets))
	case err != nil:
		return badAnswer(q.path, formatError("cut off, or badly compressed"))
	case len(body) > maxBody:
		return badAnswer(q.path, formatError("longer than 1 MiB"))
	case a.ipBlocked():
		return attempt{
			classification: classification{identity.Later, "throttled", report},
			err:            &callError{path: q.path, text: "our address is refused for 5 minutes"},
			result:         "punished",
		}
	}
	return classify(a, q, secrets, out)
}

// classify classifies a complete answer.
func classify(a answer, q request, secrets redactor, out any) attempt {
	id, err := a.read(out)
	id = secrets.label(id)
	e, refused := errors.AsType[*APIError](err)
	switch {
	case err == nil:
		return attempt{result: "ok", requestID: id}
	case !refused:
		t := badAnswer(q.path, err)
		t.requestID = id
		return t
	}
	t := attempt{
		classification: classifyError(e, q.user != ""),
		err:            secrets.clean(e),
		result:         "refused",
		requestID:      id,
	}
	switch {
	case t.then == backOff:
		t.result = "throttled"
	case t.code == "bad_answer", t.code == "unavailable":
		t.result = t.code
	}
	return t
}

// badAnswer is an unreadable answer: temporary, never "not a member" or "no
// departments".
func badAnswer(path string, err error) attempt {
	return attempt{
		classification: classification{identity.Later, "bad_answer", report},
		err:            &unreadableError{path, err},
		result:         "bad_answer",
	}
}

type unreadableError struct {
	path  string
	cause error
}

func (e *unreadableError) Error() string {
	return "dingtalk: reading the answer of " + e.path + ": " + e.cause.Error()
}
func (e *unreadableError) Unwrap() error { return e.cause }

// build adds the token in the place of each API: the query of the old host, the
// header of the new one.
func (c *Client) build(ctx context.Context, q request, token string) (*http.Request, error) {
	target := address(c.Config.APIURL, defaultAPIURL) + q.path
	if q.host == hostOld {
		target = address(c.Config.OAPIURL, defaultOAPIURL) + q.path + "?access_token=" + url.QueryEscape(token)
	}
	if q.host == hostNew && q.query != "" {
		target += "?" + q.query
	}
	method, body := q.method, io.Reader(nil)
	if method == "" {
		method = http.MethodPost
	}
	if q.body != nil {
		data, err := json.Marshal(q.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if q.single {
		r.GetBody = nil // net/http must not send a code again on its own
	}
	if q.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "dinggate")
	if q.user != "" {
		r.Header.Set("X-Acs-Dingtalk-Access-Token", q.user)
	}
	return r, nil
}
