package account

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/internal/ratelimit"

	"golang.org/x/crypto/bcrypt"
)

const (
	zhangsan = "zhangsan:$2y$04$ALZJBfBs3E5wvLbwRsGKLuT6lOSYZ8qHsO3g.w2IIw2zzVcyCNlz6"
	hash     = "$2y$04$ALZJBfBs3E5wvLbwRsGKLuT6lOSYZ8qHsO3g.w2IIw2zzVcyCNlz6"
)

func hashOf(t testing.TB, password string, cost int) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func TestCheckHtpasswd(t *testing.T) {
	weak := "has a hash of cost 4, which is weak; generate a stronger one with htpasswd -B -C 10"
	strong := strings.Replace(hash, "$04$", "$12$", 1)
	for _, tt := range []struct{ name, text, want string }{
		{"good", "zhangsan:" + strong + "\n# a comment\n\n张三:" + strong + "\r\n", ""},
		{"BOM", "\xef\xbb\xbfzhangsan:" + strong, ""},
		{"weak", zhangsan, "1 " + weak + " (warning)"},
		{"empty", "", "0 contains no account (warning)"},
		{"kinds", "a:{SHA}x\nb:$apr1$x$y\nc:plain\nd:\ne\n:" + strong + "\nf:$2x" + strong[3:] + "\ng:" + strong +
			"x\nh:" + strong[:59] + "\ni:" + strong[:59] + "!\nj:" + strings.Replace(strong, "$12$", "$15$", 1) +
			"\nk:" + strings.Replace(strong, "$12$", "$03$", 1),
			"1 has no bcrypt hash; generate one with htpasswd -B|2 has no bcrypt hash; generate one with htpasswd -B|3 has no " +
				"bcrypt hash; generate one with htpasswd -B|4 has no bcrypt hash; generate one with htpasswd -B|5 is not " +
				"name:hash|6 has no account name|7 has no bcrypt hash; generate one with htpasswd -B|8 has no bcrypt " +
				"hash; generate one with htpasswd -B|9 has no bcrypt hash; generate one with htpasswd -B|10 has no bcrypt hash; " +
				"generate one with htpasswd -B|11 has a hash of cost 15; above 14 a sign-in takes seconds|12 has no " +
				"bcrypt hash; generate one with htpasswd -B"},
		{"twice", "a:" + strong + "\nb:" + strong + "\na:" + strong, "3 repeats the account of line 1"},
		{"names", "a b:" + strong + "\n a:" + strong + "\na\x01:" + strong + "\n\xff:" + strong + "\na\u202e:" +
			strong + "\n" + strings.Repeat("a", 129) + ":" + strong,
			"2 has spaces around a name|3 has a colon or an invisible character in a name|4 is not UTF-8|5 has a " +
				"colon or an invisible character in a name|6 has an account name longer than 128 bytes"},
		{"look alike", "Admin:" + strong + "\nadmin:" + strong + "\nаdmin:" + strong + "\nzhangsan:" + strong,
			`0 has the accounts "Admin" and "admin", which look alike and are easily confused (warning)|0 ` +
				`has the accounts "Admin" and "\u0430dmin", which look alike and are easily confused (warning)`},
		{"too large", strings.Repeat("#", maxFile+1), "0 is larger than 1 MiB"},
	} {
		var got []string
		for _, p := range CheckHtpasswd([]byte(tt.text)) {
			text := fmt.Sprintf("%d %s", p.Line, p.Text)
			if p.Warning {
				text += " (warning)"
			}
			got = append(got, text)
			if strings.Contains(p.Text.String(), "ALZJBf") {
				t.Errorf("%s: a problem quotes a hash: %s", tt.name, p.Text)
			}
		}
		if strings.Join(got, "|") != tt.want {
			t.Errorf("%s: CheckHtpasswd = %q, want %q", tt.name, got, tt.want)
		}
	}
}

