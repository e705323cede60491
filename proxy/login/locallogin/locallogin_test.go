package locallogin

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/session"
	"dinggate/store"
)

func testLinks(t testing.TB) Links {
	t.Helper()
	secret := base64.StdEncoding.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuv"))
	k, err := keyring.New([]conf.Secret{conf.NewSecret(secret)})
	if err != nil {
		t.Fatal(err)
	}
	return Links{
		Keyring:  k,
		Store:    new(store.Memory),
		ClientID: "ding-app",
		Cookie:   LinkCookie("__Host-dinggate", true),
		Secure:   true,
		Now:      time.Now,
	}
}

// TestLinkPurpose: an otherwise valid link opens only under its own seal (threats S8) and with its
// own cookie (T29).
func TestLinkPurpose(t *testing.T) {
	ls := testLinks(t)
	const cookie = "the browser's"
	l := Link{issued: ls.Now(), app: ls.ClientID, browser: sha256.Sum256([]byte(cookie)), UnionID: "u", Name: "n", Target: "/"}
	for _, tt := range []struct {
		purpose, cookie string
		opens           bool
	}{
		{linkPurpose, cookie, true},
		{linkPurpose, "another's", false},
		{"login attempt", cookie, false},
		{notePurpose, cookie, false},
	} {
		token, err := ls.Keyring.Seal(tt.purpose, tt.purpose, l.encode())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ls.Open(http.Header{"Cookie": {ls.Cookie + "=" + tt.cookie}}, token); (err == nil) != tt.opens || (got != nil) != tt.opens {
			t.Errorf("sealed for %q, opened with the cookie %q = %+v, %v", tt.purpose, tt.cookie, got, err)
		}
	}
}

// TestLinkTakenOnce: a link's sign-in is returned unchanged, once.
func TestLinkTakenOnce(t *testing.T) {
	ls := testLinks(t)
	in := session.SignIn{User: identity.User{Username: "zhangsan", UnionID: "u"}, Since: time.UnixMilli(1_700_000_000_000)}
	w := httptest.NewRecorder()
	token, err := ls.Offer(t.Context(), w, in, "/"+strings.Repeat("x", maxLinkTarget))
	if err != nil {
		t.Fatal(err)
	}
	sent := w.Result().Cookies()
	if len(sent) != 1 || !sent[0].HttpOnly || !sent[0].Secure {
		t.Fatalf("Offer sets %v", sent)
	}
	l, err := ls.Open(http.Header{"Cookie": {sent[0].Name + "=" + sent[0].Value}}, token)
	if err != nil || l.UnionID != "u" || l.Target != "/" {
		t.Fatalf("Open = %+v, %v", l, err)
	}
	got, err := ls.Take(t.Context(), l)
	if err != nil || got.User.Username != "zhangsan" || !got.Since.Equal(in.Since) {
		t.Errorf("Take = %+v, %v", got, err)
	}
	if _, err := ls.Take(t.Context(), l); err != ErrLinkUsed {
		t.Errorf("the second Take = %v, want %v", err, ErrLinkUsed)
	}
}

// TestNoteSealed: a note cannot be read in the store (threats K19), nor used for another person.
func TestNoteSealed(t *testing.T) {
	ls := testLinks(t)
	bs := Bindings{Keyring: ls.Keyring, Store: ls.Store}
	ctx, note := t.Context(), Note{Username: "zhangsan", Person: "张三", Made: time.UnixMilli(1_700_000_000_000).UTC()}
	if err := bs.PutNote(ctx, "union-zhangsan", note); err != nil {
		t.Fatal(err)
	}
	if n, err := bs.Note(ctx, account.Binding{UnionID: "union-zhangsan", Username: "zhangsan"}); err != nil || n != note {
		t.Errorf("Note = %+v, %v, want %+v", n, err, note)
	}
	raw, err := bs.Store.Get(ctx, noteKey("union-zhangsan"))
	if err != nil || strings.Contains(string(raw), "zhangsan") || strings.Contains(string(raw), "张三") {
		t.Errorf("the store holds %q, %v", raw, err)
	}
	if err := bs.Store.Put(ctx, noteKey("union-lisi"), raw, noteLife); err != nil { // another person's, planted
		t.Fatal(err)
	}
	if n, err := bs.Note(ctx, account.Binding{UnionID: "union-lisi", Username: "zhangsan"}); err != nil || n != (Note{}) {
		t.Errorf("a planted note opens: %+v, %v", n, err)
	}
}

// FuzzLink: decoding inverts encoding, and only our seal opens.
func FuzzLink(f *testing.F) {
	ls := testLinks(f)
	good := Link{issued: time.UnixMilli(1_700_000_000_000), app: "ding-app", UnionID: "U", Name: "张三", Target: "/a?b"}
	f.Add(good.encode(), "token")
	f.Add(bytes.Repeat([]byte{1}, 200), "")
	f.Fuzz(func(t *testing.T, raw []byte, token string) {
		if l, ok := decodeLink(raw); ok && !bytes.Equal(l.encode(), raw) {
			t.Errorf("decodeLink(%q) = %+v, encoded again %q", raw, l, l.encode())
		}
		if l, err := ls.Open(http.Header{}, token); l != nil || err == nil { // without the cookie nothing opens
			t.Errorf("Open(%q) = %+v, %v", token, l, err)
		}
	})
}
