// Package access tests which pages a person may open: each way to lose access, requests
// for access, and the console. It contains tests only.
package access
