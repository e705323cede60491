package manifesttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gateway "github.com/envoyproxy/gateway/api/v1alpha1"
	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	manager "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	mesh "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1"
	filter "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	ingress "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// kinds returns the types that are decoded as Kubernetes decodes them.
func kinds() map[string]any {
	return map[string]any{
		"apps/v1 Deployment": &apps.Deployment{}, "v1 Service": &core.Service{},
		"v1 ServiceAccount": &core.ServiceAccount{}, "v1 ConfigMap": &core.ConfigMap{},
		"v1 Secret": &core.Secret{}, "v1 Pod": &core.Pod{}, "networking.k8s.io/v1 Ingress": &ingress.Ingress{},
		"networking.k8s.io/v1 NetworkPolicy":                 &ingress.NetworkPolicy{},
		"autoscaling/v2 HorizontalPodAutoscaler":             &autoscaling.HorizontalPodAutoscaler{},
		"v1 PersistentVolumeClaim":                           &core.PersistentVolumeClaim{},
		"monitoring.coreos.com/v1 PrometheusRule":            &resource[prometheusRule]{},
		"policy/v1 PodDisruptionBudget":                      &policy.PodDisruptionBudget{},
		"gateway.networking.k8s.io/v1 HTTPRoute":             &gatewayapi.HTTPRoute{},
		"gateway.envoyproxy.io/v1alpha1 SecurityPolicy":      &gateway.SecurityPolicy{},
		"gateway.envoyproxy.io/v1alpha1 ClientTrafficPolicy": &gateway.ClientTrafficPolicy{},
		"traefik.io/v1alpha1 Middleware":                     &resource[middleware]{},
		"traefik.io/v1alpha1 IngressRoute":                   &resource[ingressRoute]{},
		"extensions.higress.io/v1alpha1 WasmPlugin":          &resource[wasmPlugin]{},
		"monitoring.coreos.com/v1 ServiceMonitor":            &resource[serviceMonitor]{},
		"kustomize.config.k8s.io/v1beta1 Kustomization":      &kustomization{},
	}
}

// specs returns the types whose spec is a protocol buffer.
func specs() map[string]proto.Message {
	return map[string]proto.Message{
		"security.istio.io/v1 AuthorizationPolicy": &security.AuthorizationPolicy{},
		"networking.istio.io/v1 VirtualService":    &networking.VirtualService{},
		"networking.istio.io/v1alpha3 EnvoyFilter": &filter.EnvoyFilter{},
	}
}

// Types of this package where the projects publish none that has few dependencies.
type (
	resource[S any] struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name, Namespace     string
			Labels, Annotations map[string]string
		} `json:"metadata"`
		Spec S `json:"spec"`
	}
	middleware struct {
		ForwardAuth *struct {
			Address                  string   `json:"address"`
			TrustForwardHeader       bool     `json:"trustForwardHeader"`
			AuthResponseHeaders      []string `json:"authResponseHeaders"`
			AddAuthCookiesToResponse []string `json:"addAuthCookiesToResponse"`
			MaxResponseBodySize      int      `json:"maxResponseBodySize"`
		} `json:"forwardAuth"`
		Headers *struct {
			CustomRequestHeaders  map[string]string `json:"customRequestHeaders"`
			CustomResponseHeaders map[string]string `json:"customResponseHeaders"`
		} `json:"headers"`
	}
	ingressRoute struct {
		EntryPoints []string `json:"entryPoints"`
		Routes      []struct {
			Kind, Match string
			Priority    int
			Middlewares []struct{ Name string }
			Services    []struct {
				Name, Namespace string
				Port            int
			}
		} `json:"routes"`
		TLS struct {
			SecretName string `json:"secretName"`
		} `json:"tls"`
	}
	wasmPlugin struct {
		URL           string         `json:"url"`
		Phase         string         `json:"phase"`
		Priority      int            `json:"priority"`
		DefaultConfig map[string]any `json:"defaultConfig"`
	}
	prometheusRule struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Record, Expr, For string
				Labels, Annotations      map[string]string
			}
		} `json:"groups"`
	}
	serviceMonitor struct {
		JobLabel  string                                  `json:"jobLabel"`
		Selector  struct{ MatchLabels map[string]string } `json:"selector"`
		Endpoints []struct{ Port, Path, Interval string } `json:"endpoints"`
	}
	kustomization struct {
		APIVersion, Kind, Namespace string
		Resources                   []string
		ConfigMapGenerator          []struct {
			Name  string
			Files []string
		}
		Images []struct{ Name, NewTag string }
	}
)

// decode decodes one document of any kind strictly.
func decode(doc []byte) (object any, err error) {
	var head struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal(doc, &head); err != nil {
		return nil, err
	}
	name := head.APIVersion + " " + head.Kind
	if object, ok := kinds()[name]; ok {
		return object, yaml.UnmarshalStrict(doc, object)
	}
	spec, ok := specs()[name]
	if !ok {
		return nil, errors.New("no type for " + name)
	}
	var r resource[json.RawMessage]
	if err := yaml.UnmarshalStrict(doc, &r); err != nil {
		return nil, err
	}
	return spec, protojson.Unmarshal(r.Spec, spec)
}

