// Package clients signs in through dinggate with OpenID Connect clients that others
// wrote. It is a module of its own: what they need is not the product's.
package clients
