// Package contract compares the public contract with golden files: metrics, log
// and audit fields, error codes, endpoints, commands and flags; it holds tests only.
//
// The lists come from the code, by its types, and from the running program, never
// from a list written by hand. The keys of the configuration have a golden file
// of their own beside the package config. A change of the contract is made with
//
//	go test ./test/contract -update
//
// and belongs into CHANGELOG.md.
package contract