// FuzzHtpasswd: whatever comes, the accounts that are read are read again from
// what an htpasswd program would write of them, and no line both counts and is
// a mistake.
func FuzzHtpasswd(f *testing.F) {
	f.Add([]byte(zhangsan + "\r\n#\n\nlisi:" + hash))
	f.Add([]byte("a:$2y$99$" + hash[7:]))
	f.Add([]byte("\xef\xbb\xbfa:b:c\n\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, found := parseHtpasswd(text)
		if all == nil {
			return
		}
		var again strings.Builder
		for name, hash := range all.hashes {
			fmt.Fprintf(&again, "%s:%s\n", name, hash)
			if cost, err := bcrypt.Cost(hash); err != nil || cost > all.cost || cost > maxCost {
				t.Errorf("parseHtpasswd(%q): cost %d, %v of %d", text, cost, err, all.cost)
			}
		}
		back, wrong := parseHtpasswd([]byte(again.String()))
		if mistakes(wrong) != nil || !reflect.DeepEqual(back.hashes, all.hashes) {
			t.Errorf("parseHtpasswd(%q) = %q, written and read: %q, %v", text, all.hashes, back.hashes, wrong)
		}
		for _, p := range found {
			if p.Line < 1 || p.Line > strings.Count(string(text), "\n")+1 || p.Text.IsZero() {
				t.Errorf("parseHtpasswd(%q) reports %v", text, p)
			}
		}
	})
}

// write makes an htpasswd file; the next write has another time.
func write(t testing.TB, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, lines ...string) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "htpasswd")
	write(t, path, lines...)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var here = netip.MustParseAddr("192.0.2.1")

func TestVerify(t *testing.T) {
	f := open(t, "zhangsan:"+hashOf(t, "correct horse", 4), "lisi:"+hashOf(t, "battery", 5),
		"长:"+hashOf(t, strings.Repeat("密", 24), 4))
	for _, tt := range []struct {
		name, password string
		want           error
	}{
		{"zhangsan", "correct horse", nil}, {"lisi", "battery", nil}, {"长", strings.Repeat("密", 24), nil},
		{"zhangsan", "battery", ErrWrong}, {"zhangsan", "correct hors", ErrWrong},
		{"zhangsan", "Correct horse", ErrWrong}, {"zhangsan", "", ErrWrong},
		{"zhangsan", "correct horse\x00", ErrWrong}, {"zhangsan", "correct horse ", ErrWrong},
		{"Zhangsan", "correct horse", ErrWrong}, {"", "", ErrWrong},
		{"nobody", "correct horse", ErrWrong}, {"zhangsan", strings.Repeat("x", maxPassword+1), ErrWrong},
		{"zhangsan\n", "correct horse", ErrWrong},
	} {
		if _, err := f.Verify(t.Context(), here, tt.name, tt.password); !errors.Is(err, tt.want) ||
			(err == nil) != (tt.want == nil) {
			t.Errorf("Verify(%q, %q) = %v, want %v", tt.name, tt.password, err, tt.want)
		}
	}
}

// TestEqualWork: an account that is not there costs as much as one that is,
// also where hashes have different costs (threats T6). Work is counted, not time.
func TestEqualWork(t *testing.T) {
	all, found := parseHtpasswd([]byte("low:" + hashOf(t, "p", 4) + "\nhigh:" + hashOf(t, "p", 7)))
	if mistakes(found) != nil || all.cost != 7 {
		t.Fatalf("cost %d, %v, want 7", all.cost, found)
	}
	work := func(name string) (units int) {
		for _, hash := range all.compared(name) {
			cost, err := bcrypt.Cost(hash)
			if err != nil {
				t.Errorf("compared(%s) has %q: %v", name, hash, err)
			}
			units += 1 << cost
		}
		return units
	}
	for _, name := range []string{"low", "high", "nobody"} {
		if got := work(name); got != 1<<7 {
			t.Errorf("a try for %s costs %d, want %d", name, got, 1<<7)
		}
	}
	for _, cost := range []int{4, 5, 7} { // the substitute is a hash that bcrypt takes and works on
		if err := bcrypt.CompareHashAndPassword(dummyHash(cost), []byte("p")); !errors.Is(err,
			bcrypt.ErrMismatchedHashAndPassword) {
			t.Errorf("comparing with dummyHash(%d) = %v, want a mismatch", cost, err)
		}
	}
	if !all.verify("low", "p") || !all.verify("high", "p") || all.verify("low", "q") || all.verify("nobody", "p") {
		t.Errorf("verify takes the wrong ones")
	}
}

