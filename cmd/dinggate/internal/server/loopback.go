package server

import (
	"fmt"
	"net"
	"net/http"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/internal/i18n"
)

// Loopback listens on address, which must be a loopback address.
func Loopback(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, cli.UserError{Message: i18n.Message{
			fmt.Sprintf(
				"the demo listens on loopback alone, not on %s: its people sign in without a password; use "+
					"--listen 127.0.0.1:PORT", address,
			),
			fmt.Sprintf("演示只监听本机回环地址，不能监听 %s：其中的人员无需密码即可登录；请用 --listen 127.0.0.1:端口", address)}}
	}
	return net.Listen("tcp", address)
}

// OpenLoopback serves h and returns its base URL.
func (s *Listeners) OpenLoopback(address string, h http.Handler) (string, error) {
	l, err := Loopback(address)
	if err != nil {
		return "", err
	}
	s.Add(l, h)
	return "http://" + l.Addr().String(), nil
}
