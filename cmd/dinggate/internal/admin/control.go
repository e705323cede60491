package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/session"
)

// ControlName is the socket in state_dir through which `dinggate bindings`, `sessions`,
// `grants` and `backup` call the process that serves: only one process can open the
// embedded file. It is not on the admin listener, which a sidecar's application can
// reach too.
const ControlName = config.ControlName

// Control serves the control socket.
//
//	GET /bindings            the list, as CSV
//	POST /bindings           an import: CSV in; every bad line, or the count, out
//	DELETE /bindings?name=   one binding
//	GET /sessions?user=      the sessions that this process has seen
//	DELETE /sessions?who=    ends one session, or all of a person
//	GET /grants?user=        waiting requests for access, and grants
//	DELETE /grants?id=       ends one
//	GET /backup              a copy of the embedded file
type Control struct {
	Path     string        // of the socket
	Bindings *BindingStore // nil: bindings are not stored in a file here
	Ends     *SessionStore
	Grants   *GrantStore
	Copy     func(ctx context.Context, begin func(size int64), w io.Writer) error // of the embedded file
	Sessions func() *session.Manager                                              // of the current configuration
	Log      *slog.Logger
}

// ServeHTTP refuses what a proxy forwards: a route whose upstream is the socket, under any path,
// would have the permissions of this process, and its author would have everyone's (threats L10).
func (c *Control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(r.Header["X-Forwarded-Host"]) > 0 {
		c.Log.Error("control: a proxied request was refused; a route leads to the control socket", "path", r.URL.Path)
		http.Error(w, "the control socket takes no proxied request", http.StatusForbidden)
		return
	}
	err := c.serve(w, r)
	switch {
	case err == nil:
	case errors.Is(err, account.ErrNone):
		http.Error(w, "no such binding", http.StatusNotFound)
	case errors.Is(err, account.ErrFull):
		http.Error(w, err.Error(), http.StatusInsufficientStorage)
	default:
		c.Log.Error("control", "method", r.Method, "err", err.Error())
		status := http.StatusInternalServerError
		if errors.Is(err, session.ErrStore) {
			status = http.StatusServiceUnavailable
		}
		http.Error(w, err.Error(), status) // a client that can read it may read the file as well
	}
}

func (c *Control) serve(w http.ResponseWriter, r *http.Request) error {
	switch {
	case r.URL.Path == "/backup" && r.Method == http.MethodGet && c.Copy != nil:
		return c.backup(w, r)
	case r.URL.Path == "/sessions":
		return c.serveSessions(w, r)
	case r.URL.Path == "/grants" && c.Grants != nil:
		return c.serveGrants(w, r)
	case r.URL.Path != "/bindings":
		http.NotFound(w, r)
		return nil
	case c.Bindings == nil:
		http.Error(w, "accounts.binding is off, or the bindings are in Redis", http.StatusConflict)
		return nil
	}
	switch r.Method {
	case http.MethodGet:
		text, err := c.Bindings.List(r.Context())
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		w.Write(text)
		return nil
	case http.MethodPost:
		text, err := io.ReadAll(io.LimitReader(r.Body, account.MaxCSV+1))
		if err != nil {
			return err
		}
		answer, err := c.Bindings.Add(r.Context(), text)
		if err != nil {
			return err
		}
		return writeControl(w, answer)
	case http.MethodDelete:
		b, err := c.Bindings.Remove(r.Context(), r.URL.Query().Get("name"))
		if err != nil {
			return err
		}
		// A person who was signed in under the account's name must sign in again.
		if err := c.Sessions().RevokeUser(r.Context(), session.Person{UnionID: b.UnionID}, "unbound"); err != nil {
			return err
		}
		return writeControl(w, b)
	}
	w.Header().Set("Allow", "GET, POST, DELETE")
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	return nil
}

// backupTimeout bounds how long a client may take to read a backup: meanwhile the
// embedded file cannot reuse its pages, and grows.
const backupTimeout = 10 * time.Minute

// backup sends the file. Content-Length shows the client whether it is complete.
func (c *Control) backup(w http.ResponseWriter, r *http.Request) error {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(backupTimeout)) // the server's own timeout is a minute
	begun := false
	err := c.Copy(r.Context(), func(size int64) {
		begun = true
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	}, w)
	if err == nil || !begun {
		return err
	}
	c.Log.Error("backup", "err", err.Error())
	panic(http.ErrAbortHandler)
}

func writeControl(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
	return nil
}

// maxSocketPath is the longest path of a unix socket, including the temporary name that
// it has at first.
const maxSocketPath = 107 - len("/control-1234567890/s")

// openControl creates the socket at path, mode 0600. It creates it in a directory that
// only this user can enter and then renames it: between listen and chmod, other users
// could connect.
func openControl(path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	if len(dir) > maxSocketPath || len(path) > maxSocketPath+len("/"+ControlName) {
		return nil, fmt.Errorf("the path of the control socket is longer than the %d bytes that a socket's may have",
			maxSocketPath)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket == 0 {
		return nil, fmt.Errorf("%s is no socket, and is not replaced", path)
	}
	hidden, err := os.MkdirTemp(dir, "control-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(hidden)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(hidden, "s"), Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(filepath.Join(hidden, "s"), 0o600),
		os.Rename(filepath.Join(hidden, "s"), path)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// ServeControl serves `dinggate bindings`, `sessions`, `grants` and `backup` until ctx
// ends. dinggate serves without it as well.
func ServeControl(ctx context.Context, c *Control) {
	l, err := openControl(c.Path)
	if err != nil {
		c.Log.Error("\"dinggate bindings\", \"sessions\", \"grants\" and \"backup\" cannot reach this process",
			"err", err.Error())
		return
	}
	c.run(ctx, l)
}

// run serves on l until ctx ends.
func (c *Control) run(ctx context.Context, l net.Listener) {
	srv := &http.Server{
		Handler:           c,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() {
		_ = os.Remove(c.Path) // a file that remains does no harm
		_ = srv.Close()
	})
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		c.Log.Error("control ended", "err", err.Error())
	}
}