// TestTriesAreLimited: failing slows a client down for that account, others of
// the account are not locked out, and success costs nothing (threats T5).
func TestTriesAreLimited(t *testing.T) {
	f := open(t, "zhangsan:"+hashOf(t, "p", 4), "lisi:"+hashOf(t, "p", 4), "wangwu:"+hashOf(t, "p", 4))
	now := time.Unix(1_700_000_000, 0)
	f.Now = func() time.Time { return now }
	f.Pair = ratelimit.Rate{Every: time.Minute, Burst: 3}
	f.LimitClients(ratelimit.Rate{Every: time.Minute, Burst: 5})
	other := netip.MustParseAddr("192.0.2.2")
	try := func(client netip.Addr, name, password, want string) {
		t.Helper()
		_, err := f.Verify(t.Context(), client, name, password)
		got := "yes"
		if _, wait := errors.AsType[*WaitError](err); wait {
			got = "wait"
		} else if err != nil {
			got = "wrong"
		}
		if got != want {
			t.Errorf("Verify(%v, %s, %s) = %v, want %s", client, name, password, err, want)
		}
	}
	for range 10 {
		try(here, "zhangsan", "p", "yes")
	}
	for range 3 {
		try(here, "zhangsan", "wrong", "wrong")
	}
	try(here, "zhangsan", "wrong", "wait")
	try(here, "zhangsan", "p", "wait")
	try(other, "zhangsan", "p", "yes")
	try(here, "lisi", "p", "yes")
	try(here, "a", "x", "wrong")
	try(here, "b", "x", "wrong")
	try(here, "c", "x", "wait") // five in all from here
	try(here, "wangwu", "p", "wait")
	try(here, "lisi", "p", "yes") // who signed in from here before is not held to what the others of an office do
	try(other, "wangwu", "p", "yes")
	now = now.Add(time.Minute)
	try(here, "zhangsan", "p", "yes")
}

// TestFewVerifyAtOnce: the work waits for a place, and a caller who leaves does
// not use up an allowance.
func TestFewVerifyAtOnce(t *testing.T) {
	f := open(t, "zhangsan:"+hashOf(t, "p", 4))
	f.hashing.Places = 1
	leave, err := f.hashing.Enter(t.Context(), ratelimit.Client(here), clean)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := f.Verify(ctx, here, "zhangsan", "p"); !errors.Is(err, ErrBusy) {
				if _, wait := errors.AsType[*WaitError](err); !wait {
					t.Errorf("Verify without a place = %v, want ErrBusy or a wait", err)
				}
			}
		})
	}
	cancel()
	all.Wait()
	leave()
	if _, err := f.Verify(t.Context(), here, "zhangsan", "p"); err != nil {
		t.Errorf("Verify afterwards = %v, want yes", err)
	}
}

// TestWhoWaitsForWhom: earlier attempts, then the client that tries, and which one is served when.
func TestWhoWaitsForWhom(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	h := history{good: ratelimit.Recent[pair]{Life: provenFor}}
	at := func(address, name string) pair { return pair{ratelimit.Client(netip.MustParseAddr(address)), name} }
	h.succeeded(at("192.0.2.1", "zs"), now)
	h.succeeded(at("192.0.2.2", "zs"), now)
	for range fewFailures {
		h.failed(at("192.0.2.2", "zs"), now)
	}
	h.failed(at("192.0.2.3", "ls"), now)
	for i := range 20 {
		h.failed(at("192.0.2.4", fmt.Sprint("name", i)), now)
		h.failed(at("192.0.2.1", fmt.Sprint("name", i)), now)
	}
	for _, tt := range []struct {
		who  pair
		want int
	}{
		{at("192.0.2.9", "ww"), clean}, {at("192.0.2.9", "zs"), named}, {at("192.0.2.9", "name7"), named},
		{at("192.0.2.1", "zs"), proven}, {at("192.0.2.1", "ww"), suspicious},
		{at("192.0.2.2", "zs"), suspicious}, {at("192.0.2.3", "ls"), mistyped}, {at("192.0.2.3", "ww"), mistyped},
		{at("192.0.2.4", "ww"), suspicious},
	} {
		if got := h.class(tt.who, now); got != tt.want {
			t.Errorf("class(%v) = %d, want %d", tt.who, got, tt.want)
		}
	}
	if got := h.class(at("192.0.2.4", "name7"), now.Add(time.Hour)); got != clean {
		t.Errorf("an hour later = %d, want %d", got, clean)
	}
}

