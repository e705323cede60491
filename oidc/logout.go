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

// logouts delivers back-channel logout tokens: with a queue and workers per client, so that a
// receiver that hangs delays no other (threats E16).
//
//	a grant's end ─► queue of the client ─► POST logout_token ─┬─ 2xx ─► audit record
//	                                              ▲            └─ otherwise after 0.5 s, 1 s … ─┐
//	                                              └──────────────────────────────────────────────┘
type logouts struct {
	p    *Provider
	http *http.Client

	mu     sync.Mutex
	queues map[string]chan logout // client id; one per client
	busy   map[[3]string]bool     // subject, client, session of claimed and queued messages; bounded by the queues
	stop   chan struct{}
	all    sync.WaitGroup
	open   sync.WaitGroup // messages in progress
	closed bool
}

// logout is one message; uri is its destination, since a later configuration may not have the
// client.
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
	return &logouts{
		p:      p,
		http:   httpclient.New(nil).Pooled,
		queues: map[string]chan logout{},
		busy:   map[[3]string]bool{},
		stop:   make(chan struct{}),
	}
}

func (m logout) key() [3]string { return [3]string{m.sub, m.client, m.session} }

// send queues a message that is not queued yet, and never blocks. If the queue is full, the
// message stays in the store until the next visit of the person, and the audit record says so.
func (l *logouts) send(m logout) {
	if l.claim(m) {
		l.queue(m)
	}
}

// claim reports whether the message is neither queued nor claimed, and claims it. The caller calls
// queue or free.
func (l *logouts) claim(m logout) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.busy[m.key()] {
		return false
	}
	l.busy[m.key()] = true
	return true
}

// queue queues a claimed message.
func (l *logouts) queue(m logout) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		delete(l.busy, m.key())
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
	default:
		delete(l.busy, m.key())
		l.done(m, "queue_full", errors.New("oidc: too many wait already"))
	}
}

// drain waits until no message is in progress.
func (l *logouts) drain() { l.open.Wait() }

// shutdownGrace is how long messages in progress may take when the process ends.
const shutdownGrace = 3 * time.Second

// shutdown waits briefly for messages in progress, and stops the workers. Messages that are still
// queued stay in the store: the next process sends them.
func (l *logouts) shutdown() {
	done := make(chan struct{})
	go func() { l.drain(); close(done) }()
	timer := time.NewTimer(shutdownGrace)
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

// workers of one client: a message that is retried delays none of the others.
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
					result, err := l.deliver(m)
					l.free(m)
					l.done(m, result, err)
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

// free allows a message to be queued again if it is still in the store.
func (l *logouts) free(m logout) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, m.key())
}

// delivered removes a delivered message from the store. If that fails, the message is sent once more: a
// receiver accepts the end of a session any number of times.
func (l *logouts) delivered(m logout) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	l.p.report(l.p.people().delivered(ctx, m.sub, m.client, m.session))
}

func (l *logouts) deliver(m logout) (result string, err error) {
	pause := logoutFirst
	for try := 1; ; try++ {
		if err = l.try(m); err == nil {
			l.delivered(m)
			return "ok", nil
		}
		if try == logoutTries {
			l.delivered(m)
			return "failed", err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-l.stop:
			timer.Stop()
			return "stopped", err
		}
		pause = min(2*pause, logoutLongest)
	}
}

func (l *logouts) done(m logout, result string, err error) {
	defer l.open.Done()
	l.p.measure(m.client, "backchannel_logout", result)
	l.p.audit(
		nil,
		Event{What: "oidc_logout", Application: m.client, User: m.user, UserID: m.userid, Reason: result, Err: err},
	)
	if err != nil {
		l.p.report(
			fmt.Errorf(
				"oidc: client %q was not notified of a logout (%s); see its backchannel_logout_uri: %w",
				m.client,
				result,
				err,
			),
		)
	}
}

// try makes a token with the current time and posts it (OpenID Connect Back-Channel Logout §2.5).
func (l *logouts) try(m logout) error {
	ctx, cancel := context.WithTimeout(context.Background(), logoutTimeout)
	defer cancel()
	set, err := l.p.Keys.Set(ctx)
	if err != nil {
		return err
	}
	now := l.p.now()
	claims := map[string]any{
		"iss":    l.p.Issuer,
		"aud":    m.client,
		"iat":    now.Unix(),
		"exp":    now.Add(logoutLife).Unix(),
		"jti":    rand.Text(),
		"sub":    m.sub,
		"events": map[string]any{backchannelEvent: struct{}{}},
	}
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
	io.Copy(io.Discard, io.LimitReader(res.Body, maxLogoutReply)) // its content is ignored
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("oidc: calling a client: it answers %s", res.Status)
	}
	return nil
}
