package realtool

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

// Leaf describes a certificate. The zero value is a valid certificate for 127.0.0.1 and app.test.
type Leaf struct {
	Names      []string      // the only DNS names, instead of the usual names and of 127.0.0.1
	Address    net.IP        // the only address, instead of 127.0.0.1
	Ends       time.Duration // from now; 0 means in an hour
	Begins     time.Duration // from now; 0 means an hour ago
	Client     bool          // for client authentication instead of server authentication
	SelfSigned bool
}

// NewAuthority returns an authority with a key of its own, valid for an hour.
func NewAuthority() *Authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	c := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		panic(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		panic(err)
	}
	return &Authority{c, key}
}

// PEM returns the certificate of the authority.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Cert.Raw})
}

// Issue makes a certificate and its key. Both are PEM.
func (a *Authority) Issue(l Leaf) (cert, key []byte) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	begins, ends := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if l.Begins != 0 {
		begins = time.Now().Add(l.Begins)
	}
	if l.Ends != 0 {
		ends = time.Now().Add(l.Ends)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "app.test"},
		NotBefore:    begins,
		NotAfter:     ends,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"app.test", "localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if l.Names != nil {
		c.DNSNames, c.IPAddresses = l.Names, nil
	}
	if l.Address != nil {
		c.IPAddresses = []net.IP{l.Address}
	}
	if l.Client {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	parent, signer := a.Cert, a.Key
	if l.SelfSigned {
		parent, signer = c, private
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, private.Public(), signer)
	if err != nil {
		panic(err)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: plain})
}

// Pair returns a certificate with its key.
func (a *Authority) Pair(l Leaf) tls.Certificate {
	pair, err := tls.X509KeyPair(a.Issue(l))
	if err != nil {
		panic(err)
	}
	return pair
}

// Files writes a certificate and its key to a temporary folder.
func (a *Authority) Files(t testing.TB, l Leaf) (certFile, keyFile string) {
	dir := t.TempDir()
	cert, key := a.Issue(l)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, text := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// ClientConfig returns a client configuration for app.test that trusts only this authority.
func (a *Authority) ClientConfig() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	return &tls.Config{RootCAs: pool, ServerName: "app.test"}
}
