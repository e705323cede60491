package grant

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/store/storetest"
)

type env struct {
	*Issuer
	s   *storetest.Faulty
	now time.Time
}

func newEnv(t testing.TB, name string, keys ...byte) *env {
	t.Helper()
	e := &env{s: storetest.NewFaulty(), now: time.Unix(1_700_000_000, 0)}
	var all [][]byte
	for _, k := range keys {
		all = append(all, bytes.Repeat([]byte{k}, 32))
	}
	var err error
	if e.Issuer, err = New(name, e.s, all); err != nil {
		t.Fatal(err)
	}
	e.Issuer.Now = func() time.Time { return e.now }
	e.Tolerance = 10 * time.Second
	return e
}

func (e *env) live(t testing.TB) (*Grant, string) {
	t.Helper()
	code, _, err := e.Issue(t.Context(), "data", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	g, _, err := e.ByCode(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Redeem(t.Context(), g, "more", e.now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return g, code
}

func TestCodeIsUsedOnce(t *testing.T) {
	e := newEnv(t, "x", 1)
	g, code := e.live(t)
	var data string
	if err := g.Read(&data); err != nil || data != "more" || !g.Live {
		t.Errorf("after Redeem: %q, live %v, %v", data, g.Live, err)
	}
	again, f, err := e.ByCode(t.Context(), code)
	if err != nil || !again.Live || f != g.Family {
		t.Fatalf("ByCode of a used code: live %v, %v", again.Live, err)
	}
	if err := e.Redeem(t.Context(), again, nil, e.now.Add(time.Hour)); !errors.Is(err, ErrReused) {
		t.Errorf("second Redeem = %v, want ErrReused", err)
	}
	if ended, err := e.End(t.Context(), f); err != nil || ended == nil {
		t.Errorf("End = %v, %v, want the grant", ended, err)
	}
	if ended, err := e.End(t.Context(), f); err != nil || ended != nil {
		t.Errorf("second End = %v, %v, want nothing", ended, err)
	}
	if _, _, err := e.ByCode(t.Context(), code); !errors.Is(err, ErrNone) {
		t.Errorf("ByCode after End = %v, want ErrNone", err)
	}
}

func TestParallelRedemptionsHaveOneWinner(t *testing.T) {
	e := newEnv(t, "x", 1)
	code, _, err := e.Issue(t.Context(), nil, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var won, reused atomic.Int32
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			g, _, err := e.ByCode(t.Context(), code)
			if err == nil {
				err = e.Redeem(t.Context(), g, nil, e.now.Add(time.Hour))
			}
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrReused):
				reused.Add(1)
			default:
				t.Errorf("a loser got %v", err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || reused.Load() != 49 {
		t.Errorf("%d won and %d received ErrReused, want 1 and 49", won.Load(), reused.Load())
	}
}

func TestRotation(t *testing.T) {
	type step struct {
		generation uint64        // of the token that is used
		after      time.Duration // since the previous step
		want       error
		successor  uint64
	}
	for name, steps := range map[string][]step{
		"in order":                  {{0, 0, nil, 1}, {1, time.Hour / 4, nil, 2}, {2, 0, nil, 3}},
		"a lost answer":             {{0, 0, nil, 1}, {0, 9 * time.Second, nil, 1}, {1, 0, nil, 2}},
		"a lost answer, at its end": {{0, 0, nil, 1}, {0, 10 * time.Second, nil, 1}},
		"lost twice":                {{0, 0, nil, 1}, {0, 0, nil, 1}, {0, 0, ErrReused, 0}},
		"too late":                  {{0, 0, nil, 1}, {0, 10*time.Second + time.Millisecond, ErrReused, 0}},
		"the successor was used":    {{0, 0, nil, 1}, {1, 0, nil, 2}, {0, 0, ErrReused, 0}},
		"once more, then used":      {{0, 0, nil, 1}, {0, 0, nil, 1}, {1, 0, nil, 2}, {1, 0, nil, 2}},
		"never given":               {{1, 0, ErrReused, 0}},
		"after its life":            {{0, time.Hour, ErrNone, 0}},
	} {
		e := newEnv(t, "x", 1)
		g, _ := e.live(t)
		for i, s := range steps {
			e.now = e.now.Add(s.after)
			token := e.tokens.refresh(g.Family, s.generation)
			found, generation, err := e.ByRefresh(t.Context(), token)
			var next string
			if err == nil {
				next, err = e.Rotate(t.Context(), found, generation)
			}
			want := ""
			if s.want == nil {
				want = e.tokens.refresh(g.Family, s.successor)
			}
			if !errors.Is(err, s.want) || next != want {
				t.Errorf("%s, step %d: Rotate = %q, %v, want generation %d, %v", name, i, next, err, s.successor, s.want)
			}
		}
	}
	e := newEnv(t, "x", 1)
	e.Tolerance = 0
	g, _ := e.live(t)
	e.Rotate(t.Context(), g, 0)
	if _, err := e.Rotate(t.Context(), g, 0); !errors.Is(err, ErrReused) {
		t.Errorf("without a tolerance, the second Rotate = %v, want ErrReused", err)
	}
}

// TestParallelRotations: of many uses of one refresh token two return the same successor, and the
// others end the family.
func TestParallelRotations(t *testing.T) {
	e := newEnv(t, "x", 1)
	g, _ := e.live(t)
	token := e.Refresh(g)
	var given sync.Map
	var n, reused atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			found, generation, err := e.ByRefresh(t.Context(), token)
			if err != nil {
				t.Error(err)
				return
			}
			next, err := e.Rotate(t.Context(), found, generation)
			switch {
			case err == nil:
				n.Add(1)
				given.Store(next, true)
			case errors.Is(err, ErrReused):
				reused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	different := 0
	given.Range(func(any, any) bool { different++; return true })
	if n.Load() != 2 || different != 1 || reused.Load() != 18 {
		t.Errorf("%d got %d successors, %d were refused, want 2, 1 and 18", n.Load(), different, reused.Load())
	}
}

func TestTextsAreRefusedElsewhere(t *testing.T) {
	e, other, rotated := newEnv(t, "x", 1), newEnv(t, "y", 1), newEnv(t, "x", 2)
	rotated.s, rotated.store = e.s, e.s
	g, code := e.live(t)
	refresh, access := e.Refresh(g), e.Access(g.Family, Terms{Expires: e.now.Add(time.Minute)})
	for _, text := range []string{code, refresh, access} {
		if !e.Made(text) || other.Made(text) || rotated.Made(text) {
			t.Errorf("Made(%d bytes) = %v, of another name %v, of another key %v", len(text), e.Made(text), other.Made(text), rotated.Made(text))
		}
		for _, c := range []string{text + "A", text + "\n", strings.ToUpper(text), text[1:], "", strings.Repeat("A", len(text)), text[:len(text)-1] + "_"} {
			if c != text && e.Made(c) {
				t.Errorf("Made(%q) of %q", c, text)
			}
		}
	}
	for what, err := range map[string]error{
		"an access token as refresh": third(e.ByRefresh(t.Context(), access)), "a refresh token as access": third(e.ByAccess(t.Context(), refresh)),
		"a refresh token as code": third(e.ByCode(t.Context(), refresh)), "a code as access": third(e.ByAccess(t.Context(), code)),
	} {
		if !errors.Is(err, ErrForeign) {
			t.Errorf("%s = %v, want ErrForeign", what, err)
		}
	}
	if _, _, err := e.ByAccess(t.Context(), access); err != nil {
		t.Errorf("ByAccess = %v", err)
	}
	e.now = e.now.Add(time.Minute)
	if _, _, err := e.ByAccess(t.Context(), access); !errors.Is(err, ErrNone) {
		t.Errorf("ByAccess after its time = %v, want ErrNone", err)
	}
	both := newEnv(t, "x", 2, 1)
	both.s, both.store, both.now = e.s, e.s, e.now
	if _, generation, err := both.ByRefresh(t.Context(), refresh); err != nil || generation != 0 {
		t.Errorf("with the old key second: %v", err)
	}
}

func third[A, B any](_ A, _ B, err error) error { return err }

// TestRecordsAreSealed: a writer of the store cannot move a record to another key, and a waiting
// code yields no token.
func TestRecordsAreSealed(t *testing.T) {
	e := newEnv(t, "x", 1)
	var written []string
	e.s.Wrote = func(key string, value []byte) { written = append(written, key+" "+string(value)) }
	g, code := e.live(t)
	waiting, f, _ := e.Issue(t.Context(), nil, time.Minute)
	if _, _, err := e.ByRefresh(t.Context(), e.tokens.refresh(f, 0)); !errors.Is(err, ErrNone) {
		t.Errorf("a refresh token of a code that waits = %v, want ErrNone", err)
	}
	record, err := e.s.Get(t.Context(), e.keyOf(g.Family))
	if err != nil {
		t.Fatal(err)
	}
	e.s.Put(t.Context(), e.keyOf(f), record, time.Minute)
	if _, _, err := e.ByCode(t.Context(), waiting); !errors.Is(err, ErrNone) {
		t.Errorf("a record under another name = %v, want ErrNone", err)
	}
	if len(written) < 4 {
		t.Fatalf("%d writes: this test cannot fail", len(written))
	}
	for _, text := range written {
		if strings.Contains(text, code) || strings.Contains(text, "more") {
			t.Errorf("the store shows a code or a record: %q", text)
		}
	}
	e.s.Away.Store(true)
	for what, err := range map[string]error{
		"ByCode": third(e.ByCode(t.Context(), code)), "Redeem": e.Redeem(t.Context(), &Grant{key: "k", Expires: e.now.Add(time.Hour)}, nil, e.now.Add(time.Hour)),
		"ByRefresh": third(e.ByRefresh(t.Context(), e.Refresh(g))),
	} {
		if err == nil || errors.Is(err, ErrNone) || errors.Is(err, ErrReused) || errors.Is(err, ErrForeign) {
			t.Errorf("%s with a store that is away = %v, want an error that is no answer", what, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	e := newEnv(f, "x", 1)
	f.Add(e.tokens.write(kindCode, random(16)))
	f.Fuzz(func(t *testing.T, text string) {
		for kind, size := range map[string]int{kindCode: familySize, kindAccess: accessSize, kindRefresh: refreshSize} {
			if body, err := e.tokens.read(kind, text, size); err == nil && e.tokens.write(kind, bytes.Clone(body)) != text {
				t.Errorf("read(%s, %q) takes what write does not make", kind, text)
			}
		}
	})
}
