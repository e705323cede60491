// Package release tests the output of scripts/release: it installs packages and runs
// images as users do.
//
//	scripts/release ─┬─► deb, rpm ─► a copy of this machine that systemd boots: install, upgrade, remove
//	                 ├─► image ────► run read-only, configured by its environment alone
//	                 ├─► SBOM ─────► compared with the modules in the binary
//	                 └─► twice, in two folders ─► the same bytes
package release
