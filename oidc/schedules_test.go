package oidc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/oidc/keys"
	"dinggate/proxy/access"
)

const (
	schedules = 200
	withinEnd = 5 * time.Second
)

// TestSchedules runs random schedules of people who leave and sign out, clients that are removed
// and rules that change, with a store that fails and receivers that are temporarily unreachable.
// Within five seconds every affected refresh is refused and every back channel has its token, and
// no other grant is affected (threats E18). SCHEDULES=10000 runs that many.
func TestSchedules(t *testing.T) {
	n := schedules
	if text := os.Getenv("SCHEDULES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	var worst time.Duration
	ends := map[string]int{}
	for seed := range n {
		synctest.Test(t, func(t *testing.T) {
			s := newSchedule(t, uint64(seed))
			defer s.stop()
			kind, took := s.play()
			ends[kind]++
			worst = max(worst, took)
		})
		if t.Failed() {
			t.Fatalf("schedule %d", seed)
		}
	}
	t.Logf("%d schedules %v: the last back channel was notified after %v at most", n, ends, worst)
	if len(ends) != 4 {
		t.Errorf("played %v, want four kinds of ends", ends)
	}
}

// schedule is two replicas with one store in virtual time.
type schedule struct {
	*env
	dice     *rand.Rand
	clients  []ClientConfig
	replicas []*Provider
	end      context.CancelFunc
	running  sync.WaitGroup

	away    map[string]int // receiver → how often it will refuse
	arrived map[string]time.Time
}

// holder is a person with a refresh token.
type holder struct {
	person          identity.User
	cookie, refresh string
	client          *ClientConfig
}

func newSchedule(t *testing.T, seed uint64) *schedule {
	s := &schedule{
		env:     emptyEnv(t),
		dice:    rand.New(rand.NewPCG(seed, 20)),
		away:    map[string]int{},
		arrived: map[string]time.Time{},
	}
	s.url, s.virtual = "http://issuer.test", true
	for i := range 3 {
		name := fmt.Sprintf("app%d", i)
		s.clients = append(s.clients, ClientConfig{ClientID: name, ClientSecret: conf.NewSecret(appSecret),
			RedirectURIs: []string{
				"https://" + name + ".test/cb",
			}, BackchannelLogoutURI: "https://" + name + ".test/out", SigningAlg: keys.ES256})
	}
	s.begin()
	return s
}

// begin starts both replicas with the current clients.
func (s *schedule) begin() {
	ctx, end := context.WithCancel(s.t.Context())
	s.end = end
	s.replicas = nil
	for range 2 {
		p := s.provider(slices.Clone(s.clients))
		p.Deliver = s.deliver
		s.replicas = append(s.replicas, p)
		s.running.Go(func() { p.Run(ctx) })
	}
	s.Provider = s.replicas[0]
}

func (s *schedule) stop() {
	s.end()
	s.running.Wait()
}

func (s *schedule) apply(e End) {
	for _, p := range s.replicas {
		p.Ended(e)
	}
}

func (s *schedule) deliver(_ context.Context, uri, token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away[uri] > 0 {
		s.away[uri]--
		return errors.New("away")
	}
	body, err := fixedKeys().Verify(token, keys.TypeLogout)
	if err != nil {
		return err
	}
	sid, _ := object(s.t, answer{body: string(body)})["sid"].(string)
	if _, again := s.arrived[uri+" "+sid]; !again {
		s.arrived[uri+" "+sid] = time.Now()
	}
	return nil
}

// signIns issues tokens to some people.
func (s *schedule) signIns() (all []holder) {
	for i := range 3 {
		person := identity.User{
			UnionID:  fmt.Sprint("U", i),
			UserID:   fmt.Sprint("u", i),
			Username: fmt.Sprint("person", i),
			OrgEmail: true,
		}
		for range 1 + s.dice.IntN(2) {
			cookie := s.login(person)
			for c := range s.clients {
				if s.dice.IntN(3) == 0 {
					continue
				}
				client := s.clients[c]
				s.Provider = s.replicas[s.dice.IntN(2)]
				_, got := s.tokens(redemption(s.code(cookie, "client_id", client.ClientID, "redirect_uri", client.RedirectURIs[0]),
					"redirect_uri", client.RedirectURIs[0]), client.ClientID, appSecret)
				refresh, _ := got["refresh_token"].(string)
				if refresh == "" {
					s.t.Fatalf("no tokens: %v", got)
				}
				all = append(all, holder{person, cookie, refresh, &client})
				time.Sleep(time.Duration(s.dice.IntN(2000)) * time.Millisecond)
			}
		}
	}
	return all
}

// play performs one end, with faults around it, and checks five seconds later.
func (s *schedule) play() (kind string, took time.Duration) {
	all := s.signIns()
	time.Sleep(time.Duration(s.dice.IntN(70_000)) * time.Millisecond)
	for _, c := range s.clients {
		s.away[c.BackchannelLogoutURI] = s.dice.IntN(3)
	}
	began := time.Now()
	until := began.Add(time.Duration(s.dice.IntN(1200)) * time.Millisecond)
	s.store.mu.Lock()
	s.store.bad = func(string) error {
		if time.Now().Before(until) {
			return errors.New("the store is away")
		}
		return nil
	}
	s.store.mu.Unlock()
	kind, hit := s.happens()
	time.Sleep(withinEnd - time.Since(began))
	synctest.Wait()
	return kind, s.verify(kind, all, hit, began)
}

// happens performs the end; hit reports whom it affects.
func (s *schedule) happens() (kind string, hit func(holder) bool) {
	who := fmt.Sprint("U", s.dice.IntN(3))
	which := s.dice.IntN(len(s.clients))
	id := s.clients[which].ClientID
	switch s.dice.IntN(4) {
	case 0:
		s.mu.Lock()
		s.left[who] = true
		s.mu.Unlock()
		s.apply(End{UnionID: who})
		return "leaver", func(h holder) bool { return h.person.UnionID == who }
	case 1:
		cookie := fmt.Sprintf("session-%d", 1+s.dice.IntN(s.n))
		s.mu.Lock()
		s.ended[cookie] = true
		s.mu.Unlock()
		s.apply(End{Session: cookie})
		return "sign-out", func(h holder) bool { return h.cookie == cookie }
	case 2:
		s.clients = slices.Delete(slices.Clone(s.clients), which, which+1)
		kind, hit = "removed client", func(h holder) bool { return h.client.ClientID == id }
	default:
		s.clients = slices.Clone(s.clients)
		s.clients[which].Access = &access.RuleConfig{Users: []string{"u1"}}
		kind, hit = "changed rule", func(h holder) bool { return h.client.ClientID == id && h.person.UserID != "u1" }
	}
	s.stop() // a reload: the next configuration's provider visits all people
	s.begin()
	s.apply(End{All: true})
	return kind, hit
}

func (s *schedule) verify(kind string, all []holder, hit func(holder) bool, began time.Time) (took time.Duration) {
	for _, h := range all {
		s.Provider = s.replicas[s.dice.IntN(2)]
		a, got := s.tokens("grant_type=refresh_token&refresh_token="+url.QueryEscape(h.refresh), h.client.ClientID, appSecret)
		works := a.status == 200
		if works == hit(h) {
			s.t.Errorf("%s: the refresh of %s at %s = %d %v", kind, h.person.Username, h.client.ClientID, a.status, got)
		}
		if !works && got["error"] == "temporarily_unavailable" {
			s.t.Errorf("%s: %v is no end", kind, got)
		}
		key := h.client.BackchannelLogoutURI + " " + sidOf(h.cookie)
		s.mu.Lock()
		at, notified := s.arrived[key]
		s.mu.Unlock()
		if notified != (hit(h) && kind != "removed client") {
			s.t.Errorf("%s: %s at %s: notified = %v", kind, h.person.Username, h.client.ClientID, notified)
		}
		if notified {
			took = max(took, at.Sub(began))
		}
	}
	if took > withinEnd || strings.Contains(kind, "removed") && took > 0 {
		s.t.Errorf("%s: notified after %v", kind, took)
	}
	return took
}
