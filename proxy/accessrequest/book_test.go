package accessrequest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/store"
)

var (
	zhangsan = identity.User{UserID: "zhangsan", UnionID: "u-zhangsan", Username: "zhangsan", Name: "张三"}
	lisi     = identity.User{UserID: "lisi", UnionID: "u-lisi", Username: "lisi", Name: "李四"}
	wangwu   = identity.User{UserID: "wangwu", UnionID: "u-wangwu", Username: "wangwu", Name: "王五"}
)

func secrets(texts ...string) *keyring.Keyring {
	var list []conf.Secret
	for _, text := range texts {
		sum := sha256.Sum256([]byte(text))
		list = append(list, conf.NewSecret(base64.StdEncoding.EncodeToString(sum[:])))
	}
	k, err := keyring.New(list)
	if err != nil {
		panic(err)
	}
	return k
}

// events records the audited events.
type events struct {
	mu   sync.Mutex
	list []string
	full bool // no record can be written
}

func (e *events) add(v Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.full {
		return errors.New("no space left on device")
	}
	e.list = append(e.list, strings.TrimSpace(v.What+" "+v.Request.End))
	return nil
}

func (e *events) take() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.list
	e.list = nil
	return strings.Join(list, ", ")
}

func newBook(s store.Swapper, to *events) *Book {
	b := &Book{Store: s}
	if to != nil {
		b.Audit = to.add
	}
	b.Seal(secrets("A"))
	return b
}

func wish(u *identity.User, route string, approvers ...identity.User) Request {
	q := Request{
		Person: PersonOf(u),
		Route:  Route{Name: route, Fingerprint: "print of " + route},
		Target: route + "page?x=1",
		Why:    "线上故障",
		For:    time.Hour,
	}
	for i := range approvers {
		q.Approvers = append(q.Approvers, PersonOf(&approvers[i]))
	}
	return q
}

func submit(t *testing.T, b *Book, u *identity.User, route string) Request {
	t.Helper()
	q, created, err := b.Submit(context.Background(), wish(u, route, lisi, wangwu), 5)
	if err != nil || !created {
		t.Fatalf("Submit: %v %v", created, err)
	}
	return q
}

func granted(t *testing.T, b *Book, u *identity.User, route string) bool {
	t.Helper()
	id, _, err := b.Granted(context.Background(), u, "print of "+route)
	if err != nil {
		t.Fatalf("granted: %v", err)
	}
	return id != ""
}

// TestBook_Grant follows a request to the end of its grant, on two replicas.
func TestBook_Grant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s, audit := t.Context(), &store.Memory{}, &events{}
		one, two := newBook(s, audit), newBook(s, audit)
		q := submit(t, one, &zhangsan, "/admin/")
		if granted(t, one, &zhangsan, "/admin/") || granted(t, two, &zhangsan, "/admin/") {
			t.Fatal("a request allows access")
		}
		got, err := two.Answer(ctx, q.ID, PersonOf(&lisi), true, "好的", q.Route.Fingerprint)
		if err != nil || got.State != Granted || got.Word != "好的" {
			t.Fatalf("answer: %+v, %v", got, err)
		}
		time.Sleep(time.Second)
		for _, b := range []*Book{one, two} {
			if !granted(t, b, &zhangsan, "/admin/") {
				t.Error("the grant is not known")
			}
			if granted(t, b, &zhangsan, "/other/") || granted(t, b, &lisi, "/admin/") {
				t.Error("the grant opens more than its route to its person (threats G4)")
			}
		}
		time.Sleep(time.Hour)
		if granted(t, one, &zhangsan, "/admin/") {
			t.Error("the grant outlives its end")
		}
		running, stop := context.WithCancel(ctx)
		go two.Run(running)
		time.Sleep(2 * time.Second)
		stop()
		synctest.Wait()
		if got := audit.take(); got != "access_request, access_granted, access_ended time" {
			t.Errorf("audit = %s", got)
		}
	})
}

