package server

import (
	"fmt"
	"net"
	"net/http"
)

// Loopback listens on address, which has to be one of this machine alone.
func Loopback(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("the demo listens on loopback alone, not on %s: its people sign in without a password", address)
	}
	return net.Listen("tcp", address)
}

// OpenLoopback serves h and gives its base URL.
func (s *Listeners) OpenLoopback(address string, h http.Handler) (string, error) {
	l, err := Loopback(address)
	if err != nil {
		return "", err
	}
	s.Add(l, h)
	return "http://" + l.Addr().String(), nil
}
