// Package ext is Traefik's package of this name, which its module replaces by a
// folder of its own that is not published: the open edition has no extensions.
package ext

type HTTP struct{}

type Router struct{}