// TestBook_Answers: the requester cannot approve, only an approver answers, and the first answer
// decides (threats G1).
func TestBook_Answers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, b := t.Context(), newBook(&store.Memory{}, nil)
		local := identity.User{Username: "lisi", UserID: "lisi", Local: true}
		next := identity.User{Username: "lisi", UserID: "lisi", UnionID: "u-another"}
		own := identity.User{Username: "boss", UserID: "boss", UnionID: "u-zhangsan"}
		all := wish(&zhangsan, "/admin/", lisi, wangwu, zhangsan, own)
		q, _, err := b.Submit(ctx, all, 5)
		if err != nil {
			t.Fatal(err)
		}
		for name, u := range map[string]identity.User{
			"the requester": zhangsan, "the zero user": {}, "a local account of the name": local,
			"another person with the userid": next, "the requester under another userid": own,
			"another person": {UserID: "x", UnionID: "u-x", Username: "x"},
		} {
			if _, err := b.Answer(ctx, q.ID, PersonOf(&u), true, "", q.Route.Fingerprint); !errors.Is(err, ErrNotYours) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, id := range []string{"", "x", q.ID[:len(q.ID)-1], q.ID + "A", q.ID[:idLength-1] + "_",
			strings.Repeat("A", idLength), "../" + q.ID[3:]} {
			if _, err := b.Answer(ctx, id, PersonOf(&lisi), true, "", q.Route.Fingerprint); id != q.ID && !errors.Is(err, ErrNone) {
				t.Errorf("id %q: %v", id, err)
			}
		}
		var first sync.WaitGroup
		results := make([]error, 8)
		for i := range results {
			first.Go(func() {
				by := []identity.User{lisi, wangwu}[i%2]
				_, results[i] = b.Answer(ctx, q.ID, PersonOf(&by), i%4 < 2, "", q.Route.Fingerprint)
			})
		}
		first.Wait()
		won := 0
		for _, err := range results {
			if err == nil {
				won++
			} else if !errors.Is(err, ErrAnswered) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d of 8 answers counted", won)
		}
	})
}

// TestBook_Limits: five requests wait at a time, twenty are made a day, and one route is requested
// once (threats G2).
func TestBook_Limits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := t.Context(), &store.Memory{}
		one, two := newBook(s, nil), newBook(s, nil)
		q := submit(t, one, &zhangsan, "/0/")
		if again, created, err := two.Submit(ctx, wish(&zhangsan, "/0/", lisi), 5); err != nil || created || again.ID != q.ID {
			t.Errorf("a second request for one route: %v %v %v", again.ID, created, err)
		}
		for i := 1; i < 5; i++ {
			submit(t, []*Book{one, two}[i%2], &zhangsan, fmt.Sprintf("/%d/", i))
		}
		if _, _, err := two.Submit(ctx, wish(&zhangsan, "/5/", lisi), 5); !errors.Is(err, ErrTooMany) {
			t.Errorf("a sixth: %v", err)
		}
		submit(t, two, &wangwu, "/0/") // another person's
		made := 5
		for i := 5; i < 40; i++ {
			list, err := one.List(ctx, false)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(list, func(q Request) bool { return q.Person.UserID == "zhangsan" })
			if _, err := one.Answer(ctx, list[i].ID, PersonOf(&lisi), false, "", list[i].Route.Fingerprint); err != nil {
				t.Fatal(err)
			}
			if _, _, err := one.Submit(ctx, wish(&zhangsan, fmt.Sprintf("/x%d/", made), lisi), 5); err != nil {
				if !errors.Is(err, ErrTooMany) {
					t.Fatal(err)
				}
				break
			}
			made++
		}
		if made != PerDay {
			t.Errorf("%d requests on one day, want %d", made, PerDay)
		}
		time.Sleep(24 * time.Hour)
		submit(t, one, &zhangsan, "/tomorrow/")
	})
}

// TestBook_Unanswered: a request expires after 24 hours.
func TestBook_Unanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, audit := t.Context(), &events{}
		b := newBook(&store.Memory{}, audit)
		q := submit(t, b, &zhangsan, "/admin/")
		time.Sleep(Unanswered)
		if _, err := b.Answer(ctx, q.ID, PersonOf(&lisi), true, "", q.Route.Fingerprint); !errors.Is(err, ErrAnswered) {
			t.Errorf("an answer after 24 hours: %v", err)
		}
		if got, err := b.Find(ctx, q.ID); err != nil || got.State != Expired {
			t.Errorf("state = %s, %v", got.State, err)
		}
		running, stop := context.WithCancel(ctx)
		go b.Run(running)
		time.Sleep(time.Second)
		stop()
		synctest.Wait()
		if got := audit.take(); got != "access_request, access_ended unanswered" {
			t.Errorf("audit = %s", got)
		}
	})
}

