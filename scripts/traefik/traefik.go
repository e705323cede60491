//go:build tools

// Package traefik names what scripts/traefik/build builds.
package traefik

import _ "github.com/traefik/traefik/v3/cmd/traefik"
