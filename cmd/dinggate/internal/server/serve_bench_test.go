package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"
)

// BenchmarkServe measures the hot path over real connections. `make pgo` generates the
// compiler's profile from it.
func BenchmarkServe(b *testing.B) {
	h := servertest.New(b, nil)
	session := servertest.SessionOf(h.NewClient().SignIn(h.URL+"/", "zhangsan"))
	host := strings.TrimPrefix(h.URL, "http://")
	browser := "Host: " + host +
		"\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept: " +
		"text/html,application/xhtml+xml\r\nAccept-Language: zh-CN,zh;q=0.9\r\nSec-Fetch-Mode: navigate\r\n"
	original := "X-Original-URL: " + h.URL +
		"/reports/daily?day=1\r\nX-Original-Method: GET\r\nX-Forwarded-For: 192.0.2.1\r\n"
	cookie := "Cookie: theme=dark; dinggate=" + session + "\r\n"
	for _, c := range []struct{ name, request string }{
		{"auth", "GET /oauth2/auth HTTP/1.1\r\n" + browser + original + cookie + "\r\n"},
		{"no session", "GET /oauth2/auth HTTP/1.1\r\n" + browser + original + "\r\n"},
		{"proxy", "GET /reports/daily?day=1 HTTP/1.1\r\n" + browser + cookie + "\r\n"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				conn, err := net.Dial("tcp", host)
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				answers := bufio.NewReader(conn)
				for pb.Next() {
					if _, err := io.WriteString(conn, c.request); err != nil {
						b.Error(err)
						return
					}
					if err := skipAnswer(answers); err != nil {
						b.Error(err)
						return
					}
				}
			})
			h.Upstream.Reset()
		})
	}
}

// skipAnswer reads one response with a Content-Length.
func skipAnswer(r *bufio.Reader) error {
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			_, err := r.Discard(length)
			return err
		}
		if n, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(n)); err != nil {
				return fmt.Errorf("reading an answer: %w", err)
			}
		}
	}
}
