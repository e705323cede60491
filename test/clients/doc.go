// Package clients signs in through dinggate with third-party OpenID Connect clients. It is
// a separate module, so that the product does not depend on them.
package clients
