package admin

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// Client reaches the admin listener, whatever the host of a request. An
// address that listens everywhere is asked on loopback.
func Client(address string) *http.Client {
	dial := &net.Dialer{Timeout: 2 * time.Second}
	network, where := "tcp", address
	if path, unix := strings.CutPrefix(address, "unix:"); unix {
		network, where = "unix", path
	} else if host, port, err := net.SplitHostPort(address); err == nil &&
		(host == "" || host == "0.0.0.0" || host == "::") {
		// An address: an image without /etc/hosts cannot resolve localhost.
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

// Ask sends one request to the process that serves from dir.
func Ask(ctx context.Context, dir, method, path string, body []byte) (int, []byte, error) {
	socket := filepath.Join(dir, ControlName)
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "unix", socket)
		}}}
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
