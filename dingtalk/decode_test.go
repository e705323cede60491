package dingtalk

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct{ in, want string }{
		{`{"n":1,"b":true,"l":[1,2],"o":[{"id":1}],"s":"x"}`, `{1 true [1 2] [{1}] x}`},
		{`{"n":"1","b":"true","l":"[1,2]","o":{"id":"1"},"s":null}`, `{1 true [1 2] [{1}] }`},
		{`{"n":"-1","b":"false","l":"","o":""}`, `{-1 false [] [] }`},
		{`{"l":null,"o":null}`, `{0 false [] [] }`},
		{`{"l":" [\"3\"]","o":"[{\"id\":2}]"}`, `{0 false [3] [{2}] }`},
		{`{"unknown":{"deep":[1e999]}}`, `{0 false [] [] }`},
		{`{"n":1.5}`, `no number`}, {`{"n":1e3}`, `no number`}, {`{"n":""}`, `no number`},
		{`{"n":"1 "}`, `no number`}, {`{"n":null}`, `no number`},
		{`{"n":99999999999999999999}`, `no number`}, {`{"n":[1]}`, `no number`}, {`{"n":"0x1"}`, `no number`},
		{`{"b":1}`, `no boolean`}, {`{"b":"True"}`, `no boolean`}, {`{"b":null}`, `no boolean`},
		{`{"b":""}`, `no boolean`},
		{`{"l":1}`, `no list`}, {`{"l":{"id":1}}`, `no list`}, {`{"l":"1"}`, `no list`}, {`{"l":"[1"}`, `not JSON`},
		{`{"l":true}`, `no list`},
		{`{"l":[null]}`, `null inside`}, {`{"o":[null]}`, `null inside`},
		{`{"o":"[{\"id\":1,\"id\":2}]"}`, `doubled`}, {`{"o":"{\"id\":1}"}`, `no list`},
		{`{"s":1}`, `wrong type`}, {`[]`, `wrong type`},
		{``, `not JSON`}, {`{`, `not JSON`}, {`{"n":1}x`, `after`}, {`{"n":1}{}`, `after`}, {`<html>`, `not JSON`},
		{`{"n":1,}`, `not JSON`}, {`{"n" 1}`, `not JSON`},
		{`{"n":1,"n":1}`, `doubled`}, {`{"n":1,"N":1}`, `doubled`}, {`{"x":{"a":1,"a":2}}`, `doubled`},
		{`{"ſ":1,"S":2}`, `doubled`}, {`{"x":[{"a":1},{"a":2}]}`, `{0 false`},
		{`{"n":1,"\u006e":2}`, `doubled`}, {"{\"s\":\"\xff\"}", `not UTF-8`},
		{`{"x":` + deep(maxDepth-1) + `}`, `{0 false`}, {`{"x":` + deep(maxDepth) + `}`, `nested`},
		{strings.Repeat(`{"a":`, 1e5), `nested`}, {deep(1e5), `nested`},
	} {
		var v struct {
			N flexInt           `json:"n"`
			B flexBool          `json:"b"`
			L flexList[flexInt] `json:"l"`
			O flexList[struct {
				ID flexInt `json:"id"`
			}] `json:"o"`
			S string `json:"s"`
		}
		err := decode([]byte(c.in), &v)
		got := fmt.Sprint(v)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("decode(%.60s) = %s, want %s", c.in, got, c.want)
		}
	}
}

// Laws: no panic. An accepted document is one JSON document that encoding/json accepts
// too, without a duplicate name.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":1,"A":2}`, `[1e999]`, `{"a":"[1,2]"}`, "{\"a\":\"\xff\"}", `{"a":{"b":[{}]}}`,
		`null`, `"x"`, strings.Repeat("[", 100), `{"":0,"":0}`, `{}{}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		if decode(data, &v) != nil {
			return
		}
		if !json.Valid(data) {
			t.Errorf("decode(%q) = nil, want an error: not JSON", data)
		}
		again, _ := json.Marshal(v) // has each name once
		if err := decode(again, &v); err != nil {
			t.Errorf("decode(%q) = %v, want what decode(%q) gave", again, err, data)
		}
	})
}

// The law for both envelopes: no panic. A response is a refusal with a class or a value,
// never both.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`{"errcode":88,"sub_code":"40014","sub_msg":"不合法的access_token","errmsg":"x","request_id":"16l4ew3d47pdp"}`,
		`{"errcode":0,"errmsg":"ok","result":{"contact_type":0,"userid":"0138"},"request_id":"r"}`,
		`{"errcode":"0","result":{"contact_type":"0","userid":"u"}}`,
		`{"code":"InvalidAuthentication","requestid":"01A0","message":"不合法的access_token"}`,
		`{"code":"Forbidden.AccessDenied.AccessTokenPermissionDenied",` +
			`"accessdenieddetail":{"requiredScopes":["Contact.User.Read"]}}`,
		`{"errcode":404,"errmsg":"请求的URI地址不存在"}`, `{"status":1111,"wait":5,"punish":"deny"}`, `<html>punish</html>`, ``,
	} {
		for _, status := range []int{200, 400, 403, 503} {
			f.Add(status, true, []byte(s))
			f.Add(status, false, []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, status int, old bool, data []byte) {
		a := answer{host: hostNew, path: pathGetByUnionID, status: status, body: data}
		if old {
			a.host = hostOld
		}
		var v any
		tr := classify(a, request{host: a.host, path: a.path}, redactor{"secret"}, &v)
		if (tr.err == nil) != (tr.result == "ok") || tr.err != nil && tr.failure().Code == "" {
			t.Errorf("classify(%d %q) = %+v, want ok or a failure with a code", status, data, tr)
		}
		if tr.err == nil && (status < 200 || status > 299 || reflect.ValueOf(v).Kind() == reflect.Invalid && old) {
			t.Errorf("classify(%d %q) = ok, want a failure", status, data)
		}
		a.ipBlocked()
	})
}