// TestBook_Ends: a grant ends with the membership, with its route's rule, and when it is revoked
// (threats G4).
func TestBook_Ends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s, audit := t.Context(), &store.Memory{}, &events{}
		one, two := newBook(s, audit), newBook(s, nil)
		grant := func(u *identity.User) Request {
			q := submit(t, one, u, "/admin/")
			if _, err := one.Answer(ctx, q.ID, PersonOf(&lisi), true, "", q.Route.Fingerprint); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			if !granted(t, two, u, "/admin/") {
				t.Fatal("not granted")
			}
			audit.take()
			return q
		}
		over := func(how, want string) {
			t.Helper()
			time.Sleep(2 * time.Second)
			if granted(t, two, &zhangsan, "/admin/") || granted(t, one, &zhangsan, "/admin/") {
				t.Errorf("%s: the grant lives on", how)
			}
			if got := audit.take(); got != want {
				t.Errorf("%s: audit = %s, want %s", how, got, want)
			}
		}
		q := grant(&zhangsan)
		if _, err := one.End(ctx, q.ID, EndTaken, "x", func(q *Request) bool { return false }); !errors.Is(err, ErrNotYours) {
			t.Errorf("taken back by another person: %v", err)
		}
		if _, err := one.End(ctx, q.ID, EndTaken, "李四", nil); err != nil {
			t.Fatal(err)
		}
		over("taken back", "access_ended taken_back")
		grant(&zhangsan)
		if err := one.EndPerson(ctx, Person{UserID: "zhangsan"}, EndLeft); err != nil {
			t.Fatal(err)
		}
		over("left", "access_ended left")
		grant(&zhangsan)
		one.Serve([]string{"print of /other/"})
		if err := one.EndOther(ctx); err != nil {
			t.Fatal(err)
		}
		over("another rule", "access_ended route_changed")
		one.Serve([]string{"print of /admin/"})
		// The userid of a leaver whom DingTalk did not report is assigned to another person.
		grant(&zhangsan)
		next := zhangsan
		next.UnionID = "u-next"
		if granted(t, two, &next, "/admin/") {
			t.Error("a new person has the grant of another (threats K10)")
		}
		submit(t, one, &next, "/new/")
		over("assigned to another person", "access_ended left, access_request")
	})
}

// TestBook_ForgedRecords: a record of another person, an older one, or one with a foreign seal
// grants nothing (threats G5).
func TestBook_ForgedRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := t.Context(), &store.Memory{}
		b := newBook(s, nil)
		q := submit(t, b, &zhangsan, "/admin/")
		if _, err := b.Answer(ctx, q.ID, PersonOf(&lisi), true, "", q.Route.Fingerprint); err != nil {
			t.Fatal(err)
		}
		from, to := PersonOf(&zhangsan).locator().key(), PersonOf(&wangwu).locator().key()
		box, err := s.Get(ctx, from)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(box, []byte("zhangsan")) {
			t.Error("a record can be read")
		}
		s.Put(ctx, to, box, time.Hour)
		if granted(t, b, &wangwu, "/admin/") {
			t.Error("a copied record grants")
		}
		if _, err := b.End(ctx, q.ID, EndTaken, "", nil); err != nil {
			t.Fatal(err)
		}
		s.Put(ctx, from, box, time.Hour)
		time.Sleep(2 * time.Second)
		if granted(t, b, &zhangsan, "/admin/") {
			t.Error("an older record revives the grant")
		}
		forger := &Book{Store: s}
		forger.Seal(secrets("B"))
		f := submit(t, forger, &wangwu, "/admin/")
		if _, err := forger.Answer(ctx, f.ID, PersonOf(&lisi), true, "", f.Route.Fingerprint); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if granted(t, b, &wangwu, "/admin/") {
			t.Error("a record sealed with another secret grants")
		}
		rotated := &Book{Store: s}
		rotated.Seal(secrets("C", "B"))
		if !granted(t, rotated, &wangwu, "/admin/") {
			t.Error("a secret that still opens does not")
		}
	})
}
