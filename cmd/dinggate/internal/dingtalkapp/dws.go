package dingtalkapp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// ErrNoDWS reports that DingTalk's command-line tool is not installed.
var ErrNoDWS = errors.New("dingtalkapp: no program dws in the PATH")

// ErrNoApp reports that the administrator's apps do not include ours.
var ErrNoApp = errors.New("dingtalkapp: no app has this Client ID")

// DWS reads settings with DingTalk's command-line tool, signed in as an administrator,
// and changes nothing. It parses the answers tolerantly: versions of dws wrap them
// differently. It is safe for concurrent use.
type DWS struct {
	Program string // "" means dws in the PATH
}

const (
	dwsWithin = 30 * time.Second // per call
	dwsLonger = 4 << 20          // bytes of an answer; a longer one is discarded
	dwsPages  = 40               // per list
)

// App returns the unifiedAppId of the app with a Client ID (appKey).
func (d *DWS) App(ctx context.Context, clientID string) (id string, err error) {
	apps, err := d.list(ctx, "unifiedAppId", "list")
	if err != nil {
		return "", err
	}
	for _, app := range apps {
		if text(app, "appKey") == clientID || text(app, "clientId") == clientID {
			return text(app, "unifiedAppId"), nil
		}
	}
	return "", ErrNoApp
}

// Permissions returns for each permission point whether the app has it.
func (d *DWS) Permissions(ctx context.Context, app string) (map[string]bool, error) {
	all, err := d.list(ctx, "scopeValue", "permission", "list", "--unified-app-id", app)
	granted := map[string]bool{}
	for _, one := range all {
		granted[text(one, "scopeValue")] = truth(one, "authed") || strings.EqualFold(text(one, "authStatus"), "AUTHED")
	}
	return granted, err
}

// Events returns for each event code whether the app is subscribed to it.
func (d *DWS) Events(ctx context.Context, app string) (map[string]bool, error) {
	all, err := d.list(ctx, "eventCode", "event", "list", "--unified-app-id", app)
	subscribed := map[string]bool{}
	for _, one := range all {
		subscribed[text(one, "eventCode")] = truth(one, "subscribed")
	}
	return subscribed, err
}

// Redirects lists the registered redirect URLs. known is false if this version of dws
// does not report them.
func (d *DWS) Redirects(ctx context.Context, app string) (urls []string, known bool, err error) {
	answer, err := d.ask(ctx, "get", "--unified-app-id", app)
	visit(answer, func(o map[string]any) {
		if list, ok := o["redirectUrls"].([]any); ok {
			known = true
			for _, one := range list {
				if s, ok := one.(string); ok {
					urls = append(urls, s)
				}
			}
		}
	})
	return urls, known, err
}

// Homepages returns the addresses of the workbench entry, on phones and on PCs; "" if
// there is none.
func (d *DWS) Homepages(ctx context.Context, app string) (phone, pc string, err error) {
	answer, err := d.ask(ctx, "webapp", "get", "--unified-app-id", app)
	visit(answer, func(o map[string]any) {
		if s := text(o, "homepageUrl"); s != "" {
			phone = s
		}
		if s := text(o, "pcHomepageUrl"); s != "" {
			pc = s
		}
	})
	return phone, pc, err
}

// Versions summarizes the states of an app's versions.
type Versions struct {
	Released bool   // one is released, or released to a part of the users (GRAY)
	Audit    string // versionId of one that waits for approval
	Draft    string // versionId of one that was not published
}

// Versions reads them; unknown states are ignored.
func (d *DWS) Versions(ctx context.Context, app string) (v Versions, err error) {
	all, err := d.list(ctx, "versionId", "version", "list", "--unified-app-id", app)
	for _, one := range all {
		state := text(one, "versionStatus")
		if state == "" {
			state = text(one, "status")
		}
		switch strings.ToUpper(state) {
		case "RELEASE", "GRAY":
			v.Released = true
		case "AUDIT":
			v.Audit = text(one, "versionId")
		case "INIT":
			v.Draft = text(one, "versionId")
		}
	}
	return v, err
}

// list requests all pages of a list; its entries are below the key.
func (d *DWS) list(ctx context.Context, key string, args ...string) (all []map[string]any, err error) {
	cursor := ""
	for range dwsPages {
		page := slices.Clone(args)
		if cursor != "" {
			page = append(page, "--cursor", cursor)
		}
		answer, err := d.ask(ctx, page...)
		if err != nil {
			return nil, err
		}
		next, last := "", false
		visit(answer, func(o map[string]any) {
			if text(o, key) != "" {
				all = append(all, o)
			}
			for _, name := range []string{"nextCursor", "next_token", "nextToken"} {
				if s := text(o, name); s != "" {
					next = s
				}
			}
			more, told := o["hasMore"].(bool)
			last = last || told && !more || truth(o, "endpoint_exhausted")
		})
		if last || next == "" || next == cursor {
			return all, nil
		}
		cursor = next
	}
	return nil, fmt.Errorf("dingtalkapp: dws dev app %s: a list without end", strings.Join(args[:min(2, len(args))], " "))
}

// ask makes one call. Its answers may contain secrets of the app: no error quotes them,
// except for the message that dws gives for people.
func (d *DWS) ask(ctx context.Context, args ...string) (any, error) {
	program := d.Program
	if program == "" {
		program = "dws"
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, ErrNoDWS
	}
	ctx, cancel := context.WithTimeout(ctx, dwsWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(append([]string{"dev", "app"}, args...), "--format", "json")...)
	cmd.WaitDelay = time.Second
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "DINGGATE_") })
	out := &bounded{}
	cmd.Stdout = out
	failed := cmd.Run()
	var answer any
	unread := json.Unmarshal(out.Bytes(), &answer)
	what := "dws dev app " + strings.Join(args[:min(2, len(args))], " ")
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("dingtalkapp: %s: no answer in time", what)
	case unread == nil && (failed != nil || refused(answer)):
		return nil, fmt.Errorf("dingtalkapp: %s: %.200s", what, message(answer))
	case failed != nil:
		return nil, fmt.Errorf("dingtalkapp: %s: %w", what, failed)
	case unread != nil || out.over:
		return nil, fmt.Errorf("dingtalkapp: %s: its answer is no JSON that can be read", what)
	}
	return answer, nil
}

// refused reports an answer that contains an error.
func refused(answer any) bool {
	o, ok := answer.(map[string]any)
	if !ok {
		return false
	}
	success, told := o["success"].(bool)
	good, also := o["ok"].(bool)
	return told && !success || also && !good || text(o, "outcome") == "failure"
}

func message(answer any) (found string) {
	visit(answer, func(o map[string]any) {
		for _, name := range []string{"errorMsg", "message"} {
			if s := text(o, name); s != "" && found == "" {
				found = s
			}
		}
	})
	if found == "" {
		return "refused"
	}
	return found
}

// visit calls f with every object of an answer, however it is wrapped.
func visit(answer any, f func(map[string]any)) {
	switch v := answer.(type) {
	case map[string]any:
		f(v)
		for _, inner := range v {
			visit(inner, f)
		}
	case []any:
		for _, inner := range v {
			visit(inner, f)
		}
	}
}

func text(o map[string]any, name string) string {
	s, _ := o[name].(string)
	return s
}

func truth(o map[string]any, name string) bool {
	yes, _ := o[name].(bool)
	return yes || strings.EqualFold(text(o, name), "true")
}

// bounded accepts dwsLonger bytes and drops the rest.
type bounded struct {
	bytes.Buffer
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > dwsLonger {
		b.over = true
		return len(p), nil
	}
	return b.Buffer.Write(p)
}
