package simulator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
)

// call is one request to either API, with its arguments decoded.
type call struct {
	r       *http.Request
	app     *App
	user    *userToken     // new host, calls for a person
	args    map[string]any // JSON values, or the texts of a form
	segment string         // the variable segment of the path
}

// text is "" if the argument is absent or not a string or number.
func (c *call) text(name string) string {
	switch v := c.args[name].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// number reports false if the argument is absent or not an integer.
func (c *call) number(name string) (int64, bool) {
	n, err := strconv.ParseInt(c.text(name), 10, 64)
	return n, err == nil
}

// flat is an answer whose fields are beside errcode, not below "result".
type flat map[string]any

// oldCall is a call of the old host.
type oldCall struct {
	permission string // required permission; "" = none
	anonymous  bool
	do         func(*Platform, *call) (any, *apiError)
}

var oldCalls = map[string]oldCall{
	"/gettoken":    {"", true, oldToken},
	"/auth/scopes": {"qyapi_base", false, authScopes},

	"/topapi/user/getbyunionid":   {"qyapi_get_member", false, getByUnionID},
	"/topapi/v2/user/get":         {"qyapi_get_member", false, userGet},
	"/topapi/v2/user/getuserinfo": {"qyapi_base", false, getUserInfo},
	"/topapi/v2/user/list":        {"qyapi_get_department_member", false, userList},
	"/topapi/user/listid":         {"qyapi_get_member", false, userListID},
	"/topapi/v2/user/getbymobile": {"qyapi_get_member_by_mobile", false, getByMobile},
	"/topapi/user/listadmin":      {"qyapi_get_member", false, listAdmin},

	"/topapi/v2/department/get":              {"qyapi_get_department_list", false, departmentGet},
	"/topapi/v2/department/listsub":          {"qyapi_get_department_list", false, listSub},
	"/topapi/v2/department/listsubid":        {"qyapi_get_department_list", false, listSubID},
	"/topapi/v2/department/listparentbydept": {"qyapi_get_department_list", false, listParentByDept},
	"/topapi/v2/department/listparentbyuser": {"qyapi_get_department_list", false, listParentByUser},

	"/topapi/message/corpconversation/asyncsend_v2":  {"qyapi_base", false, sendMessage},
	"/topapi/message/corpconversation/getsendresult": {"qyapi_base", false, sendResult},

	"/topapi/role/list":         {"qyapi_get_department_list", false, roleList},
	"/topapi/role/getrolegroup": {"qyapi_get_department_list", false, roleGroup},
	"/topapi/role/getrole":      {"qyapi_get_department_member", false, roleGet},
	"/topapi/role/simplelist":   {"qyapi_get_department_member", false, roleMembers},
}

func (o oldCall) serve(p *Platform, w http.ResponseWriter, r *http.Request, body []byte) {
	result, apiErr := dispatchOld(p, o, r, body)
	if apiErr != nil {
		apiErr.writeOld(w)
		return
	}
	answer := map[string]any{"errcode": 0, "errmsg": "ok", "request_id": requestID()}
	if f, ok := result.(flat); ok {
		maps.Copy(answer, f)
	} else {
		answer["result"] = result
	}
	writeJSON(w, http.StatusOK, answer)
}

// dispatchOld checks in DingTalk's order: token, app, address, permission, then the call itself.
func dispatchOld(p *Platform, o oldCall, r *http.Request, body []byte) (any, *apiError) {
	args, token, ok := oldArguments(r, body)
	if !ok {
		return nil, apiErrorFor("400002")
	}
	defer p.lock()()
	c := &call{r: r, args: args}
	if o.anonymous {
		return o.do(p, c)
	}
	var apiErr *apiError
	if c.app, apiErr = p.credentials.appTokenOwner(p.now(), token); apiErr != nil {
		return nil, apiErr
	}
	if apiErr := checkAPIAccess(p, c.app, r, o.permission); apiErr != nil {
		return nil, apiErr
	}
	return o.do(p, c)
}

// checkAPIAccess makes the checks that both hosts make for an app.
func checkAPIAccess(p *Platform, a *App, r *http.Request, point string) *apiError {
	switch {
	case a.Stopped:
		return apiErrorFor("50003")
	case !a.allowsAddress(r.RemoteAddr):
		return deniedAddress(a, r.RemoteAddr)
	case p.apps.throttled(a, findEndpoint(r.URL.Path).name, p.now()):
		return apiErrorFor("90018")
	case point != "" && !a.hasPermission(point):
		return deniedPermission(a, point)
	}
	return nil
}

// oldArguments reads the query, a form and a JSON body; later ones win. The token
// comes from the query or a form, never from JSON or a header.
func oldArguments(r *http.Request, body []byte) (args map[string]any, token string, ok bool) {
	args = map[string]any{}
	take := func(v url.Values) {
		for name := range v {
			args[name] = v.Get(name)
		}
		token = cmp.Or(v.Get("access_token"), token)
	}
	take(r.URL.Query())
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case len(bytes.TrimSpace(body)) == 0:
	case kind == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, "", false
		}
		take(form)
	default:
		from, ok := object(body)
		if !ok {
			return nil, "", false
		}
		maps.Copy(args, from)
	}
	return args, token, true
}

// object decodes one JSON object with nothing after it.
func object(body []byte) (map[string]any, bool) {
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&m) != nil || m == nil {
		return nil, false
	}
	_, err := d.Token()
	return m, errors.Is(err, io.EOF)
}

func unknownOld(_ *Platform, w http.ResponseWriter, r *http.Request, _ []byte) {
	apiErrorFor("22").withText("Invalid method[%s]", r.URL.Path).writeOld(w)
}

// readBody reads the whole body: only after that does net/http notice that the client
// has closed the connection, and a hanging answer must end then.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	if r.Body == nil {
		return nil, true
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	if err != nil {
		http.Error(w, "request body: too large or cut off", http.StatusRequestEntityTooLarge)
		return nil, false
	}
	return body, true
}
