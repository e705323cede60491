package mirror

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/store"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var zhangsan = identity.User{UnionID: "union-z", UserID: "user-z", Username: "zhangsan", Name: "张三", Email: "z@example.com",
	JobNumber: "007", Departments: []int64{42, 4201}, Ancestors: []int64{1, 42, 4201},
	Roles: []identity.Role{{ID: 5, Name: "主管"}, {ID: 6, Name: "财务"}}}

func testKeyring(t *testing.T, first byte) *keyring.Keyring {
	t.Helper()
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = first + byte(i)
	}
	k, err := keyring.New([]conf.Secret{conf.NewSecret(base64.StdEncoding.EncodeToString(raw))})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// directory is the source of mirrors: people, or an error, after a while.
type directory struct {
	people []identity.User
	err    error
	takes  time.Duration
	reads  atomic.Int32
}

func (d *directory) read(ctx context.Context, each func(identity.User)) error {
	d.reads.Add(1)
	select {
	case <-time.After(d.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	if d.err != nil {
		return d.err
	}
	for _, u := range d.people {
		each(u)
	}
	return nil
}

func fits(u identity.User) (identity.User, error) { return u, nil }

func (d *directory) mirror(t *testing.T, s store.Store) *Mirror {
	return &Mirror{Read: d.read, Fit: fits, Every: func() time.Duration { return 150 * time.Second }, Life: 330 * time.Second, Store: s,
		Keyring: testKeyring(t, 1), Name: "dingcorp"}
}

// start runs m until the returned func is called.
func start(t *testing.T, m *Mirror) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx, func() {}) }()
	return func() { cancel(); <-done }
}

// people returns n people.
func people(n int) (all []identity.User) {
	for i := range n {
		id := fmt.Sprint("m", i)
		all = append(all, identity.User{UnionID: "u" + id, UserID: id, Username: id, Departments: []int64{int64(i % 7)}})
	}
	return all
}

// TestMirrorSharesOneReading: of three replicas one reads, all confirm, none by data older than
// its date.
func TestMirrorSharesOneReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{people: append(people(9000), zhangsan), takes: time.Minute}
		shared := &store.Memory{Max: 1000}
		began := time.Now()
		var all []*Mirror
		for range 3 {
			m := d.mirror(t, shared)
			all = append(all, m)
			defer start(t, m)()
		}
		time.Sleep(time.Minute + 2*lookEvery)
		for i, m := range all {
			if at := m.Confirms(&zhangsan); !at.Equal(began) && at.Sub(began) > time.Second || at.IsZero() {
				t.Errorf("replica %d confirms as of %v, want %v", i, at, began)
			}
			if s := m.Stats(); s.People != 9001 || s.Answers[Confirmed] != 1 {
				t.Errorf("replica %d: %+v", i, s)
			}
		}
		time.Sleep(20 * time.Minute)
		if n := d.reads.Load(); n < 7 || n > 9 {
			t.Errorf("%d readings in 21 minutes, want one each 150 s", n)
		}
		for i, m := range all {
			if at := m.Confirms(&zhangsan); time.Since(at) > 150*time.Second+time.Minute+3*lookEvery {
				t.Errorf("replica %d: the copy is %v old", i, time.Since(at))
			}
		}
	})
}

// TestMirrorReaderDies: another replica reads in its place, within seconds.
func TestMirrorReaderDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{people: []identity.User{zhangsan}, takes: time.Minute}
		shared := &store.Memory{Max: 1000}
		first, second := d.mirror(t, shared), d.mirror(t, shared)
		stop := start(t, first)
		time.Sleep(30 * time.Second)
		defer start(t, second)()
		time.Sleep(10 * time.Second)
		if n := d.reads.Load(); n != 1 {
			t.Fatalf("%d read at a time, want 1", n)
		}
		stop()
		time.Sleep(time.Minute + 4*lookEvery)
		if second.Confirms(&zhangsan).IsZero() {
			t.Error("no replica read after the first replica ended")
		}
	})
}

