// Package fleet tests several replicas of the real program with a real Redis, and outages
// of a replica and of Redis. It contains tests only.
package fleet
