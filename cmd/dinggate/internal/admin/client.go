package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Client connects to the admin listener, whatever the host of a request. A listener on
// all addresses is reached on loopback.
func Client(address string) *http.Client {
	dial := &net.Dialer{Timeout: 2 * time.Second}
	network, where := "tcp", address
	if path, unix := strings.CutPrefix(address, "unix:"); unix {
		network, where = "unix", path
	} else if host, port, err := net.SplitHostPort(address); err == nil &&
		(host == "" || host == "0.0.0.0" || host == "::") {
		// an IP address: an image without /etc/hosts cannot resolve localhost
		host = "127.0.0.1"
		if address[0] == '[' {
			host = "::1"
		}
		where = net.JoinHostPort(host, port)
	}
	return &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial.DialContext(ctx, network, where)
		}}}
}

// Answers reports whether a process accepts connections at a control socket. A mistake made
// in the file after its start does not affect that process.
func Answers(socket string) bool {
	if socket == "" {
		return false
	}
	conn, err := net.DialTimeout("unix", socket, 3*time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// Ask sends one request to the process with this control socket.
func Ask(ctx context.Context, socket, method, path string, body []byte) (int, []byte, error) {
	client := controlClient(socket, time.Minute)
	r, err := http.NewRequestWithContext(ctx, method, "http://control"+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	return resp.StatusCode, text, err
}

func controlClient(socket string, timeout time.Duration) *http.Client {
	return &http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "unix", socket)
		}}}
}

// ErrNoServer means that no process answers at the control socket.
var ErrNoServer = errors.New("no process serves from state_dir")

// Backup copies the embedded file of the process with this control socket to w.
// ErrNoServer means that there is none; nothing was written then.
func Backup(ctx context.Context, socket string, w io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://control/backup", nil)
	if err != nil {
		return err
	}
	resp, err := controlClient(socket, backupTimeout).Do(r)
	if err != nil {
		if _, dial := errors.AsType[*net.OpError](err); dial && ctx.Err() == nil {
			return fmt.Errorf("%w: %w", ErrNoServer, err)
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("the process that serves answers %d: %s", resp.StatusCode, bytes.TrimSpace(text))
	}
	_, err = io.Copy(w, resp.Body) // a body shorter than announced is an error
	return err
}
