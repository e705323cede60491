package main

// section is a group of pages in the navigation; a page is named as in the
// repository, in English.
type section struct {
	En, Zh string
	Pages  []string
}

// sections are the navigation. A test keeps every page in it.
var sections = []section{
	{"Begin", "入门",
		[]string{"README.md", "docs/README.md", "docs/install.md", "docs/packaging.md", "docs/quick-start.md",
			"docs/console.md", "docs/faq.md"}},
	{"Use", "使用",
		[]string{"docs/configuration.md", "docs/applications.md", "docs/many-applications.md", "docs/pages.md",
			"docs/access.md", "docs/paths.md",
			"docs/accounts.md", "docs/access-requests.md", "docs/admin-console.md", "docs/single-page-apps.md",
			"docs/assertion.md", "docs/sso.md", "docs/oidc.md", "docs/from-oauth2-proxy.md"}},
	{"OpenID Connect applications", "OpenID Connect 应用",
		[]string{"docs/applications/argocd.md", "docs/applications/dify.md", "docs/applications/gitea.md",
			"docs/applications/gitlab.md", "docs/applications/grafana.md", "docs/applications/harbor.md",
			"docs/applications/jenkins.md", "docs/applications/jumpserver.md",
			"docs/applications/kubernetes.md", "docs/applications/metabase.md",
			"docs/applications/minio.md", "docs/applications/mod_auth_openidc.md",
			"docs/applications/nextcloud.md", "docs/applications/outline.md",
			"docs/applications/superset.md", "docs/applications/vault.md"}},
	{"Gateways", "网关",
		[]string{"docs/gateways.md", "docs/gateways/nginx.md", "docs/gateways/traefik.md", "docs/gateways/caddy.md",
			"docs/gateways/haproxy.md",
			"docs/gateways/apache.md", "docs/gateways/apisix.md", "docs/gateways/higress.md", "docs/gateways/kong.md",
			"docs/gateways/envoy.md", "docs/gateways/istio.md",
			"docs/gateways/envoy-gateway.md", "docs/gateways/gateway-api.md", "docs/gateways/ingress-nginx.md",
			"docs/gateways/kubernetes.md"}},
	{"Operate", "运维",
		[]string{"docs/operating.md", "docs/troubleshooting.md", "docs/sessions.md",
			"docs/scaling.md",
			"docs/corporate-network.md", "docs/upgrading.md", "docs/runbooks.md"}},
	{"Judge", "评估",
		[]string{"docs/security.md", "SECURITY.md", "docs/threats.md", "docs/hostile.md", "docs/performance.md",
			"CHANGELOG.md"}},
	{"Develop", "开发", []string{"CONTRIBUTING.md", "docs/architecture.md", "docs/dependencies.md", "docs/releasing.md"}},
}
