package browser

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// Names is a SOCKS5 proxy on loopback, through which a browser under test reaches servers on
// loopback by the names they have in production: origins maps http://gate.corp.test or
// https://gate.corp.test to the address of the server, http://127.0.0.1:port. TLS ends here, with
// a certificate that no browser trusts; the rest of the request arrives unchanged. Loopback
// addresses are passed through, any other address is refused.
func Names(t testing.TB, origins map[string]string) (addr string) {
	t.Helper()
	secure := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		if target, err := url.Parse(origins["https://"+p.In.Host]); err == nil {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = target.Scheme, target.Host, p.In.Host
		}
	}})
	t.Cleanup(secure.Close)
	find := func(host, port string) string {
		to := ""
		switch plain := origins["http://"+host]; {
		case net.ParseIP(host).IsLoopback():
			to = net.JoinHostPort(host, port)
		case port == "80" && plain != "":
			to = strings.TrimPrefix(plain, "http://")
		case port == "443" && origins["https://"+host] != "":
			to = secure.Listener.Addr().String()
		}
		return to
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go socks(conn, find)
		}
	}()
	return l.Addr().String()
}

// socks serves one connection of RFC 1928: no authentication, CONNECT alone.
func socks(down net.Conn, find func(host, port string) string) {
	defer down.Close()
	r := bufio.NewReader(down)
	host, port, err := socksTarget(r, down)
	if err != nil {
		return
	}
	up, err := net.Dial("tcp", find(host, port))
	if err != nil {
		down.Write([]byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0}) // host unreachable
		return
	}
	defer up.Close()
	down.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	done := make(chan struct{}, 2)
	go func() { io.Copy(up, r); done <- struct{}{} }()
	go func() { io.Copy(down, up); done <- struct{}{} }()
	<-done
}

func socksTarget(r *bufio.Reader, w io.Writer) (host, port string, err error) {
	greeting := make([]byte, 2)
	if _, err := io.ReadFull(r, greeting); err != nil || greeting[0] != 5 {
		return "", "", errors.New("browser: not SOCKS5")
	}
	if _, err := r.Discard(int(greeting[1])); err != nil {
		return "", "", err
	}
	w.Write([]byte{5, 0})
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil || head[1] != 1 {
		return "", "", errors.New("browser: not CONNECT")
	}
	size := map[byte]int{1: net.IPv4len, 4: net.IPv6len}[head[3]]
	if head[3] == 3 {
		n, err := r.ReadByte()
		if err != nil {
			return "", "", err
		}
		size = int(n)
	}
	rest := make([]byte, size+2)
	if _, err := io.ReadFull(r, rest); err != nil {
		return "", "", err
	}
	if host = string(rest[:size]); head[3] != 3 {
		host = net.IP(rest[:size]).String()
	}
	return host, fmt.Sprint(binary.BigEndian.Uint16(rest[size:])), nil
}
