// Package monitoring tests dashboard, alerts and runbooks with a real Prometheus. It
// contains tests only.
package monitoring
