package simulator

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	failedPath   = "/call_back/get_call_back_failed_result"
	failedLife   = 5 * time.Minute
	failedMax    = 200
	pushDeadline = 1500 * time.Millisecond
)

// Push is an app's subscription to events by HTTP. The zero Push has none.
type Push struct {
	URL    string `json:"url"`
	Token  string `json:"token"`   // 3 to 32 letters or digits
	AESKey string `json:"aes_key"` // 43 letters or digits
}

// failedPush is an event that could not be pushed, for get_call_back_failed_result.
type failedPush struct {
	app   string
	at    time.Time
	event Event
}

// overPush sends the event by HTTP: at once, after 10 s, and 30 s later.
func (s eventSender) overPush(to Push) bool {
	for attempt, delay := range []time.Duration{0, 10 * time.Second, 30 * time.Second} {
		if !s.p.life.pause(s.p.life.ctx, delay, nil) {
			return false
		}
		answer := "SUCCESS"
		err := s.pushOnce(to)
		if err != nil {
			answer = err.Error()
		}
		s.record(attempt+1, 0, answer)
		if err == nil {
			return true
		}
	}
	s.p.recordFailedPush(failedPush{s.app, s.p.Time(), s.event.event})
	return false
}

func (l *eventLog) recordFailedPush(f failedPush) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, f)
	l.failed = l.failed[max(0, len(l.failed)-failedMax):]
}

// takeFailedPushes removes the failed pushes of an app and returns those that
// are not older than failedLife.
func (l *eventLog) takeFailedPushes(now time.Time, app string) []failedPush {
	l.mu.Lock()
	defer l.mu.Unlock()
	var taken []failedPush
	l.failed = slices.DeleteFunc(l.failed, func(f failedPush) bool {
		if f.app == app && now.Sub(f.at) < failedLife {
			taken = append(taken, f)
		}
		return f.app == app
	})
	return taken
}

func (s eventSender) pushOnce(to Push) error {
	e := s.event
	key, err := to.key()
	if err != nil {
		return err
	}
	message := map[string]any{}
	if json.Unmarshal([]byte(e.data), &message) != nil || message == nil {
		message = map[string]any{}
	}
	maps.Copy(message,
		map[string]any{"EventType": e.event.Type, "EventTime": e.created.UnixMilli(), "CorpId": e.event.Corp,
			"BizId": digest(e.event.ID), "eventId": e.event.ID})
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	sealed := sealPush(key, salt, text, s.app)
	stamp, nonce := millis(s.p.Time()), rand.Text()[:12]
	q := url.Values{"msg_signature": {to.sign(stamp, nonce, sealed)}, "timestamp": {stamp}, "nonce": {nonce}}

	ctx, cancel := context.WithTimeout(s.p.life.ctx, pushDeadline)
	defer cancel()
	body, _ := json.Marshal(map[string]string{"encrypt": sealed})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL+"?"+q.Encode(), bytes.NewReader(body))
	if err != nil {
		return errors.New("the push address is no URL")
	}
	r.Header.Set("Content-Type", "application/json")
	return s.sendPush(r, to, key)
}

// sendPush sends the request and checks that the answer is "success", encrypted and signed.
func (s eventSender) sendPush(r *http.Request, to Push, key []byte) error {
	transport := s.p.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return errors.New("no answer")
	}
	defer resp.Body.Close()
	var answer struct {
		Signature string `json:"msg_signature"`
		Stamp     string `json:"timeStamp"`
		Nonce     string `json:"nonce"`
		Encrypt   string `json:"encrypt"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, bodyLimit)).Decode(&answer); err != nil {
		return fmt.Errorf("HTTP %d without a JSON answer", resp.StatusCode)
	}
	if subtle.ConstantTimeCompare([]byte(answer.Signature),
		[]byte(to.sign(answer.Stamp, answer.Nonce, answer.Encrypt))) != 1 {
		return errors.New("the answer's signature is wrong")
	}
	word, err := openPush(key, answer.Encrypt, s.app)
	if err == nil && string(word) != "success" {
		err = errors.New("the answer is not \"success\"")
	}
	return err
}

// key decodes leniently: the spare bits of the last letter may be set.
func (to Push) key() ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(to.AESKey + "=")
	if err != nil || len(key) != 32 {
		return nil, errors.New("aes_key must be 43 letters or digits")
	}
	return key, nil
}

func (to Push) sign(stamp, nonce, encrypt string) string {
	parts := []string{to.Token, stamp, nonce, encrypt}
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(sum[:])
}

// sealPush encrypts as the documentation says: 16 random bytes, length,
// message, owner, PKCS#7 padding to 32, AES-256-CBC with IV = key[:16].
func sealPush(key, salt, message []byte, owner string) string {
	plain := binary.BigEndian.AppendUint32(slices.Clone(salt), uint32(len(message)))
	plain = append(append(plain, message...), owner...)
	pad := 32 - len(plain)%32
	plain = append(plain, bytes.Repeat([]byte{byte(pad)}, pad)...)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // key checked the length
	}
	cipher.NewCBCEncrypter(block, key[:16]).CryptBlocks(plain, plain)
	return base64.StdEncoding.EncodeToString(plain)
}

// openPush reverses sealPush; the message must have this owner.
func openPush(key []byte, sealed, owner string) ([]byte, error) {
	bad := errors.New("the answer cannot be decrypted")
	text, err := base64.StdEncoding.DecodeString(sealed)
	block, errKey := aes.NewCipher(key)
	if err != nil || errKey != nil || len(text) == 0 || len(text)%aes.BlockSize != 0 {
		return nil, bad
	}
	cipher.NewCBCDecrypter(block, key[:16]).CryptBlocks(text, text)
	pad := int(text[len(text)-1])
	if pad < 1 || pad > 32 || len(text)-pad < 20 {
		return nil, bad
	}
	text = text[:len(text)-pad]
	n := uint64(binary.BigEndian.Uint32(text[16:20]))
	if n > uint64(len(text)-20) || string(text[20+n:]) != owner {
		return nil, bad
	}
	return text[20 : 20+n], nil
}

// failedPushes is GET /call_back/get_call_back_failed_result; it removes what it lists.
func failedPushes(p *Platform, c *call) (any, *apiError) {
	list := []map[string]any{}
	for _, f := range p.takeFailedPushes(p.now(), c.app.ClientID) {
		data, _ := f.event.Data.(map[string]any)
		list = append(list, map[string]any{"call_back_tag": f.event.Type, "event_time": f.at.UnixMilli(),
			f.event.Type: map[string]any{"corpid": f.event.Corp, "userid": data["userId"]}})
	}
	return flat{"has_more": false, "failed_list": list}, nil
}
