// Package tlstest makes the certificates of a test.
//
//	Authority ─► Pair (tls.Certificate) ─► PEM ─► files
package tlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates. Its methods end the test on an error.
type Authority struct {
	Cert *x509.Certificate

	t   testing.TB
	key *ecdsa.PrivateKey
}

// NewAuthority returns an authority that is valid for a year.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, Cert: &x509.Certificate{
		Subject:               pkix.Name{CommonName: "test authority"},
		NotBefore:             time.Now().AddDate(-1, 0, 0),
		NotAfter:              time.Now().AddDate(1, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}}
	a.key = a.newKey()
	a.Cert = a.sign(a.Cert, a.key)
	return a
}

// Pool contains the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	return pool
}

// Pair returns a certificate for a host name or an address. It ends after life; with a negative
// life it has expired.
func (a *Authority) Pair(host string, life time.Duration) tls.Certificate {
	a.t.Helper()
	c := &x509.Certificate{
		Subject:   pkix.Name{CommonName: host},
		NotBefore: time.Now().AddDate(0, -1, 0),
		NotAfter:  time.Now().Add(life),
	}
	if ip := net.ParseIP(host); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{host}
	}
	key := a.newKey()
	leaf := a.sign(c, key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// WritePair writes a Pair for host that is valid for an hour into files, and returns their paths.
func (a *Authority) WritePair(host string) (cert, key string) {
	a.t.Helper()
	certPEM, keyPEM := PEM(a.t, a.Pair(host, time.Hour))
	dir := a.t.TempDir()
	return write(a.t, dir, "cert.pem", certPEM), write(a.t, dir, "key.pem", keyPEM)
}

// Write writes the authority's certificate into a file and returns its path.
func (a *Authority) Write() string {
	a.t.Helper()
	return write(a.t, a.t.TempDir(), "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Cert.Raw}))
}

// PEM encodes a certificate and its key.
func PEM(t testing.TB, pair tls.Certificate) (cert, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (a *Authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *Authority) sign(c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, a.Cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed
}

func write(t testing.TB, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