func documents(text []byte) (docs [][]byte) {
	text, _, _ = bytes.Cut(text, []byte("# --- mesh.yaml\n")) // the second file of Istio's is not a manifest
	for _, doc := range bytes.Split(text, []byte("\n---\n")) {
		var any map[string]any
		if yaml.Unmarshal(doc, &any) != nil || len(any) > 0 {
			docs = append(docs, doc)
		}
	}
	return docs
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// printed is the directory with the output of `dinggate gen` for a configuration with every
// feature.
const printed = "../../../cmd/dinggate/internal/gatewayconf/testdata/gen/"

func TestManifests(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../../../deploy/kubernetes/*/*.yaml", "../../../deploy/traefik/kubernetes.yaml",
		"../../../deploy/istio/dinggate.yaml", "../../../deploy/envoy-gateway/*.yaml",
		"../../../deploy/gateway-api/*.yaml", "../../../deploy/higress/*.yaml",
		"../../../deploy/ingress-nginx/*.yaml",
		// With a wildcard host.
		printed + "traefik-kubernetes.golden", printed + "istio.golden", printed + "envoy-gateway.golden",
		printed + "gateway-api.golden", printed + "higress.golden", printed + "ingress-nginx.golden"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: nothing found, %v", pattern, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		if filepath.Base(file) == "config.yaml" { // dinggate's own
			continue
		}
		for i, doc := range documents(read(t, file)) {
			object, err := decode(doc)
			if err != nil {
				t.Errorf("%s, document %d: %v", file, i+1, err)
				continue
			}
			switch o := object.(type) {
			case *apps.Deployment:
				checkPod(t, file, o.Spec.Template.Spec)
			case *filter.EnvoyFilter:
				checkPatches(t, file, o)
			case *gatewayapi.HTTPRoute:
				checkRoute(t, file, o)
			}
		}
		if strings.Contains(string(read(t, file)), "\t") {
			t.Errorf("%s has a tab", file)
		}
	}
}

// checkPatches decodes the patches that an EnvoyFilter merges into Envoy's connection manager.
// Istio does not validate them.
func checkPatches(t *testing.T, file string, f *filter.EnvoyFilter) {
	t.Helper()
	for _, patch := range f.ConfigPatches {
		text, err := patch.Patch.Value.Fields["typed_config"].MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var config anypb.Any
		if err := protojson.Unmarshal(text, &config); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		var m manager.HttpConnectionManager
		if err := config.UnmarshalTo(&m); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if len(m.EarlyHeaderMutationExtensions) != 1 || m.EarlyHeaderMutationExtensions[0].GetTypedConfig() == nil {
			t.Errorf("%s removes no headers", file)
		}
	}
}

// checkRoute checks a limit that only the API server enforces: a RequestHeaderModifier removes at
// most 16 names.
func checkRoute(t *testing.T, file string, route *gatewayapi.HTTPRoute) {
	t.Helper()
	for _, rule := range route.Spec.Rules {
		for _, f := range rule.Filters {
			if m := f.RequestHeaderModifier; m != nil && (len(m.Remove) == 0 || len(m.Remove) > 16) {
				t.Errorf("%s removes %d headers, want 1 to 16", file, len(m.Remove))
			}
		}
	}
}

// checkPod checks the requirements of every pod that contains a dinggate container.
func checkPod(t *testing.T, file string, pod core.PodSpec) {
	t.Helper()
	found := false
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		if c.Name != "dinggate" {
			continue
		}
		found = true
		s := c.SecurityContext
		if s == nil || s.RunAsUser == nil || *s.RunAsUser != 65532 || !*s.ReadOnlyRootFilesystem ||
			*s.AllowPrivilegeEscalation || len(s.Capabilities.Drop) != 1 {
			t.Errorf("%s: dinggate's securityContext permits more than it needs", file)
		}
		if c.LivenessProbe == nil || c.LivenessProbe.HTTPGet.Path != "/livez" || c.ReadinessProbe == nil ||
			c.ReadinessProbe.HTTPGet.Path != "/ready" || c.StartupProbe == nil {
			t.Errorf("%s: dinggate lacks a probe", file)
		}
	}
	if !found {
		t.Errorf("%s has no container dinggate", file)
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken ||
		*pod.TerminationGracePeriodSeconds <= 25+5 {
		t.Errorf("%s: a service account token is mounted, or dinggate has no time to drain", file)
	}
}

func TestEnvoy(t *testing.T) {
	for _, file := range []string{"../../../deploy/envoy/envoy.yaml", printed + "envoy.golden"} {
		doc, err := yaml.YAMLToJSONStrict(read(t, file))
		if err != nil {
			t.Fatal(err)
		}
		var b bootstrap.Bootstrap
		if err := protojson.Unmarshal(doc, &b); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := b.ValidateAll(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		var m manager.HttpConnectionManager
		if err := b.StaticResources.Listeners[0].FilterChains[0].Filters[0].GetTypedConfig().UnmarshalTo(&m); err != nil {
			t.Fatal(err)
		}
		if err := m.ValidateAll(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestMesh(t *testing.T) {
	doc, err := yaml.YAMLToJSONStrict(read(t, "../../../deploy/istio/mesh.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal(doc, &mesh.MeshConfig{}); err != nil {
		t.Errorf("mesh.yaml: %v", err)
	}
}

// TestStrict checks that the strict decoding can fail.
func TestStrict(t *testing.T) {
	for _, doc := range []string{
		"apiVersion: v1\nkind: Service\nspec: {port: 1}\n",
		"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nspec: {action: ASK}\n",
		"apiVersion: v1\nkind: Nothing\n",
	} {
		if _, err := decode([]byte(doc)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("decode(%q) = %v, want a mistake", doc, err)
		}
	}
}
