// Package contract compares the public contract with golden files: metrics, log
// and audit fields, error codes, endpoints, commands and flags; it holds tests only.
//
// The lists come from the types in the code and from the running program, never from a
// list written by hand. The keys of the configuration have their own golden file beside
// package config. A change of the contract is made with
//
//	go test ./test/contract -update
//
// and needs an entry in CHANGELOG.md.
package contract
