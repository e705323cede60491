// Package tlstest makes the certificates of a test.
//
//	Authority ─► Leaf ─► PEM ─► tls.Certificate, or files
package tlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority issues certificates. Nothing trusts it unless a test configures that.
type Authority struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// Leaf describes a certificate. The zero value is a valid certificate for app.test, localhost and 127.0.0.1.
type Leaf struct {
	Names      []string      // the only host names and addresses, the first one also the common name
	Ends       time.Duration // from now; 0 means in an hour
	Begins     time.Duration // from now; 0 means a month ago
	Client     bool          // for client authentication instead of server authentication
	SelfSigned bool
}

// NewAuthority returns an authority with a key of its own, valid for a year.
func NewAuthority() *Authority {
	key := newKey()
	c := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test authority"},
		NotBefore:             time.Now().AddDate(-1, 0, 0),
		NotAfter:              time.Now().AddDate(1, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	c, err := x509.ParseCertificate(sign(c, c, key, key))
	if err != nil {
		panic(err)
	}
	return &Authority{c, key}
}

// PEM returns the certificate of the authority.
func (a *Authority) PEM() []byte { return encode("CERTIFICATE", a.Cert.Raw) }

// File writes the certificate of the authority to a temporary folder and returns its path.
func (a *Authority) File(t testing.TB) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "ca.pem"), a.PEM())
}

// Pool contains the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	return pool
}

// ClientConfig returns a client configuration for app.test that trusts only this authority.
func (a *Authority) ClientConfig() *tls.Config {
	return &tls.Config{RootCAs: a.Pool(), ServerName: "app.test"}
}

// Issue makes a certificate and its key. Both are PEM.
func (a *Authority) Issue(l Leaf) (cert, key []byte) {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotBefore:    time.Now().AddDate(0, -1, 0),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if l.Begins != 0 {
		c.NotBefore = time.Now().Add(l.Begins)
	}
	if l.Ends != 0 {
		c.NotAfter = time.Now().Add(l.Ends)
	}
	if l.Client {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	names := l.Names
	if names == nil {
		names = []string{"app.test", "localhost", "127.0.0.1"}
	}
	c.Subject.CommonName = names[0]
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	private := newKey()
	parent, signer := a.Cert, a.Key
	if l.SelfSigned {
		parent, signer = c, private
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	return encode("CERTIFICATE", sign(c, parent, private, signer)), encode("PRIVATE KEY", plain)
}

// Pair returns a certificate with its key.
func (a *Authority) Pair(l Leaf) tls.Certificate {
	pair, err := tls.X509KeyPair(a.Issue(l))
	if err != nil {
		panic(err)
	}
	return pair
}

// Files writes a certificate and its key to a temporary folder and returns their paths.
func (a *Authority) Files(t testing.TB, l Leaf) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	cert, key := a.Issue(l)
	return write(t, filepath.Join(dir, "cert.pem"), cert), write(t, filepath.Join(dir, "key.pem"), key)
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// sign returns c as DER.
func sign(c, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) []byte {
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		panic(err)
	}
	return der
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func write(t testing.TB, path string, text []byte) string {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
