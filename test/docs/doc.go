// Package docs checks the documentation; it holds tests only.
//
// It checks that links and anchors exist, that every page has a version in the other
// language, and that keys, defaults, metrics, error codes and limits in pages equal those
// in the source. Snippets are compared with deploy/ in
// cmd/dinggate/internal/gatewayconf, and loaded in cmd/dinggate/internal/config.
package docs
