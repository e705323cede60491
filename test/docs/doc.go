// Package docs checks the documentation; it holds tests only.
//
// Links and anchors lead somewhere, every page has its twin in the other
// language, and what pages say of keys, defaults, metrics, error codes and
// limits is what the source says. Snippets are compared with deploy/ in
// cmd/dinggate, and loaded in cmd/dinggate/internal/config.
package docs
