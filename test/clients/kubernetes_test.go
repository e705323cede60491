package clients

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/authentication/cel"
	k8soidc "k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/tlstest"
)

// openApp starts dinggate by https with what `dinggate gen app NAME` prints for it,
// and a second client that is none of the application's. dir has the application's
// own files.
func openApp(t *testing.T, name string) (e *env, dir string, authority []byte) {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	e = &env{t: t, sim: simulator.Demo()}
	e.sim.Apps[0].RedirectHosts = []string{"127.0.0.1"} // by https too
	dingtalk := httptest.NewServer(e.sim)
	t.Cleanup(dingtalk.Close)
	t.Cleanup(e.sim.Close)
	dir = t.TempDir()
	e.issuer = "https://127.0.0.1:" + freePort(t)
	ca := tlstest.NewAuthority()
	certFile, keyFile := ca.Files(t, tlstest.Leaf{})
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}
	t.Cleanup(transport.CloseIdleConnections)
	e.transport = transport

	gen := exec.Command(program, "gen", "app", name, "--public_url", e.issuer, "--out", dir)
	if output, err := gen.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", gen, err, output)
	}
	clients, err := os.ReadFile(filepath.Join(dir, "dinggate.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`
public_url: %[1]s
listen: %[2]s
tls: {cert_file: %[9]s, key_file: %[10]s}
admin: {listen: "127.0.0.1:0"}
state_dir: %[3]s
dingtalk:
  client_id: %[4]s
  client_secret: %[5]s
  corp_id: %[6]s
  events: false
  login_url: %[7]s
  api_url: %[7]s
  oapi_url: %[7]s
cookie: {secrets: ["%[8]s"]}
%[11]s
    - client_id: %[12]s
      redirect_uris: ["http://localhost"]
      groups: [roles]
`, e.issuer, strings.TrimPrefix(e.issuer, "https://"), filepath.Join(dir, "state"), simulator.DemoClientID,
		simulator.DemoClientSecret, simulator.DemoCorpID, dingtalk.URL,
		base64.StdEncoding.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuv")), certFile, keyFile,
		strings.TrimSpace(string(clients)), publicID)
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	e.start(program, path)
	return e, dir, ca.PEM()
}

// TestKubernetes is the authenticator of kube-apiserver with the configuration that
// `dinggate gen app kubernetes` prints, and tokens that are fetched with the flow and
// the scopes of the kubeconfig beside it.
func TestKubernetes(t *testing.T) {
	e, dir, authority := openApp(t, "kubernetes")
	settings, err := os.ReadFile(filepath.Join(dir, "authentication.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	object, _, err := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder().Decode(settings, nil, nil)
	if err != nil {
		t.Fatalf("kube-apiserver does not read authentication.yaml: %v", err)
	}
	config, ok := object.(*apiserver.AuthenticationConfiguration)
	if !ok || len(config.JWT) != 1 {
		t.Fatalf("authentication.yaml is %#v", object)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	cluster, err := k8soidc.New(ctx, k8soidc.Options{JWTAuthenticator: config.JWT[0], CAContentProvider: bundle(authority),
		Compiler: cel.NewDefaultCompiler()})
	if err != nil {
		t.Fatalf("kube-apiserver does not take authentication.yaml: %v", err)
	}
	for limit := time.Now().Add(time.Minute); cluster.HealthCheck() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("the authenticator: %v", cluster.HealthCheck())
		}
	}

	ctx = oidc.ClientContext(ctx, &http.Client{Transport: e.transport})
	kubeconfig, err := os.ReadFile(filepath.Join(dir, "kubeconfig.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tokens, source := e.kubectl(ctx, string(kubeconfig), "kubernetes")
	who, ok, err := cluster.AuthenticateToken(ctx, tokens.Extra("id_token").(string))
	if err != nil || !ok {
		t.Fatalf("the ID token: %v, %v", ok, err)
	}
	if user := who.User; user.GetName() != "dingtalk:zhangsan" || user.GetUID() == "" || len(user.GetGroups()) == 0 ||
		slices.ContainsFunc(user.GetGroups(), func(g string) bool { return !strings.HasPrefix(g, "dingtalk:") }) {
		t.Errorf("the user is %+v", user)
	}
	again, err := source.Token()
	if err != nil || again.RefreshToken == tokens.RefreshToken {
		t.Fatalf("refresh: %v", err)
	}
	if renewed, ok, err := cluster.AuthenticateToken(ctx, again.Extra("id_token").(string)); err != nil || !ok ||
		renewed.User.GetUID() != who.User.GetUID() {
		t.Errorf("the ID token of the refresh: %v, %v", ok, err)
	}

	foreign, _ := e.kubectl(ctx, string(kubeconfig), publicID)
	raw := tokens.Extra("id_token").(string)
	for what, token := range map[string]string{"an access token": tokens.AccessToken,
		"an ID token of another client": foreign.Extra("id_token").(string), "a changed ID token": raw[:len(raw)-6] + "AAAAAA"} {
		if who, ok, err := cluster.AuthenticateToken(ctx, token); ok {
			t.Errorf("%s is %v, %v", what, who, err)
		}
	}
}

// bundle is the authority that the API server trusts.
type bundle []byte

func (b bundle) CurrentCABundleContent() []byte { return b }

// kubectl does what kubelogin does for a kubeconfig: the code flow with PKCE, back to
// a port of this machine; source renews the tokens.
func (e *env) kubectl(ctx context.Context, kubeconfig, client string) (tokens *oauth2.Token, source oauth2.TokenSource) {
	e.t.Helper()
	argument := func(name string) (values []string) {
		for _, m := range regexp.MustCompile(`--`+name+`=(\S+)`).FindAllStringSubmatch(kubeconfig, -1) {
			values = append(values, m[1])
		}
		if len(values) == 0 {
			e.t.Fatalf("kubeconfig.yaml has no --%s:\n%s", name, kubeconfig)
		}
		return values
	}
	if method := argument("oidc-pkce-method"); method[0] != "S256" {
		e.t.Errorf("the method is %v", method)
	}
	provider, err := oidc.NewProvider(ctx, argument("oidc-issuer-url")[0])
	if err != nil {
		e.t.Fatal(err)
	}
	conf := oauth2.Config{ClientID: client, Endpoint: provider.Endpoint(), RedirectURL: "http://localhost:" + freePort(e.t),
		Scopes: append([]string{oidc.ScopeOpenID}, argument("oidc-extra-scope")...)}
	if client == "kubernetes" && argument("oidc-client-id")[0] != client {
		e.t.Errorf("the kubeconfig is for %v", argument("oidc-client-id"))
	}
	verifier := oauth2.GenerateVerifier()
	at, _ := e.browser("zhangsan").visit(conf.AuthCodeURL("S", oidc.Nonce("N"), oauth2.S256ChallengeOption(verifier)),
		conf.RedirectURL)
	tokens, err = conf.Exchange(ctx, at.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		e.t.Fatal(err)
	}
	return tokens, conf.TokenSource(ctx, &oauth2.Token{RefreshToken: tokens.RefreshToken})
}
