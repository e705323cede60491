package oidc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"dinggate/internal/httpclient"
	"dinggate/oidc/keys"
)

// logouts delivers back-channel logout tokens: a queue and a worker per client, so
// that a receiver that hangs delays nobody else (threats E16).
//
//	a grant's end ─► queue of the client ─► POST logout_token ─┬─ 2xx ─► audit record
//	                                              ▲            └─ else, after 0.5 s, 1 s, 2 s … ─┐
//	                                              └──────────────────────────────────────────────┘
type logouts struct {
	p    *Provider
	http *http.Client

	mu     sync.Mutex
	queues map[string]chan logout // client id; as many as there are clients
	busy   map[[3]string]bool     // subject, client, session of what is open; as many as fit in the queues
	stop   chan struct{}
	all    sync.WaitGroup
	open   sync.WaitGroup // messages that are not done
	closed bool
}

// logout is one message; uri is where it goes, since the client may be gone from a
// later configuration.
type logout struct {
	client, uri, algorithm string
	sub, session           string
	user, userid           string
}

const (
	logoutQueue    = 1000
	logoutTries    = 8
	logoutTimeout  = 4 * time.Second
	logoutFirst    = 500 * time.Millisecond
	logoutLongest  = 30 * time.Second
	logoutLife     = 2 * time.Minute
	maxLogoutReply = 64 << 10

	backchannelEvent = "http://schemas.openid.net/event/backchannel-logout"
)

func newLogouts(p *Provider) *logouts {
	return &logouts{p: p, http: httpclient.New(nil).Kept, queues: map[string]chan logout{}, busy: map[[3]string]bool{}, stop: make(chan struct{})}
}

func (m logout) key() [3]string { return [3]string{m.sub, m.client, m.session} }

// send queues a message that is not open yet, and never waits. One that finds its
// queue full waits in the store until the person is looked at again, and the record
// says so.
func (l *logouts) send(m logout) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.busy[m.key()] {
		return
	}
	queue := l.queues[m.client]
	if queue == nil {
		queue = make(chan logout, logoutQueue)
		l.queues[m.client] = queue
		l.all.Go(func() { l.work(queue) })
	}
	l.open.Add(1)
	select {
	case queue <- m:
		l.busy[m.key()] = true
	default:
		l.done(m, "queue_full", errors.New("oidc: too many wait already"))
	}
}

// drain waits until nothing is on its way.
func (l *logouts) drain() { l.open.Wait() }

// lastWords is how long what is on its way may take when the process ends.
const lastWords = 3 * time.Second

// shutdown lets what is on its way arrive, for a moment, and ends the workers.
// Messages that still wait then are owed: the next process sends them.
func (l *logouts) shutdown() {
	done := make(chan struct{})
	go func() { l.drain(); close(done) }()
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.stop)
	}
	l.mu.Unlock()
	l.all.Wait()
	<-done
}

// workers of one client: a message that is tried again holds up none of the others.
const perClient = 4

func (l *logouts) work(queue chan logout) {
	var all sync.WaitGroup
	defer all.Wait()
	for range perClient {
		all.Go(func() {
			for {
				select {
				case <-l.stop:
					l.lose(queue)
					return
				case m := <-queue:
					l.deliver(m)
					l.free(m)
				}
			}
		})
	}
}

func (l *logouts) lose(queue chan logout) {
	for {
		select {
		case m := <-queue:
			l.free(m)
			l.done(m, "stopped", errStopped)
		default:
			return
		}
	}
}

var errStopped = errors.New("oidc: the process ends")

// free has a message be sent again when it is owed still.
func (l *logouts) free(m logout) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, m.key())
}

// paid forgets what is owed. Where that fails it is sent once more: a receiver takes
// the end of a session any number of times.
func (l *logouts) paid(m logout) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	l.p.report(l.p.people().paid(ctx, m.sub, m.client, m.session))
}

func (l *logouts) deliver(m logout) {
	pause := logoutFirst
	var err error
	for range logoutTries {
		if err = l.try(m); err == nil {
			l.paid(m)
			l.done(m, "ok", nil)
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-l.stop:
			timer.Stop()
			l.done(m, "stopped", err)
			return
		}
		pause = min(2*pause, logoutLongest)
	}
	l.paid(m)
	l.done(m, "failed", err)
}

func (l *logouts) done(m logout, result string, err error) {
	defer l.open.Done()
	l.p.measure(m.client, "backchannel_logout", result)
	l.p.audit(nil, Event{What: "oidc_logout", Application: m.client, User: m.user, UserID: m.userid, Reason: result, Err: err})
	if err != nil {
		l.p.report(fmt.Errorf("oidc: client %q was not notified of a logout (%s); see its backchannel_logout_uri: %w", m.client, result, err))
	}
}

// try makes a token of now and posts it (OpenID Connect Back-Channel Logout §2.5).
func (l *logouts) try(m logout) error {
	ctx, cancel := context.WithTimeout(context.Background(), logoutTimeout)
	defer cancel()
	set, err := l.p.Keys.Set(ctx)
	if err != nil {
		return err
	}
	now := l.p.now()
	claims := map[string]any{"iss": l.p.Issuer, "aud": m.client, "iat": now.Unix(), "exp": now.Add(logoutLife).Unix(), "jti": rand.Text(), "sub": m.sub,
		"events": map[string]any{backchannelEvent: struct{}{}}}
	if sid := sidOf(m.session); sid != "" {
		claims["sid"] = sid
	}
	token, err := set.Sign(m.algorithm, keys.TypeLogout, claims)
	if err != nil {
		return err
	}
	if l.p.Deliver != nil {
		return l.p.Deliver(ctx, m.uri, token)
	}
	return l.post(ctx, m.uri, token)
}

func (l *logouts) post(ctx context.Context, uri, token string) error {
	body := url.Values{"logout_token": {token}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("oidc: calling a client: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := l.http.Do(req)
	if err != nil {
		return fmt.Errorf("oidc: calling a client: %w", err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, maxLogoutReply)) // its words decide nothing
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("oidc: calling a client: it answers %s", res.Status)
	}
	return nil
}
