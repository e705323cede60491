// Package sso tests both ends of the in-house SSO contract, and the tokens of API clients,
// against a service and an application that were written from the document alone. It
// contains tests only.
package sso