// TestMirrorDigests: any difference changes the digest, the order of lists does not.
func TestMirrorDigests(t *testing.T) {
	e, err := newEdition(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e.add(&zhangsan)
	for name, tt := range map[string]struct {
		change func(*identity.User)
		want   Answer
	}{
		"the same":      {func(*identity.User) {}, Confirmed},
		"other order":   {func(u *identity.User) { slices.Reverse(u.Departments); slices.Reverse(u.Roles) }, Confirmed},
		"userid":        {func(u *identity.User) { u.UserID = "user-y" }, Differs},
		"unionid":       {func(u *identity.User) { u.UnionID = "union-y" }, Absent},
		"username":      {func(u *identity.User) { u.Username = "z" }, Differs},
		"name":          {func(u *identity.User) { u.Name = "章三" }, Differs},
		"e-mail":        {func(u *identity.User) { u.Email = "" }, Differs},
		"job number":    {func(u *identity.User) { u.JobNumber = "" }, Differs},
		"departments":   {func(u *identity.User) { u.Departments = []int64{42} }, Differs},
		"ancestors":     {func(u *identity.User) { u.Ancestors = nil }, Differs},
		"a role":        {func(u *identity.User) { u.Roles = u.Roles[:1] }, Differs},
		"a role's name": {func(u *identity.User) { u.Roles[0].Name = "总监" }, Differs},
		"moved fields":  {func(u *identity.User) { u.Username, u.Name = u.Username+u.Name, "" }, Differs},
	} {
		u := zhangsan
		u.Departments, u.Roles = slices.Clone(u.Departments), slices.Clone(u.Roles)
		tt.change(&u)
		if got := e.says(&u); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// TestMirrorFails: a failed reading leaves the previous one in use, pauses, and reports why;
// foreign records in the store are ignored.
func TestMirrorFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		missing := &identity.Failure{Class: identity.Operator, Code: "permission_missing"}
		d := &directory{people: []identity.User{zhangsan}, err: missing}
		m := d.mirror(t, nil)
		var reported []error
		m.OnRead = func(_ int, _ time.Duration, err error) { reported = append(reported, err) }
		stop := start(t, m)
		time.Sleep(9 * time.Minute)
		if n := d.reads.Load(); n != 1 || !m.Confirms(&zhangsan).IsZero() {
			t.Errorf("without the permission: %d readings in 9 minutes, want 1 and no one confirmed", n)
		}
		stop()
		d.err = nil
		stop = start(t, m)
		time.Sleep(11 * time.Minute)
		stop()
		read := m.Confirms(&zhangsan)
		d.err = errors.New("cut off")
		stop = start(t, m)
		time.Sleep(5 * time.Minute)
		stop()
		if at := m.Confirms(&zhangsan); !at.Equal(read) || at.IsZero() {
			t.Errorf("after a failure the copy is of %v, want %v", at, read)
		}
		s := m.Stats()
		if s.Results[Refused] != 1 || s.Results[Failed] < 3 || s.Results[Done] < 4 || !errors.Is(reported[0], missing) {
			t.Errorf("%+v, %v", s, reported)
		}
	})
}

func TestMirrorForeignRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &store.Memory{Max: 1000}
		d := &directory{people: []identity.User{zhangsan}}
		write := func(m *Mirror) {
			e, err := newEdition(m.now())
			if err != nil {
				t.Fatal(err)
			}
			e.add(&zhangsan)
			m.share(t.Context(), e)
		}
		other := d.mirror(t, shared)
		other.Keyring = testKeyring(t, 7)
		ahead := d.mirror(t, shared)
		ahead.Now = func() time.Time { return time.Now().Add(time.Hour) }
		behind := d.mirror(t, shared)
		behind.Now = func() time.Time { return time.Now().Add(-time.Hour) }
		elsewhere := d.mirror(t, shared)
		elsewhere.Name = "another"
		for name, m := range map[string]*Mirror{"another secret": other, "of the future": ahead, "too old": behind,
			"another organisation": elsewhere} {
			write(m)
			if ours := d.mirror(t, shared); ours.fetch(t.Context()) {
				t.Errorf("%s: the record counted", name)
			}
		}
		ours := d.mirror(t, shared)
		write(ours)
		if !ours.fetch(t.Context()) || ours.fetch(t.Context()) {
			t.Error("our own record: want it to count once")
		}
		next := d.mirror(t, nil)
		if next.Inherit(ours); next.Confirms(&zhangsan).IsZero() {
			t.Error("a reload forgot the copy")
		}
		text, err := shared.Get(t.Context(), ours.key("head"))
		if err != nil || strings.Contains(string(text), "people") {
			t.Errorf("the record is not sealed: %v", err)
		}
	})
}
