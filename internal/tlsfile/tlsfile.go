// Package tlsfile reads certificates for TLS connections to servers from PEM files.
package tlsfile

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
)

// ErrNoCertificate means that a file contains no certificate in PEM format.
var ErrNoCertificate = errors.New("it contains no certificate in PEM format")

// Authorities reads the authorities for a server's certificate; if name is empty, it returns nil
// for the system's. Errors are those of os.ReadFile, or ErrNoCertificate.
func Authorities(name string) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, ErrNoCertificate
	}
	return pool, nil
}

// Pair reads our client certificate and its key; nil if the names are empty.
func Pair(certificate, key string) ([]tls.Certificate, error) {
	if certificate == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	return []tls.Certificate{pair}, nil
}
