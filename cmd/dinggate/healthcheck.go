package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// adminClient reaches the admin listener, whatever the host of a request. An
// address that listens everywhere is asked on loopback.
func adminClient(address string) *http.Client {
	dial := &net.Dialer{Timeout: 2 * time.Second}
	network, where := "tcp", address
	if path, unix := strings.CutPrefix(address, "unix:"); unix {
		network, where = "unix", path
	} else if host, port, err := net.SplitHostPort(address); err == nil && (host == "" || host == "0.0.0.0" || host == "::") {
		// An address: an image without /etc/hosts cannot resolve localhost.
		host = "127.0.0.1"
		if address[0] == '[' {
			host = "::1"
		}
		where = net.JoinHostPort(host, port)
	}
	return &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial.DialContext(ctx, network, where) }}}
}

// runHealthcheck asks /livez on the admin listener of a running dinggate; nil
// when it is alive.
func runHealthcheck(ctx context.Context, address string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/livez", nil)
	if err != nil {
		return err
	}
	res, err := adminClient(address).Do(r)
	if err != nil {
		return fmt.Errorf("nobody answers on the admin listener %s: is dinggate serving there?", address)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("/livez on %s answers %d", address, res.StatusCode)
	}
	return nil
}