// TestFileChanges: a change takes effect once the file is stable, Changed names the accounts
// whose sessions end, and an invalid file changes nothing.
func TestFileChanges(t *testing.T) {
	a, b, c := "a:"+hashOf(t, "p", 4), "b:"+hashOf(t, "p", 4), "c:"+hashOf(t, "p", 4)
	f := open(t, a, b)
	var changed []string
	var failures int
	f.Changed = func(names []string) { changed = append(changed, names...) }
	f.OnReadError = func(error) { failures++ }
	look := func(want string, version uint64, wantFailures int) {
		t.Helper()
		f.Look()
		got := strings.Join(changed, ",")
		changed = nil
		if got != want || f.Version() != version || failures != wantFailures {
			t.Errorf("Look: changed %q, version %d, %d failures; want %q, %d, %d", got, f.Version(), failures, want,
				version, wantFailures)
		}
	}
	look("", 0, 0)
	write(t, f.Path, a, c)
	look("", 0, 0) // it might be half a file yet
	if !f.Has("b") || f.Has("c") {
		t.Errorf("a change counts at the first look")
	}
	look("b", 1, 0)
	verify := func(name, password string) error {
		_, err := f.Verify(t.Context(), here, name, password)
		return err
	}
	if f.Has("b") || !f.Has("c") || verify("c", "p") != nil {
		t.Errorf("the changed file is not obeyed")
	}
	write(t, f.Path, "a:"+hashOf(t, "new", 4), c)
	look("", 1, 0)
	look("a", 2, 0)
	if verify("a", "p") == nil || verify("a", "new") != nil {
		t.Errorf("the old password is still good")
	}
	write(t, f.Path, "a:plain", c)
	for range 4 {
		f.Look()
	}
	look("", 2, 1)
	if !f.Has("a") {
		t.Errorf("a bad file took the accounts away")
	}
	if err := os.Remove(f.Path); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		f.Look()
	}
	look("", 2, 2)
	write(t, f.Path, c)
	f.Look()
	look("a", 3, 2)
	if _, err := Open(f.Path + ".none"); err == nil {
		t.Errorf("Open of nothing = nil")
	}
	write(t, f.Path, "a:plain", "b:plain")
	if _, err := Open(f.Path); err == nil || !strings.Contains(err.Error(), "line 1") ||
		!strings.Contains(err.Error(), "line 2") {
		t.Errorf("Open of a bad file = %v, want every line", err)
	}
}

// TestTriesPastTheTable: many attackers who guess every name lock no account out, and a
// client with too many failures gets no new start when other clients fill the table
// (threats D5). Invented names from one address do not fill the table.
func TestTriesPastTheTable(t *testing.T) {
	f := open(t, "zhangsan:"+hashOf(t, "p", 4))
	now := time.Unix(1_700_000_000, 0)
	f.Now = func() time.Time { return now }
	clientAt := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for range pairLimit.Burst {
		f.Verify(t.Context(), here, "zhangsan", "guess")
	}
	for i := range 2 * ratelimit.MaxKeys {
		f.pairs.Allow(pairLimit, pair{ratelimit.Client(clientAt(i)), "zhangsan"}, now)
		f.clients.Allow(clientLimit, ratelimit.Client(clientAt(i)), now)
	}
	for i := range 3 {
		if _, err := f.Verify(t.Context(), clientAt(3*ratelimit.MaxKeys+i), "zhangsan", "p"); err != nil {
			t.Errorf("a right password beside many clients: %v", err)
		}
	}
	if _, err := f.Verify(t.Context(), here, "zhangsan", "guess"); err == nil || errors.Is(err, ErrWrong) {
		t.Errorf("the eleventh guess beside many clients: %v, want to wait", err)
	}
	for i := range 2 * ratelimit.MaxKeys {
		f.Verify(t.Context(), netip.MustParseAddr("192.0.2.9"), fmt.Sprint("name", i), "guess")
	}
	if _, err := f.Verify(t.Context(), here, "zhangsan", "guess"); err == nil || errors.Is(err, ErrWrong) {
		t.Errorf("the eleventh guess beside one that invents names: %v, want to wait", err)
	}
}
